#!/usr/bin/env bash
# Builds with tests and runs them. --nightly adds the long ones; what follows goes to ctest (launch/test.sh -R Thread).
set -euo pipefail
cd "$(dirname "$0")/.."

exclude=(--label-exclude nightly)
if [[ "${1:-}" == --nightly ]]; then
  exclude=()
  shift
fi
launch/install.sh
# Open MPI refuses to start ranks as root unless told twice.
if ((EUID == 0)); then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi

preset=${CHORUS_PRESET:-dev}
cmake --preset "$preset"
cmake --build --preset "$preset" --parallel "$(nproc)"
ctest --preset "$preset" --parallel "$(nproc)" "${exclude[@]}" "$@"
