#!/usr/bin/env bash
# Installs what Chorus needs to build on Debian and Ubuntu. Does nothing, and needs neither network
# nor rights, where all is there. --development adds what only the project's own checks use.
set -euo pipefail

packages=(g++ cmake ninja-build ccache libopenmpi-dev openmpi-bin libhdf5-dev libsentencepiece-dev
  libonig-dev libutf8proc-dev libboost-program-options-dev libdnnl-dev libfmt-dev nlohmann-json3-dev
  libgtest-dev libgmock-dev)
case "${1:-}" in
  --development) packages+=(clang-format mold python3 python3-venv strace chromium debootstrap) ;;
  '') ;;
  *) echo "usage: launch/install.sh [--development]" >&2; exit 2 ;;
esac

is_installed() { [[ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" == installed ]]; }

if ! command -v dpkg-query >/dev/null; then
  echo "launch/install.sh knows only apt; install these by other means: ${packages[*]}" >&2
  exit 2
fi
missing=()
for package in "${packages[@]}"; do
  is_installed "$package" || missing+=("$package")
done
if ((${#missing[@]} == 0)); then exit 0; fi

as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "missing: ${missing[*]}; run as root: apt-get install ${missing[*]}" >&2
    exit 2
  fi
  as_root=(sudo)
fi
echo "installing ${missing[*]}"
"${as_root[@]}" apt-get update
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}"
