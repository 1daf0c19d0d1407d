#!/usr/bin/env bash
# Runs a real Kubernetes control plane for as long as this script runs; see README.md.
set -euo pipefail

usage() {
  cat >&2 <<'END'
usage: up.sh [OPTION...] [--] [COMMAND [ARG...]]
  --dir DIR              state goes here: absent or empty (default: a fresh temporary directory)
  --until-eof            without COMMAND: also ends when standard input does, as it does when the
                         process that holds its other end is gone, however that ended
  --keep                 leave DIR behind at the end, with every log
  --controllers          also run kube-controller-manager
  --scheduler            also run kube-scheduler
  --fake-nodes           no controller that watches over nodes: Node objects without a kubelet stay as they were made
  --bind ADDRESS         address of the API server (default 127.0.0.1)
  --port PORT            its port (default: a free one)
  --services CIDR        addresses of Services (default 10.251.0.0/16)
  --arg PROGRAM=FLAG     one more flag for etcd, kube-apiserver, kube-controller-manager or kube-scheduler
With COMMAND: runs it with KUBECONFIG set, stops everything, exits as it did.
Without: prints the path of the kubeconfig, runs until SIGTERM, SIGINT or SIGHUP.
END
  exit 2
}

from=$PWD
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=${MODELWAY_KUBE_DIR:-${MODELWAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/modelway}/kube-1.34.4}
dir='' keep='' until_eof='' fake='' bind=127.0.0.1 port='' services=10.251.0.0/16 programs=(etcd kube-apiserver)
declare -a more=()
while [ $# -gt 0 ]; do
  case $1 in
    --dir) dir=${2:?}; shift 2 ;;
    --keep) keep=1; shift ;;
    --until-eof) until_eof=1; shift ;;
    --controllers) programs+=(kube-controller-manager); shift ;;
    --scheduler) programs+=(kube-scheduler); shift ;;
    --fake-nodes) fake=1; shift ;;
    --bind) bind=${2:?}; shift 2 ;;
    --port) port=${2:?}; shift 2 ;;
    --services) services=${2:?}; shift 2 ;;
    --arg) more+=("${2:?}"); shift 2 ;;
    --) shift; break ;;
    -*) usage ;;
    *) break ;;
  esac
done

say() { printf 'controlplane: %s\n' "$*" >&2; }

"$here/build.sh" "${programs[@]}" kubectl

if [ -z "$dir" ]; then
  dir=$(mktemp -d "${TMPDIR:-/tmp}/controlplane.XXXXXX")
else
  mkdir -p "$dir"
  dir=$(cd "$dir" && pwd)
  [ -z "$(ls -A "$dir")" ] || { say "$dir is not empty"; exit 2; }
fi
chmod 700 "$dir"

declare -A pid=()
command_pid=''

stop() { # program: SIGTERM, then SIGKILL after 3 s
  local p=${pid[$1]:-} i
  [ -n "$p" ] || return 0
  kill -TERM "$p" 2>/dev/null || true
  for ((i = 0; i < 60; i++)); do
    kill -0 "$p" 2>/dev/null || break
    sleep 0.05
  done
  kill -KILL "$p" 2>/dev/null || true
  wait "$p" 2>/dev/null || true
  unset "pid[$1]"
}

finish() {
  local status=$? p
  trap '' TERM INT HUP
  trap - EXIT
  if [ -n "$command_pid" ]; then kill -TERM "$command_pid" 2>/dev/null && wait "$command_pid" || true; fi
  for p in kube-scheduler kube-controller-manager kube-apiserver etcd; do stop "$p"; done
  [ -n "$keep" ] || rm -rf "$dir"
  exit "$status"
}
trap finish EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
trap 'exit 129' HUP

extra() { # program: its --arg flags, one a line
  local a
  for a in ${more[@]+"${more[@]}"}; do
    case $a in "$1="*) printf '%s\n' "${a#*=}" ;; esac
  done
}

