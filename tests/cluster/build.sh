#!/usr/bin/env bash
# Builds what a node runs, from source, each once; see README.md.
# usage: build.sh [PROGRAM...]    default: all of them but the ones marked optional
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
k8s=1.34.4 containerd=2.2.9 runc=1.3.6 plugins=1.9.1 coredns=1.14.4 metrics=0.9.0
out=${MODELWAY_NODE_DIR:-${MODELWAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/modelway}/node-$k8s}
all=(kubelet kube-proxy containerd containerd-shim-runc-v2 ctr runc bridge host-local loopback portmap pause)
optional=(coredns metrics-server)
[ $# -gt 0 ] || set -- "${all[@]}"

say() { printf 'cluster: %s\n' "$*" >&2; }

missing() {
  local p
  for p in "$@"; do
    [ -x "$out/$p" ] || echo "$p"
  done
}

for p in "$@"; do
  case " ${all[*]} ${optional[*]} " in
    *" $p "*) ;;
    *) say "unknown program $p (there are: ${all[*]} ${optional[*]})"; exit 2 ;;
  esac
done

# nft is what kube-proxy and the portmap plugin call, libseccomp what runc is linked with
packages=()
command -v nft >/dev/null || packages+=(nftables)
[ -e /usr/include/seccomp.h ] || [ -x "$out/runc" ] || packages+=(libseccomp-dev)
[ -n "$(missing "$@")" ] || [ ${#packages[@]} -gt 0 ] || exit 0

mkdir -p "$out"
exec 9>"$out/.lock"
flock -n 9 || { say "another build is running, waiting for it"; flock 9; }
if [ ${#packages[@]} -gt 0 ]; then
  say "installing ${packages[*]}"
  { apt-get update && apt-get install -y --no-install-recommends "${packages[@]}"; } >"$out/.apt.log" 2>&1 9>&- ||
    { tail "$out/.apt.log" >&2; exit 1; }
fi
command -v go >/dev/null || { say "needs Go 1.24 or newer"; exit 1; }

part=$out/.part.$$
mkdir -p "$part"
trap 'rm -rf "$part"' EXIT
install() { # package@version: what others publish as a module, built as its own go.mod says
  GOBIN=$part go install -trimpath -ldflags '-s -w' "$@" 9>&-
}
version=k8s.io/component-base/version
stamp="-s -w -X $version.gitVersion=v$k8s -X $version.gitMajor=1 -X $version.gitMinor=34 -X $version.gitTreeState=clean"
cd "$here"
export CGO_ENABLED=0
for p in $(missing "$@"); do
  say "building $p"
  t=$SECONDS
  case $p in
    kubelet | kube-proxy) go build -trimpath -buildvcs=false -ldflags "$stamp" -o "$part/$p" "k8s.io/kubernetes/cmd/$p" 9>&- ;;
    containerd) install -tags 'no_btrfs no_devmapper no_zfs' "github.com/containerd/containerd/v2/cmd/$p@v$containerd" ;;
    containerd-shim-runc-v2 | ctr) install "github.com/containerd/containerd/v2/cmd/$p@v$containerd" ;;
    runc) CGO_ENABLED=1 install -tags seccomp "github.com/opencontainers/runc@v$runc" ;;
    bridge | loopback) install "github.com/containernetworking/plugins/plugins/main/$p@v$plugins" ;;
    host-local) install "github.com/containernetworking/plugins/plugins/ipam/$p@v$plugins" ;;
    portmap) install "github.com/containernetworking/plugins/plugins/meta/$p@v$plugins" ;;
    coredns) install "github.com/coredns/coredns@v$coredns" ;;
    metrics-server) install "sigs.k8s.io/metrics-server/cmd/$p@v$metrics" ;;
    pause) cc -Os -static -s -o "$part/$p" pause.c 9>&- ;;
  esac
  mv "$part/$p" "$out/$p"
  say "built $p in $((SECONDS - t)) s, $(($(stat -c %s "$out/$p") / 1024)) KiB"
done
