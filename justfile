# `just` lists these recipes. Each is a plain command that you can also type.
default:
    @just --list

# run the server with the shipped plugins, on ./data
serve:
    cargo run --release -- serve

# run all tests
test:
    cargo test

# run the checks of CI
ci:
    .ci/run

# measure the time of each stage
bench:
    cargo bench --bench stages

# build the shipped plugins from their sources
plugins:
    scripts/build-plugins --install

# update the console sessions in the docs
docs:
    scripts/check-docs --update
