#!/bin/sh
# Builds mapper.wasm. Needs the target (rustup target add wasm32-unknown-unknown) and wasm-tools (cargo install
# wasm-tools). CARGO_FLAGS is passed to cargo: use -Zbuild-std=std,panic_abort if the toolchain has no such target.
set -eu
cd "$(dirname "$0")"
cargo build --release --target wasm32-unknown-unknown ${CARGO_FLAGS:-}
name=$(sed -n 's/^name = "\(.*\)"/\1/p' Cargo.toml | head -1 | tr - _)
wasm-tools component new "${CARGO_TARGET_DIR:-target}/wasm32-unknown-unknown/release/$name.wasm" -o mapper.wasm
