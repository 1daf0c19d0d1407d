#!/usr/bin/env bash
# Runs a real Kubernetes cluster of one node for as long as this script runs; see README.md.
set -euo pipefail
from=$PWD
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
  cat >&2 <<'END'
usage: up.sh [OPTION...] [--] [COMMAND [ARG...]]        as root
  --dir DIR              state goes here: absent or empty (default: a fresh temporary directory)
  --until-eof            without COMMAND: also ends when standard input does, as it does when the
                         process that holds its other end is gone, however that ended
  --keep                 leave DIR behind at the end, with every log
  --image FILE           import this image archive (docker save or OCI layout); may be repeated
  --dns                  also run CoreDNS: names of Services for pods
  --metrics              also run metrics-server: kubectl top, HorizontalPodAutoscalers that act
  --arg PROGRAM=FLAG     one more flag for kubelet, kube-proxy, containerd or a program of the control plane
With COMMAND: runs it with KUBECONFIG set, stops everything, exits as it did.
Without: prints the path of the kubeconfig, runs until SIGTERM, SIGINT or SIGHUP.
END
  exit 2
}

export MODELWAY_KUBE_DIR=${MODELWAY_KUBE_DIR:-${MODELWAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/modelway}/kube-1.34.4}
export MODELWAY_NODE_DIR=${MODELWAY_NODE_DIR:-${MODELWAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/modelway}/node-1.34.4}
export MODELWAY_CLUSTER_IMAGE=$here/image.py
export MODELWAY_CONTROLPLANE=${MODELWAY_CONTROLPLANE:-$here/../controlplane}
dir='' keep='' until_eof='' dns='' metrics=''
declare -a images=() more=()
while [ $# -gt 0 ]; do
  case $1 in
    --dir) dir=${2:?}; shift 2 ;;
    --keep) keep=1; shift ;;
    --until-eof) until_eof=1; shift ;;
    --image) images+=("$(realpath "${2:?}")"); shift 2 ;;
    --dns) dns=coredns; shift ;;
    --metrics) metrics=metrics-server; shift ;;
    --arg) more+=("${2:?}"); shift 2 ;;
    --) shift; break ;;
    -*) usage ;;
    *) break ;;
  esac
done

say() { printf 'cluster: %s\n' "$*" >&2; }
[ "$(id -u)" = 0 ] || { say 'must be root'; exit 1; }
"$MODELWAY_CONTROLPLANE/build.sh"
"$here/build.sh"
# shellcheck disable=SC2086
[ -z "$dns$metrics" ] || "$here/build.sh" $dns $metrics

if [ -z "$dir" ]; then
  dir=$(mktemp -d "${TMPDIR:-/tmp}/cluster.XXXXXX")
else
  mkdir -p "$dir"
  dir=$(cd "$dir" && pwd)
  [ -z "$(ls -A "$dir")" ] || { say "$dir is not empty"; exit 2; }
fi
chmod 700 "$dir"
mkdir "$dir"/{run,lib,log,etc,share}

command_pid='' holder='' net='' me=modelway.$$
declare -a groups=()

finish() {
  local status=$? g i
  trap '' TERM INT HUP
  trap - EXIT
  if [ -n "$command_pid" ]; then kill -TERM "$command_pid" 2>/dev/null && wait "$command_pid" || true; fi
  # everything below runs in one pid namespace: its first process takes all the others with it,
  # and the last one takes the mounts and the network with it
  [ -z "$holder" ] || { kill -KILL "$holder" 2>/dev/null && wait "$holder" 2>/dev/null || true; }
  [ -z "$net" ] || ip link del "$net" 2>/dev/null || true
  for g in ${groups[@]+"${groups[@]}"}; do
    for ((i = 0; i < 100; i++)); do
      find "$g" -depth -type d -exec rmdir {} + 2>/dev/null || true
      [ -e "$g" ] || break
      sleep 0.05
    done
    [ ! -e "$g" ] || say "could not remove the cgroup $g"
  done
  [ -n "$keep" ] || rm -rf "$dir"
  exit "$status"
}
trap finish EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
trap 'exit 129' HUP

# --- a cgroup of its own in every hierarchy, below ours

