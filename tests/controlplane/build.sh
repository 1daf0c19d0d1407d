#!/usr/bin/env bash
# Builds the programs of a Kubernetes control plane from source, each once; see README.md.
# usage: build.sh [PROGRAM...]    default: all of them
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
k8s=1.34.4
out=${MODELWAY_KUBE_DIR:-${MODELWAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/modelway}/kube-$k8s}
all=(etcd kubectl kube-apiserver kube-controller-manager kube-scheduler)
[ $# -gt 0 ] || set -- "${all[@]}"

say() { printf 'controlplane: %s\n' "$*" >&2; }

missing() {
  local p
  for p in "$@"; do
    [ -x "$out/$p" ] || echo "$p"
  done
}

for p in "$@"; do
  case " ${all[*]} " in
    *" $p "*) ;;
    *) say "unknown program $p (there are: ${all[*]})"; exit 2 ;;
  esac
done
[ -n "$(missing "$@")" ] || exit 0

command -v go >/dev/null || { say "needs Go 1.24 or newer"; exit 1; }
mkdir -p "$out"
exec 9>"$out/.lock"
flock -n 9 || { say "another build is running, waiting for it"; flock 9; }

part=$out/.part.$$
trap 'rm -f "$part"' EXIT
version=k8s.io/component-base/version
stamp="-s -w -X $version.gitVersion=v$k8s -X $version.gitMajor=1 -X $version.gitMinor=34 -X $version.gitTreeState=clean"
cd "$here"
for p in $(missing "$@"); do
  case $p in
    etcd) path=go.etcd.io/etcd/server/v3 ;;
    *) path=k8s.io/kubernetes/cmd/$p ;;
  esac
  say "building $p (the first one takes minutes)"
  t=$SECONDS
  CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "$stamp" -o "$part" "$path" 9>&-
  mv "$part" "$out/$p"
  say "built $p in $((SECONDS - t)) s, $(($(stat -c %s "$out/$p") / 1048576)) MiB"
done
