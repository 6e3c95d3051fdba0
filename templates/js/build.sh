#!/bin/sh
# Builds mapper.wasm. Needs Node.js 20 or newer and npm.
set -eu
cd "$(dirname "$0")"
[ -d node_modules/componentize-qjs ] || npm install --no-audit --no-fund --silent
node build.mjs