while IFS=: read -r _ name path; do
  case $name in
    '') root=/sys/fs/cgroup/unified ;;
    name=*) root=/sys/fs/cgroup/${name#name=} ;;
    *) root=/sys/fs/cgroup/$name ;;
  esac
  [ -d "$root" ] || continue
  g=${root}${path%/}/$me
  for old in "${g%.*}".*; do # of a run that was killed with SIGKILL
    [ ! -d "$old" ] || kill -0 "${old##*.}" 2>/dev/null || find "$old" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
  mkdir "$g"
  groups+=("$g")
  if [ -e "$g/cpuset.cpus" ]; then
    cat "${g%/*}/cpuset.cpus" >"$g/cpuset.cpus"
    cat "${g%/*}/cpuset.mems" >"$g/cpuset.mems"
  fi
done </proc/self/cgroup

# --- namespaces; node.sh is process 1 of the new pid namespace

begun=${EPOCHREALTIME/./}
printf '%s\n' ${more[@]+"${more[@]}"} >"$dir/etc/args"
echo "$dns $metrics" >"$dir/etc/options"
printf '%s\n' ${images[@]+"${images[@]}"} >"$dir/etc/images"
(
  for g in "${groups[@]}"; do echo "$BASHPID" >"$g/cgroup.procs"; done
  exec setpriv --pdeathsig KILL \
    unshare --mount --net --pid --ipc --uts --cgroup --fork --kill-child \
    bash "$here/node.sh" "$dir"
) >"$dir/log/node" 2>&1 </dev/null &
holder=$!

fail() {
  say "$*; the ends of the logs:"
  tail -n 15 "$dir"/log/* "$dir"/controlplane/log/* >&2 2>/dev/null || true
  exit 1
}
until_there() { # file: waits until it exists, while node.sh lives
  local i
  for ((i = 0; i < 2400; i++)); do
    [ ! -e "$1" ] || return 0
    kill -0 "$holder" 2>/dev/null || fail "the node ended before ${1##*/}"
    sleep 0.05
  done
  fail "no ${1##*/} after 120 s"
}

# --- a link to it: the first free 10.N; pods 10.N.0.0/18, Services 10.N.64.0/18, this end 10.N.255.1, the node 10.N.255.2

until_there "$dir/run/unshared"
for ((n = 160; n < 192; n++)); do
  [ -z "$(ip -o addr show to "10.$n.0.0/16")" ] || continue
  ip link add "modelway$n" type veth peer name eth0 netns "$holder" 2>/dev/null || continue
  net=modelway$n
  break
done
[ -n "$net" ] || fail 'no free network'
ip addr add "10.$n.255.1/30" dev "$net"
ip link set "$net" up
ip route add "10.$n.0.0/17" via "10.$n.255.2" src "10.$n.255.1"
echo "$n" >"$dir/run/.net"
mv "$dir/run/.net" "$dir/run/net"

until_there "$dir/run/ready"
cp "$dir/controlplane/kubeconfig" "$dir/kubeconfig"
cat >"$dir/ctr" <<END
#!/bin/sh
exec "$MODELWAY_NODE_DIR/ctr" -a "$dir/run/containerd/containerd.sock" -n k8s.io "\$@"
END
first=$(cat "/proc/$holder/task/$holder/children")
cat >"$dir/enter" <<END
#!/bin/sh
exec nsenter -t ${first% } -m -n -p -i -u -C -- "\$@"
END
chmod 755 "$dir/ctr" "$dir/enter"
say "ready after $(((${EPOCHREALTIME/./} - begun) / 1000)) ms: pods 10.$n.0.0/18, Services 10.$n.64.0/18, host 10.$n.255.1, node 10.$n.255.2"

export KUBECONFIG=$dir/kubeconfig CLUSTER_DIR=$dir PATH=$MODELWAY_KUBE_DIR:$PATH
if [ $# -gt 0 ]; then
  cd "$from"
  "$@" <&0 &
  command_pid=$!
  while kill -0 "$command_pid" 2>/dev/null; do
    kill -0 "$holder" 2>/dev/null || fail 'the node ended'
    sleep 0.1 &
    wait -n "$command_pid" $! || true
  done
  status=0
  wait "$command_pid" || status=$?
  command_pid=''
  exit "$status"
fi
echo "$KUBECONFIG"
while [ -n "$until_eof" ] && kill -0 "$holder" 2>/dev/null; do
  read -r -t 0.1 _ || [ $? -gt 128 ] || exit 0 # above 128: no end yet, only 0.1 s gone
done
wait "$holder" || true
fail 'the node ended'
