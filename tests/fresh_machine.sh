#!/usr/bin/env bash
# Does what the README says on a machine where nothing is installed: a minimal Debian or Ubuntu in a folder, with a clone
# of this checkout's HEAD. Needs root, debootstrap and a mirror; without them it says so and exits with 77.
#
#   tests/fresh_machine.sh SUITE [--with-cuda] [--user] [--nightly] [-- COMMAND ARGUMENT...]
#
#   SUITE        bookworm, trixie, jammy, noble: what debootstrap knows
#   --with-cuda  with the CUDA toolkit and NCCL of this machine; release, for one architecture, must link and `doctor` run
#   --user       as a user who is not root but may use sudo
#   --nightly    --user, the whole quickstart, then all tests; without it the short quickstart
#   -- COMMAND   this instead of the quickstart, with the packages of launch/install.sh
#
# A warning of CMake or of the compiler is a failure. What can be used again stays in CHORUS_FRESH_CACHE (default
# /var/tmp/chorus-fresh): the minimal systems, packages, and objects where CCACHE_DIR or ccache's settings name no folder.
# CHORUS_FRESH_MIRROR names a mirror; default: the one this machine uses for the same distribution, or debootstrap's.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/.." && pwd)

usage() { sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//; p}' "$0"; }
fail() { echo "tests/fresh_machine.sh: $1" >&2; exit 2; }
skip() { printf '\n*** SKIPPED, NOTHING IS PROVED on %s: %s ***\n\n' "$suite" "$1" >&2; exit 77; }

suite='' cuda=no user=root nightly=no command=()
while (($# > 0)); do
  case "$1" in
    --with-cuda) cuda=yes ;;
    --user) user=researcher ;;
    --nightly) nightly=yes user=researcher ;;
    --help | -h) usage; exit 0 ;;
    --) shift; command=("$@"); break ;;
    -*) fail "unknown option $1; --help lists all" ;;
    *) [[ -z $suite ]] || fail "two suites: $suite and $1"; suite=$1 ;;
  esac
  shift
done
[[ -n $suite ]] || fail 'which suite? --help shows the way'

((EUID == 0)) || skip 'only root can make a root folder'
command -v debootstrap >/dev/null || skip 'debootstrap is missing (launch/install.sh --development)'
[[ -e /usr/share/debootstrap/scripts/$suite ]] || fail "debootstrap knows no suite $suite"
unshare --mount --pid --fork --kill-child mount -t tmpfs none /mnt 2>/dev/null || skip 'mounts are not permitted here'

cache=${CHORUS_FRESH_CACHE:-/var/tmp/chorus-fresh}
objects=$(ccache --get-config cache_dir 2>/dev/null || echo "$cache/objects")
objects_limit=$(ccache --get-config max_size 2>/dev/null || echo 5G)
if [[ $user != root ]]; then objects=$cache/objects-of-$user; fi
packages=$cache/packages-$suite
mkdir -p "$objects" "$packages/partial"
root=$(mktemp -d "$cache/root-$suite.XXXXXX")
trap 'rm -rf --one-file-system "$root"' EXIT

