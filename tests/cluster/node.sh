#!/usr/bin/env bash
# Process 1 of the namespaces that up.sh makes: mounts, network, then the programs of the cluster.
set -euo pipefail
dir=$1
bin=$MODELWAY_NODE_DIR
name=node1

say() { printf 'node: %s\n' "$*"; }

# --- mounts: nothing of this is seen outside

mount --make-rprivate /
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
while IFS=: read -r _ group _; do
  case $group in
    '') mkdir /sys/fs/cgroup/unified; mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified ;;
    name=*) mkdir "/sys/fs/cgroup/${group#name=}"; mount -t cgroup -o "none,$group" cgroup "/sys/fs/cgroup/${group#name=}" ;;
    *) mkdir "/sys/fs/cgroup/$group"; mount -t cgroup -o "$group" cgroup "/sys/fs/cgroup/$group" ;;
  esac
done </proc/self/cgroup
# kubelet wants these settings and would make them for the whole machine; it finds them made
mkdir "$dir/etc/sysctl"
sysctl() {
  echo "$2" >"$dir/etc/sysctl/${1##*/}"
  mount --bind "$dir/etc/sysctl/${1##*/}" "/proc/sys/$1"
}
sysctl vm/overcommit_memory 1
sysctl vm/panic_on_oom 0
sysctl kernel/panic 10
sysctl kernel/panic_on_oops 1
sysctl kernel/keys/root_maxkeys 1000000
sysctl kernel/keys/root_maxbytes 25000000
mkdir "$dir/run/lock" "$dir/varlog"
mount --bind "$dir/lib" /var/lib
mount --bind "$dir/varlog" /var/log
: >"$dir/run/unshared"
until [ -e "$dir/run/net" ]; do sleep 0.01; done
n=$(cat "$dir/run/net")
mount --bind "$dir/run" /run
mount --make-rshared /
hostname "$name"

# --- network

ip link set lo up
ip addr add "10.$n.255.2/30" dev eth0
ip link set eth0 up
# no default route: from here there is no way to any other machine; a Service's address needs some route
# to get as far as kube-proxy's rules
ip route add "10.$n.64.0/18" via "10.$n.255.1"
echo 1 >/proc/sys/net/ipv4/ip_forward

# --- programs

flags() { # program: its --arg flags, one a line
  sed -n "s/^$1=//p" "$dir/etc/args"
}
# a program that ends is started again unless hold/PROGRAM exists; while the cluster boots it ends the boot
trap 'exit 1' TERM
mkdir "$dir/hold"
start() { # program arguments...
  local program=$1 more
  shift
  mapfile -t more < <(flags "$program")
  (
    while :; do
      PATH=$bin:$PATH "$bin/$program" "$@" ${more[@]+"${more[@]}"} >>"$dir/log/$program" 2>&1 </dev/null &
      pid=$!
      echo "$pid" >"$dir/run/.$program.pid" # a reader sees the old number or the new one
      mv "$dir/run/.$program.pid" "$dir/run/$program.pid"
      status=0
      wait "$pid" || status=$?
      say "$program ended with $status"
      [ -e "$dir/run/ready" ] || kill -TERM 1
      sleep 0.2
      while [ -e "$dir/hold/$program" ]; do sleep 0.1; done
    done
  ) &
}

# kubelet and containerd may not lower a process's oom_score_adj where CAP_SYS_RESOURCE is missing
cat >"$dir/etc/containerd.toml" <<END
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.erofs", "io.containerd.differ.v1.erofs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing", "io.containerd.nri.v1.nri"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "cluster.test/pause:1"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  max_container_log_line_size = 16384
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["$bin"]
  conf_dir = "$dir/etc/cni"
[plugins."io.containerd.cri.v1.runtime".containerd]
  default_runtime_name = "runc"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  BinaryName = "$bin/runc"
  SystemdCgroup = false
END
mkdir "$dir/etc/cni"
cat >"$dir/etc/cni/pods.conflist" <<END
{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [
    {
      "type": "bridge", "bridge": "pods0", "isDefaultGateway": true, "hairpinMode": true, "ipMasq": false,
      "ipam": {"type": "host-local", "dataDir": "/run/addresses", "ranges": [[{"subnet": "10.$n.0.0/18"}]]}
    },
    {"type": "portmap", "backend": "nftables", "capabilities": {"portMappings": true}}
  ]
}
END
start containerd --config "$dir/etc/containerd.toml"

controlplane=()
while IFS= read -r a; do
  case $a in kubelet=* | kube-proxy=* | containerd=* | coredns=* | metrics-server=* | '') ;; *) controlplane+=(--arg "$a") ;; esac
done <"$dir/etc/args"
read -r -a options <"$dir/etc/options" || true
has() { case " ${options[*]-} " in *" $1 "*) ;; *) return 1 ;; esac }
if has metrics-server; then # one every 15 s, and none in a pod's first 5 minutes, is slow for tests
  controlplane+=(--arg kube-controller-manager=--horizontal-pod-autoscaler-sync-period=5s
    --arg kube-controller-manager=--horizontal-pod-autoscaler-cpu-initialization-period=20s)
fi
"$MODELWAY_CONTROLPLANE/up.sh" --dir "$dir/controlplane" --keep --controllers --scheduler \
  --bind "10.$n.255.2" --port 6443 --services "10.$n.64.0/18" ${controlplane[@]+"${controlplane[@]}"} \
  >"$dir/run/kubeconfig" 2>"$dir/log/controlplane" &

