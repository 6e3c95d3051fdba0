#!/bin/sh
# Builds mapper.wasm: the mapping and a Python interpreter in one component. Needs Python 3.10 or newer.
set -eu
cd "$(dirname "$0")"
if ! command -v componentize-py > /dev/null; then
  [ -x .venv/bin/componentize-py ] || { python3 -m venv .venv && .venv/bin/pip -q install 'componentize-py==0.25.1'; }
  PATH=$PWD/.venv/bin:$PATH
fi
componentize-py -d wit -w mapper componentize hookmill.entry --stub-wasi -o mapper.wasm
