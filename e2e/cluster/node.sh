#!/usr/bin/env bash
# The node's first process, in pid, mount, network and host-name namespaces of its own: starts every program and reaps.
# When it dies, by whatever means, the kernel ends every process, mount, device, route and rule of the node with it.
# Started by up.sh; not for direct use.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=settings.sh
. "$HERE/settings.sh"
# shellcheck source=common.sh
. "$HERE/common.sh"
export PATH=$PROGRAM_PATH:$PATH

# a login shell's 1024 open files are not enough for 200 pods
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -H -n)"

private_places() {
  mount --make-rshared /
  local dir own
  for dir in "${NODE_PRIVATE_DIRS[@]}"; do
    own=$STATE/private$dir
    mkdir -p "$own"
    mount --bind "$own" "$dir"
  done
  chmod 1777 "$STATE/private/tmp/hostpath_pv"
  if [ -e /etc/resolv.conf ]; then mount --bind "$STATE/resolv.conf" "$(readlink -f /etc/resolv.conf)"; fi
  hostname "$NODE"
}

network() {
  wait_until 20 ip link show eth0
  ip link set lo up
  ip addr add "$NODE_ADDRESS/${NODE_NETWORK#*/}" dev eth0
  ip link set eth0 up
  ip route add default via "$HOST_ADDRESS"
  sysctl -qw net.ipv4.ip_forward=1
  # without it an answer from pod to pod on the bridge skips the translation back to the Service's address
  sysctl -qw net.bridge.bridge-nf-call-iptables=1
}

declare -A NAMES=()
start() {
  local name=$1
  shift
  "$name" "$@" >"$LOGS/$name.log" 2>&1 &
  NAMES[$!]=$name
}

control_plane() {
  local etcd=http://127.0.0.1:2379
  start etcd --data-dir "$STATE/etcd" --listen-client-urls "$etcd" --advertise-client-urls "$etcd" \
    --listen-peer-urls http://127.0.0.1:2380 --unsafe-no-fsync --log-level warn
  start kube-apiserver --etcd-servers="$etcd" --secure-port=6443 --bind-address=0.0.0.0 \
    --advertise-address="$NODE_ADDRESS" --service-cluster-ip-range="$SERVICE_NETWORK" \
    --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" --client-ca-file="$PKI/ca.crt" \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
    --service-account-issuer=https://kubernetes.default.svc \
    --service-account-key-file="$PKI/service-accounts.pub" \
    --service-account-signing-key-file="$PKI/service-accounts.key" \
    --kubelet-preferred-address-types=InternalIP --kubelet-certificate-authority="$PKI/ca.crt" \
    --kubelet-client-certificate="$PKI/admin.crt" --kubelet-client-key="$PKI/admin.key" \
    --audit-policy-file="$STATE/audit-policy.yaml" --audit-log-path="$AUDIT_LOG" --audit-log-format=json \
    --audit-log-mode=blocking --audit-log-maxsize=4096
}

controllers() {
  start kube-controller-manager --kubeconfig="$STATE/controller-manager.kubeconfig" --bind-address=127.0.0.1 \
    --leader-elect=false --use-service-account-credentials --root-ca-file="$PKI/ca.crt" \
    --service-account-private-key-file="$PKI/service-accounts.key" \
    --cluster-signing-cert-file="$PKI/ca.crt" --cluster-signing-key-file="$PKI/ca.key" \
    --allocate-node-cidrs=true --cluster-cidr="$POD_NETWORK" --node-cidr-mask-size="$NODE_POD_MASK" \
    --service-cluster-ip-range="$SERVICE_NETWORK" --enable-hostpath-provisioner \
    --kube-api-qps=200 --kube-api-burst=400
  start kube-scheduler --kubeconfig="$STATE/scheduler.kubeconfig" --bind-address=127.0.0.1 --leader-elect=false \
    --kube-api-qps=200 --kube-api-burst=400
}

node_agents() {
  # the kubelet gives up now and then when it comes before containerd
  wait_until 60 ctr_k8s version
  start kubelet --config="$STATE/kubelet.yaml" --kubeconfig="$STATE/kubelet.kubeconfig" --hostname-override="$NODE" \
    --node-ip="$NODE_ADDRESS"
  start kube-proxy --kubeconfig="$STATE/proxy.kubeconfig" --hostname-override="$NODE" --proxy-mode=nftables \
    --cluster-cidr="$POD_NETWORK" --conntrack-max-per-core=0 --healthz-bind-address="$NODE_ADDRESS:10256"
}

# An end that nobody asked for is written down for `up` and `status`.
reap() {
  local pid code
  while true; do
    code=0
    wait -n -p pid || code=$?
    [ -n "${pid:-}" ] || break
    echo "${NAMES[$pid]:-process $pid} ended with code $code" >>"$STATE/ended"
  done
}

private_places
network
control_plane
start containerd --config "$STATE/containerd.toml"
wait_until 120 kubectl_admin get --raw /readyz
controllers
node_agents
reap
