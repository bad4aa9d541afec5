# shellcheck shell=bash
# The files that the programs of the node read.

write_config() {
  containerd_config >"$STATE/containerd.toml"
  kubelet_config >"$STATE/kubelet.yaml"
  mkdir -p "$STATE/cni"
  cni_config >"$STATE/cni/10-bridge.conflist"
  resolv_conf >"$STATE/resolv.conf"
  cp "$HERE/audit-policy.yaml" "$STATE/audit-policy.yaml"
}

# Containers and volumes live at the usual places, which are the node's own (NODE_PRIVATE_DIRS) and which a pod in a user
# namespace can walk to; the state folder may be below a home folder that only root may enter.
# disable_apparmor: a profile would stay loaded in this machine's kernel.
# restrict_oom_score_adj: where this machine's root lacks CAP_SYS_RESOURCE, every pod fails without it.
containerd_config() {
  cat <<TOML
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri"]

[grpc]
address = "$CONTAINERD_SOCKET"

[plugins."io.containerd.internal.v1.opt"]
path = "/var/lib/containerd/opt"

[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "$PAUSE_IMAGE"

[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
disable_apparmor = true
netns_mounts_under_state_dir = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["$CNI_BIN"]
conf_dir = "$STATE/cni"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "$RUNC_BIN/runc"
TOML
}

cni_config() {
  cat <<JSON
{"cniVersion": "1.0.0", "name": "apocryph", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "/var/lib/cni/networks",
            "ranges": [[{"subnet": "$NODE_POD_NETWORK"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}
]}
JSON
}

# containerLogMaxSize: a test reads a log of 100 MB, which is not to be rotated away.
kubelet_config() {
  cat <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: "$PKI/ca.crt"}
authorization: {mode: Webhook}
tlsCertFile: "$PKI/kubelet.crt"
tlsPrivateKeyFile: "$PKI/kubelet.key"
containerRuntimeEndpoint: "unix://$CONTAINERD_SOCKET"
cgroupDriver: cgroupfs
cgroupRoot: "/$CGROUP"
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: [pods]
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
clusterDNS: ["$DNS_SERVICE"]
clusterDomain: cluster.local
resolvConf: "$STATE/resolv.conf"
maxPods: $MAX_PODS
containerLogMaxSize: 256Mi
serializeImagePulls: false
registryPullQPS: 0
eventRecordQPS: 50
eventBurst: 200
kubeAPIQPS: 200
kubeAPIBurst: 400
syncFrequency: 10s
nodeStatusUpdateFrequency: 5s
YAML
}

# A resolver on this machine's loopback is not the node's loopback: only others are of use there.
resolv_conf() {
  local from found
  for from in /run/systemd/resolve/resolv.conf /etc/resolv.conf; do
    found=$(grep -E '^nameserver ' "$from" 2>/dev/null | grep -vE ' (127\.|::1)') || continue
    printf '%s\n' "$found"
    return 0
  done
  echo "nameserver 127.0.0.1"
}

storage_class() {
  cat <<'YAML'
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: host-path
  annotations: {storageclass.kubernetes.io/is-default-class: "true"}
provisioner: kubernetes.io/host-path
reclaimPolicy: Delete
volumeBindingMode: Immediate
YAML
}
