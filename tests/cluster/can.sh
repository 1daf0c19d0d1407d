#!/usr/bin/env bash
# Says in a sentence why up.sh cannot run here, and fails; says nothing where it can.
set -euo pipefail
cannot() { printf 'cluster: %s\n' "$*" >&2; exit 1; }

[ "$(uname -s)" = Linux ] || cannot 'a cluster of real containers needs Linux'
[ "$(id -u)" = 0 ] || cannot 'a cluster of real containers needs root; run this as root'
for program in ip openssl curl setpriv unshare nsenter python3 cc; do
  command -v "$program" >/dev/null || cannot "the program $program is missing"
done
grep -qw overlay /proc/filesystems || modprobe overlay 2>/dev/null || cannot 'the kernel has no overlayfs'
own() { unshare --mount --net --pid --ipc --uts --cgroup --fork "$@" 2>/dev/null; }
own true || cannot 'no new namespaces may be made here'
own ip link add one type veth peer name other || cannot 'no pair of virtual Ethernet devices can be made here'
own ip link add one type bridge || cannot 'no bridge can be made here'
# nftables is installed by build.sh
! command -v nft >/dev/null || own nft list ruleset >/dev/null || cannot 'the kernel has no nftables'
for group in cpu memory pids; do
  [ -d "/sys/fs/cgroup/$group" ] || cannot "there is no cgroup v1 for $group; v2 alone is not enough for this cluster"
  probe=/sys/fs/cgroup/$group/modelway.can.$$
  mkdir "$probe" 2>/dev/null || cannot "no cgroup can be made in /sys/fs/cgroup/$group"
  rmdir "$probe"
done