# The minimal system.
if [[ ! -e $cache/$suite.tar ]]; then
  distribution=debian components=main
  if grep -q ubuntu "/usr/share/debootstrap/scripts/$suite"; then distribution=ubuntu components=main,universe; fi
  mirror=${CHORUS_FRESH_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' | grep -m 1 "/$distribution/\$" || true)}
  debootstrap --variant=minbase --components="$components" "$suite" "$root" ${mirror:+"$mirror"} >"$cache/$suite.log" 2>&1 ||
    skip "debootstrap failed: $(tail -n 1 "$cache/$suite.log")"
  # Packages come the way that they come to this machine.
  apt-config dump | grep -E '^Acquire::(http|https|ftp|Check-)' >"$root/etc/apt/apt.conf.d/90of-this-machine" || true
  tar --create --numeric-owner --file "$cache/$suite.tar.new" --one-file-system --directory "$root" .
  mv "$cache/$suite.tar.new" "$cache/$suite.tar"
else
  tar --extract --numeric-owner --file "$cache/$suite.tar" --directory "$root"
fi

# In a namespace of its own, so that every mount and every process ends with the command.
inside() {
  unshare --mount --propagation private --pid --fork --kill-child bash -euc '
    root=$1 packages=$2 objects=$3 toolkit=$4
    shift 4
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
    mount --bind "$packages" "$root/var/cache/apt/archives"
    mount --bind "$objects" "$root/objects"
    if [[ -n $toolkit ]]; then mount --bind -o ro "$toolkit" "$root$toolkit"; fi
    chroot "$root" env --ignore-environment PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
      LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@" || exit' \
    inside "$root" "$packages" "$objects" "$toolkit" "$@"
}
chmod 755 "$root"  # mktemp made it for root alone
echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/90of-a-folder"  # no waiting for the disk: nothing of it is kept
mkdir "$root/objects"
cp --dereference /etc/resolv.conf /etc/hosts "$root/etc/"
toolkit=''
if [[ $cuda == yes ]]; then
  toolkit=$(readlink -f /usr/local/cuda || true)
  [[ -x $toolkit/bin/nvcc ]] || skip 'there is no /usr/local/cuda/bin/nvcc'
  mkdir -p "$root$toolkit"
  ln -s "$toolkit" "$root/usr/local/cuda"
  if [[ ! -e $toolkit/include/nccl.h ]]; then  # a package of its own
    cp --dereference /usr/include/nccl*.h "$root/usr/local/include/"
    cp --no-dereference /usr/lib/*-linux-gnu/libnccl* "$root/usr/local/lib/"
  fi
fi
inside chown _apt /var/cache/apt/archives/partial

# The user, and the sources as a clone.
home=/root
if [[ $user != root ]]; then
  home=/home/$user
  inside sh -ec "apt-get -qq update; apt-get -qq install --yes --no-install-recommends sudo >/dev/null
    useradd --create-home --shell /bin/bash $user; echo '$user ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/$user
    chown $user: /objects"
fi
[[ -z $(git -C "$checkout" status --porcelain) ]] || echo 'NOT IN THE CLONE: what is not committed'
git clone --quiet "file://$checkout" "$root$home/chorus"
git -C "$root$home/chorus" checkout --quiet "$(git -C "$checkout" rev-parse HEAD)"
inside chown -R "$user:" "$home/chorus"

log=$root/log
in_clone() {
  printf '\n%s$ %s\n' "$user@$suite:chorus" "$*"
  local rc=0
  inside setpriv --reuid "$user" --regid "$user" --init-groups env --chdir "$home/chorus" HOME="$home" USER="$user" \
    CCACHE_DIR=/objects CCACHE_BASEDIR="$home/chorus" CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=time_macros \
    CCACHE_IGNOREOPTIONS="${CCACHE_IGNOREOPTIONS:-}" CCACHE_MAXSIZE="$objects_limit" "$@" 2>&1 | tee --append "$log" || rc=$?
  ((rc == 0)) || { printf '\n*** FAILED on %s (exit code %d): %s ***\n' "$suite" "$rc" "$*" >&2; exit 1; }
  if grep -E 'CMake (Deprecation )?Warning|[0-9]\)?: warning|ld: warning' "$log"; then
    printf '\n*** FAILED on %s: warnings ***\n' "$suite" >&2
    exit 1
  fi
}

proofs=()
if [[ $cuda == yes ]]; then
  # One architecture: that each kernel compiles for all is shown elsewhere, and takes long.
  in_clone launch/install.sh
  in_clone cmake --preset release -DCMAKE_CUDA_ARCHITECTURES=90-real
  in_clone cmake --build --preset release
  in_clone build/release/launch/chorus doctor
  proofs+=('release with nvcc and doctor')
fi
if ((${#command[@]} > 0)); then
  in_clone launch/install.sh
  in_clone "${command[@]}"
  proofs+=("${command[*]}")
elif [[ $nightly == yes ]]; then
  in_clone launch/quickstart.sh
  in_clone launch/test.sh
  proofs+=('launch/quickstart.sh' 'launch/test.sh')
else
  in_clone launch/quickstart.sh --short
  proofs+=('launch/quickstart.sh --short')
fi

versions=$(inside dpkg-query --show --showformat='${Package} ${Version}, ' g++ cmake openmpi-bin libhdf5-dev libdnnl-dev \
  libfmt-dev libboost-program-options-dev)
printf -v proved '; %s' "${proofs[@]}"
printf '\nPROVED on %s as %s in %d s (%s): %s\n' "$suite" "$user" "$SECONDS" "${versions%, }" "${proved#; }"
