#!/usr/bin/env bash
# Starts chorus, or any program, as ranks on one machine or on those of a hostfile, by Open MPI's mpirun:
#
#   launch/mpirun.sh [--hosts FILE] [--ranks-per-node N] [--bind] [--logs DIR] [--pass NAME]... -- PROGRAM ARGUMENT...
#
#   --hosts FILE        one machine a line, without slots; ssh must reach each without a password. Default: this one
#   --ranks-per-node N  default: one for each GPU of this machine, or one where there is none
#   --bind              tie each rank to its share of the cores; default: ranks take any
#   --logs DIR          what each rank says also goes to a file in DIR; every machine must see it
#   --pass NAME         give this environment variable to all ranks; CHORUS_*, OMP_*, NCCL_*, CUDA_*, PATH and
#                       LD_LIBRARY_PATH are given anyway
#
# A lost machine ends the job within about 10 seconds (by itself, Open MPI takes 8 minutes to notice). To stop a
# training so that it saves first: kill -USR2 this script or mpirun, or USR1. TERM and Ctrl-C end it at once.
set -euo pipefail

fail() { echo "launch/mpirun.sh: $1" >&2; exit 2; }
usage() { sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//; p}' "$0"; }

hosts='' ranks='' binding=none logs='' passed=(PATH LD_LIBRARY_PATH)
while (($# > 0)); do
  case "$1" in
    --hosts | --ranks-per-node | --logs | --pass)
      (($# > 1)) || fail "$1 needs a value"
      case "$1" in
        --hosts) hosts=$2 ;;
        --ranks-per-node) ranks=$2 ;;
        --logs) logs=$2 ;;
        --pass) passed+=("$2") ;;
      esac
      shift 2
      ;;
    --bind) binding=core; shift ;;
    --help | -h) usage; exit 0 ;;
    --) shift; break ;;
    -*) fail "unknown option $1; --help lists all" ;;
    *) break ;;
  esac
done
(($# > 0)) || fail 'what is to be started? --help shows the way'
command -v mpirun >/dev/null || fail 'mpirun is missing: install Open MPI (launch/install.sh)'

if [[ -z $ranks ]]; then
  ranks=$(nvidia-smi --list-gpus 2>/dev/null | grep -c '^GPU' || true)
  ((ranks > 0)) || ranks=1
fi
[[ $ranks =~ ^[1-9][0-9]*$ ]] || fail "--ranks-per-node $ranks is no number of ranks"

machines=1
arguments=()
if [[ -n $hosts ]]; then
  [[ -r $hosts ]] || fail "--hosts $hosts cannot be read"
  list=$(sed 's/#.*//' "$hosts" | awk 'NF { print $1 }')
  [[ -n $list ]] || fail "--hosts $hosts names no machine"
  [[ -z $(sort <<<"$list" | uniq --repeated) ]] || fail "--hosts $hosts names a machine twice; --ranks-per-node says how many ranks each gets"
  machines=$(wc -l <<<"$list")
  arguments+=(--host "$(awk -v slots="$ranks" '{ printf "%s%s:%d", separator, $1, slots; separator = "," }' <<<"$list")")
fi
mapping=ppr:$ranks:node

# More ranks than cores must not spin while they wait, and cannot be tied to cores.
if ((ranks > $(nproc))); then
  binding=none
  export OMPI_MCA_mpi_yield_when_idle=1
  passed+=(OMPI_MCA_mpi_yield_when_idle)
fi
cores=$(($(nproc) / ranks))
# Open MPI counts as places the cores without their second threads, or what a container has of them.
if [[ $binding == core ]]; then mapping+=:PE=$((cores > 0 ? cores : 1)); else mapping+=:OVERSUBSCRIBE; fi
arguments+=(-np $((machines * ranks)) --map-by "$mapping" --bind-to "$binding")
if [[ -n $logs ]]; then
  mkdir -p "$logs"
  arguments+=(--output-filename "$(cd "$logs" && pwd)")
fi
while read -r name; do passed+=("$name"); done < <(compgen -e | grep -E '^(CHORUS|OMP|NCCL|CUDA)_' || true)
for name in "${passed[@]}"; do
  [[ -z ${!name+there} ]] || arguments+=(-x "$name")
done

# Open MPI refuses to start ranks as root unless told twice.
if ((EUID == 0)); then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
export OMPI_MCA_oob_tcp_keepalive_time=5 OMPI_MCA_oob_tcp_keepalive_intvl=2 OMPI_MCA_oob_tcp_keepalive_probes=3
exec mpirun "${arguments[@]}" "$@"