start() { # program: runs its command line; it dies with this script, whatever kills this script
  local -a line flags=()
  mapfile -t flags < <(extra "$1")
  case $1 in
    etcd) line=("${etcd[@]}") ;;
    kube-apiserver) line=("${apiserver[@]}") ;;
    kube-controller-manager) line=("${controllers[@]}") ;;
    kube-scheduler) line=("${scheduler[@]}") ;;
  esac
  (cd "$dir" && exec setpriv --pdeathsig KILL "$bin/$1" "${line[@]}" ${flags[@]+"${flags[@]}"}) \
    >>"$dir/log/$1" 2>&1 </dev/null &
  pid[$1]=$!
  echo "${pid[$1]}" >"$dir/run/.$1" # a reader sees the old number or the new one
  mv "$dir/run/.$1" "$dir/run/$1"
}

# --- certificates: one CA for server and clients, an admin in system:masters, a key for service account tokens

mkdir -p "$dir"/{pki,log,run,hold}
cd "$dir/pki"
exec 8>"$dir/log/openssl"
key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key" 2>&8; }
leaf() { # name subject extensions
  key "$1"
  openssl req -new -key "$1.key" -subj "$2" |
    openssl x509 -req -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -sha256 \
      -extfile <(printf '%s\n' "$3") -out "$1.crt" 2>&8
}
base=${services%/*} # the Service "kubernetes" has the first address
first=${base%.*}.$((${base##*.} + 1))
names=DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local
key ca
openssl req -x509 -new -key ca.key -days 30 -sha256 -subj /CN=controlplane -out ca.crt 2>&8
leaf server /CN=kube-apiserver "$(printf 'extendedKeyUsage=serverAuth\nsubjectAltName=IP:%s,IP:127.0.0.1,IP:%s,%s' "$bind" "$first" "$names")"
leaf admin /O=system:masters/CN=admin extendedKeyUsage=clientAuth
leaf front-proxy /CN=front-proxy extendedKeyUsage=clientAuth
leaf kube-controller-manager /CN=system:kube-controller-manager extendedKeyUsage=clientAuth
leaf kube-scheduler /CN=system:kube-scheduler extendedKeyUsage=clientAuth
key service-account
openssl pkey -in service-account.key -pubout -out service-account.pub 2>&8
exec 8>&-
cd "$dir"

kubeconfig() { # name file
  cat >"$2" <<END
apiVersion: v1
kind: Config
current-context: controlplane
clusters:
- name: controlplane
  cluster:
    server: https://$bind:$port
    certificate-authority-data: $(base64 -w0 pki/ca.crt)
users:
- name: $1
  user:
    client-certificate-data: $(base64 -w0 "pki/$1.crt")
    client-key-data: $(base64 -w0 "pki/$1.key")
contexts:
- name: controlplane
  context: {cluster: controlplane, user: $1, namespace: default}
END
}

# --- command lines

# etcd has no TCP port: two sockets in $dir
etcd=(
  --data-dir=etcd --unsafe-no-fsync --log-level=warn
  --listen-client-urls=unix://client:0 --advertise-client-urls=unix://client:0
  --listen-peer-urls=unix://peer:0 --initial-advertise-peer-urls=unix://peer:0 --initial-cluster=default=unix://peer:0
)
lines() {
  apiserver=(
    --etcd-servers=unix://client:0
    --bind-address="$bind" --advertise-address="$bind" --secure-port="$port"
    --cert-dir=pki --tls-cert-file=pki/server.crt --tls-private-key-file=pki/server.key
    --client-ca-file=pki/ca.crt --authorization-mode=Node,RBAC
    --service-account-issuer=https://kubernetes.default.svc.cluster.local
    --service-account-key-file=pki/service-account.pub --service-account-signing-key-file=pki/service-account.key
    --service-cluster-ip-range="$services" --allow-privileged=true
    --kubelet-client-certificate=pki/admin.crt --kubelet-client-key=pki/admin.key
    --kubelet-preferred-address-types=InternalIP
    --proxy-client-cert-file=pki/front-proxy.crt --proxy-client-key-file=pki/front-proxy.key
    --requestheader-client-ca-file=pki/ca.crt --requestheader-allowed-names=front-proxy
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group
    --requestheader-extra-headers-prefix=X-Remote-Extra- --enable-aggregator-routing=true
  )
  # no pod can reach a loopback address, so it is not published as the endpoint of the Service "kubernetes"
  case $bind in 127.*) apiserver+=(--endpoint-reconciler-type=none) ;; esac
  # without controllers nobody makes the service accounts that this plug-in asks for
  [[ " ${programs[*]} " = *" kube-controller-manager "* ]] || apiserver+=(--disable-admission-plugins=ServiceAccount)
  controllers=(
    --kubeconfig=run/kube-controller-manager.kubeconfig --leader-elect=false --secure-port=0
    --kube-api-qps=1000 --kube-api-burst=1000 # the usual 20 a second make its start last 5 s
    --use-service-account-credentials=true --root-ca-file=pki/ca.crt
    --service-account-private-key-file=pki/service-account.key
    --cluster-signing-cert-file=pki/ca.crt --cluster-signing-key-file=pki/ca.key
  )
  [ -z "$fake" ] || controllers+=(--controllers=*,-node-lifecycle-controller,-taint-eviction-controller,-pod-garbage-collector-controller)
  scheduler=(--kubeconfig=run/kube-scheduler.kubeconfig --leader-elect=false --secure-port=0)
}

# --- boot

alive() { kill -0 "${pid[$1]}" 2>/dev/null; }
died() {
  say "$1 ended; the end of its log:"
  tail -n 20 "$dir/log/$1" >&2
  exit 1
}
answers() { # path
  curl -sf -m 2 -o /dev/null --cacert pki/ca.crt --cert pki/admin.crt --key pki/admin.key "https://$bind:$port$1"
}

begun=${EPOCHREALTIME/./}
start etcd
for try in 1 2 3 4 5; do
  chosen=$port
  # below the ephemeral range, so that no outgoing connection has it; another program may still be quicker
  while [ -z "$port" ]; do
    port=$((20000 + RANDOM % 10000))
    ! (exec 3<>"/dev/tcp/$bind/$port") 2>/dev/null || port=''
  done
  lines
  : >log/kube-apiserver
  start kube-apiserver
  until answers /readyz; do
    alive etcd || died etcd
    if ! alive kube-apiserver; then
      [ -z "$chosen" ] && [ "$try" -lt 5 ] && grep -q 'address already in use' log/kube-apiserver || died kube-apiserver
      port=''
      continue 2
    fi
    [ $((${EPOCHREALTIME/./} - begun)) -lt 120000000 ] || { say 'not ready after 120 s'; died kube-apiserver; }
    sleep 0.05
  done
  break
done
kubeconfig admin kubeconfig
for p in "${programs[@]:2}"; do
  kubeconfig "$p" "run/$p.kubeconfig"
  start "$p"
done
chmod 600 kubeconfig run/*.kubeconfig 2>/dev/null || true
if [[ " ${programs[*]} " = *" kube-controller-manager "* ]]; then # without this account no pod can be made
  until answers /api/v1/namespaces/default/serviceaccounts/default; do
    alive kube-controller-manager || died kube-controller-manager
    sleep 0.05
  done
fi
say "ready after $(((${EPOCHREALTIME/./} - begun) / 1000)) ms at https://$bind:$port"

# --- until the end: a program that ends is started again, unless hold/PROGRAM exists

watch() {
  local p
  for p in "${programs[@]}"; do
    [ -e "$dir/hold/$p" ] || alive "$p" || start "$p"
  done
}

export KUBECONFIG=$dir/kubeconfig PATH=$bin:$PATH
if [ $# -gt 0 ]; then
  cd "$from"
  "$@" <&0 &
  command_pid=$!
  while kill -0 "$command_pid" 2>/dev/null; do
    watch
    sleep 0.1 &
    wait -n "$command_pid" $! || true
  done
  status=0
  wait "$command_pid" || status=$?
  command_pid=''
  exit "$status"
fi
echo "$KUBECONFIG"
while :; do
  watch
  if [ -n "$until_eof" ]; then
    read -r -t 0.1 _ || [ $? -gt 128 ] || exit 0 # above 128: no end yet, only 0.1 s gone
  else
    sleep 0.1 &
    wait $! || true
  fi
done
