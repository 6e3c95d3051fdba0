#!/bin/sh
# Builds mapper.wasm. Needs clang with a WASI sysroot as $CC, or Zig, also as Python's ziglang (pip install ziglang).
# -UNDEBUG: Zig would compile asserts away; a failed one is the plugin's error message.
set -eu
cd "$(dirname "$0")"
if [ -n "${CC:-}" ]; then compiler=$CC
elif command -v zig > /dev/null; then compiler='zig cc'
else compiler="${PYTHON:-python3} -m ziglang cc"; fi
$compiler --target=wasm32-wasi -O2 -UNDEBUG -s -std=c11 -Wall -Wextra -Wl,-z,stack-size=65536 -Wl,--initial-memory=262144 \
  -o mapper.wasm src/main.c src/json.c
