#!/bin/sh
# Builds mapper.wasm. Needs Go 1.21 or newer.
set -eu
cd "$(dirname "$0")"
GOOS=wasip1 GOARCH=wasm go build -trimpath -ldflags='-s -w' -o mapper.wasm .
