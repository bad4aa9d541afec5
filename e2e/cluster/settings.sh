# shellcheck shell=bash disable=SC2034  # read by the other parts
# Versions, places, names and addresses. Nothing here does anything.

KUBERNETES_VERSION=1.35.4
ETCD_VERSION=3.6.5
HELM_VERSION=3.19.4
CONTAINERD_VERSION=2.4.2
RUNC_VERSION=1.5.2
COREDNS_VERSION=1.15.0
GO_AT_LEAST=1.26.6 # containerd's go.mod asks for it

# Programs, kept between runs. Every folder appears by one rename, complete or not at all.
# Paths are resolved: processes are told apart by the file they run.
CACHE=$(readlink -m "${XDG_CACHE_HOME:-$HOME/.cache}/apocryph")
KUBERNETES_BIN=$CACHE/kubernetes-$KUBERNETES_VERSION
ETCD_BIN=$CACHE/etcd-$ETCD_VERSION
HELM_BIN=$CACHE/helm-$HELM_VERSION
CONTAINERD_BIN=$CACHE/containerd-$CONTAINERD_VERSION
RUNC_BIN=$CACHE/runc-$RUNC_VERSION
COREDNS_BIN=$CACHE/coredns-$COREDNS_VERSION
CNI_BIN=/usr/lib/cni # Debian's containernetworking-plugins
PROGRAM_PATH=$KUBERNETES_BIN:$ETCD_BIN:$HELM_BIN:$CONTAINERD_BIN:$RUNC_BIN

# Several clusters can run side by side, each in a slot of its own: 0 (the usual one) to 9.
SLOT=${APOCRYPH_CLUSTER_SLOT:-0}

# Everything of one running cluster; gone after `down`.
STATE=$(readlink -m "${APOCRYPH_CLUSTER_DIR:-${XDG_STATE_HOME:-$HOME/.local/state}/apocryph/cluster${SLOT#0}}")
PKI=$STATE/pki
LOGS=$STATE/log
ADMIN_KUBECONFIG=$STATE/admin.kubeconfig
AUDIT_LOG=$STATE/audit/audit.log
CONTAINERD_SOCKET=$STATE/containerd.sock
NODE_PID_FILE=$STATE/node.pid

# The node is a set of namespaces of its own, joined to this machine by one veth pair.
NODE=node0
HOST_LINK=apo$SLOT                # this machine's end
HOST_ADDRESS=10.199.$SLOT.254     # what pods and the node call this machine
NODE_ADDRESS=10.199.$SLOT.1       # NodePorts and the API server answer here
NODE_NETWORK=10.199.$SLOT.0/24
POD_NETWORK=10.244.0.0/16
NODE_POD_NETWORK=10.244.0.0/22 # what the controller manager gives to the first node (mask below)
NODE_POD_MASK=22
SERVICE_NETWORK=10.96.0.0/16
KUBERNETES_SERVICE=10.96.0.1
DNS_SERVICE=10.96.0.10
MAX_PODS=200
CGROUP=apocryph-cluster$SLOT      # all pods' cgroups are below it
NFT_TABLE=apocryph-cluster$SLOT   # masquerades the node's way out
PAUSE_IMAGE=apocryph.local/pause:1
DNS_IMAGE=apocryph.local/coredns:$COREDNS_VERSION

# Fixed places that kubelet, containerd and the controllers insist on. The node sees folders of its own there
# (below $STATE), so the machine's are never written.
NODE_PRIVATE_DIRS=(
  /run/containerd /run/netns /tmp/hostpath_pv /usr/libexec/kubernetes
  /var/lib/cni /var/lib/containerd /var/lib/kubelet /var/log/containers /var/log/pods
)
# Settings of the whole machine that the kubelet or we change; noted at the first `up`, put back at the last `down`.
# A reboot forgets both the settings and the note.
SYSCTL_NOTE=/run/apocryph-cluster.sysctls
FOLDER_NOTE=$CACHE/made-folders # which of NODE_PRIVATE_DIRS the machine did not have
MACHINE_SYSCTLS=(
  vm.overcommit_memory kernel.panic kernel.panic_on_oops kernel.keys.root_maxkeys kernel.keys.root_maxbytes
  net.ipv4.ip_forward
)

NODE_PROGRAMS=(etcd kube-apiserver kube-controller-manager kube-scheduler containerd kubelet kube-proxy)
