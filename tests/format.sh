#!/usr/bin/env bash
# Fails, and shows where, if a source file is not as .clang-format wants it. `tests/format.sh --fix` rewrites them.
set -euo pipefail
cd "$(dirname "$0")/.."

mode=(--dry-run -Werror)
if [[ "${1:-}" == --fix ]]; then mode=(-i); fi

find ops parallel data core experiments launch tests \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' \) \
  -print0 | xargs -0 --no-run-if-empty clang-format "${mode[@]}"