import() { "$bin/ctr" -n k8s.io images import --local "$@" >>"$dir/log/images" 2>&1; }
until "$bin/ctr" version >/dev/null 2>&1; do sleep 0.05; done
say 'containerd answers'
"$MODELWAY_CLUSTER_IMAGE" cluster.test/pause:1 "$bin/pause" >"$dir/etc/pause.tar"
import "$dir/etc/pause.tar"
while IFS= read -r image; do
  [ -z "$image" ] || import "$image"
done <"$dir/etc/images"
say 'images are imported'

until [ -s "$dir/run/kubeconfig" ]; do sleep 0.05; done
say 'the control plane is ready'
pki=$dir/controlplane/pki
export KUBECONFIG=$dir/controlplane/kubeconfig
user() { # name subject extensions: a certificate and a kubeconfig
  openssl ecparam -name prime256v1 -genkey -noout -out "$dir/etc/$1.key"
  openssl req -new -key "$dir/etc/$1.key" -subj "$2" |
    openssl x509 -req -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial -days 30 -sha256 \
      -extfile <(printf '%s\n' "$3") -out "$dir/etc/$1.crt" 2>/dev/null
  cat >"$dir/etc/$1.kubeconfig" <<END
apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: "https://10.$n.255.2:6443", certificate-authority: $pki/ca.crt}}]
users: [{name: u, user: {client-certificate: $dir/etc/$1.crt, client-key: $dir/etc/$1.key}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
END
}
user kubelet "/O=system:nodes/CN=system:node:$name" "$(printf 'extendedKeyUsage=clientAuth,serverAuth\nsubjectAltName=IP:10.%s.255.2,DNS:%s' "$n" "$name")"
user kube-proxy /CN=system:kube-proxy extendedKeyUsage=clientAuth

: >"$dir/etc/resolv.conf"
dns=''
! has coredns || dns=10.$n.64.10
cat >"$dir/etc/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $dir/etc/kubelet.crt
tlsPrivateKeyFile: $dir/etc/kubelet.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
resolvConf: $dir/etc/resolv.conf
clusterDomain: cluster.local
clusterDNS: [$dns]
evictionHard: {memory.available: 0%, nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%}
imageGCHighThresholdPercent: 100
imageMinimumGCAge: 24h
serializeImagePulls: false
registryPullQPS: 0
eventRecordQPS: 0
shutdownGracePeriod: 0s
END
start kubelet --config="$dir/etc/kubelet.yaml" --kubeconfig="$dir/etc/kubelet.kubeconfig" --hostname-override="$name" --node-ip="10.$n.255.2"
cat >"$dir/etc/kube-proxy.yaml" <<END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: $dir/etc/kube-proxy.kubeconfig}
hostnameOverride: $name
clusterCIDR: 10.$n.0.0/18
oomScoreAdj: 0
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
END
start kube-proxy --config="$dir/etc/kube-proxy.yaml"

kubectl=$MODELWAY_KUBE_DIR/kubectl
until "$kubectl" wait --for=condition=Ready "node/$name" --timeout=2s >/dev/null 2>&1; do sleep 0.1; done
until "$kubectl" get serviceaccount default >/dev/null 2>&1; do sleep 0.05; done
say 'the node is ready'

# --- what usually runs in pods runs as processes of the node here, behind Services without a selector

service() { # name port protocol target-port clusterIP
  "$kubectl" apply -f - <<END
apiVersion: v1
kind: Service
metadata: {name: $1, namespace: kube-system}
spec: {clusterIP: $5, ports: [{name: $3, port: $2, protocol: ${3^^}, targetPort: $4}${6:+, $6}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: $1, namespace: kube-system, labels: {kubernetes.io/service-name: $1}}
addressType: IPv4
ports: [{name: $3, port: $4, protocol: ${3^^}}${7:+, $7}]
endpoints: [{addresses: [10.$n.255.2], conditions: {ready: true}}]
END
}
if [ -n "$dns" ]; then
  cat >"$dir/etc/Corefile" <<END
cluster.local:53 {
  bind 10.$n.255.2
  errors
  kubernetes cluster.local {
    kubeconfig $KUBECONFIG
    ttl 1
  }
}
.:53 {
  bind 10.$n.255.2
  template ANY ANY {
    rcode NXDOMAIN
  }
}
END
  start coredns -conf "$dir/etc/Corefile"
  service kube-dns 53 udp 53 "$dns" '{name: tcp, port: 53, protocol: TCP, targetPort: 53}' '{name: tcp, port: 53, protocol: TCP}'
fi
if has metrics-server; then
  start metrics-server --kubeconfig="$KUBECONFIG" --authentication-kubeconfig="$KUBECONFIG" --authorization-kubeconfig="$KUBECONFIG" \
    --kubelet-insecure-tls --kubelet-preferred-address-types=InternalIP --metric-resolution=10s --kubelet-request-timeout=5s \
    --bind-address="10.$n.255.2" --secure-port=10443 --cert-dir="$dir/run/metrics-server"
  service metrics-server 443 tcp 10443 ""
  "$kubectl" apply -f - <<END
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.metrics.k8s.io}
spec: {group: metrics.k8s.io, version: v1beta1, groupPriorityMinimum: 100, versionPriority: 100, insecureSkipTLSVerify: true, service: {name: metrics-server, namespace: kube-system}}
END
fi
: >"$dir/run/ready"

while :; do
  sleep 3600 &
  wait $! || true
done
