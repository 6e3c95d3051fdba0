# `just` lists these; each is a plain command that can be typed as well.
default:
    @just --list

# the server with the shipped plugins, on ./data
serve:
    cargo run --release -- serve

# every test
test:
    cargo test

# what CI runs
ci:
    .ci/run

# every stage's time
bench:
    cargo bench --bench stages

# compile the shipped plugins from their sources
plugins:
    scripts/build-plugins --install

# put what the commands of the docs print today into the docs
docs:
    scripts/check-docs --update
