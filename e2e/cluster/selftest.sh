#!/usr/bin/env bash
# Tries the cluster: pods, Services, user namespaces, volumes, a killed run, and that nothing is left at the end.
# (wget -T of Debian's busybox crashes, hence timeout.)
# It needs the cluster to be down (APOCRYPH_CLUSTER_SLOT=1 runs it beside another one that is left alone meanwhile) when it begins.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=settings.sh
. "$HERE/settings.sh"
# shellcheck source=common.sh
. "$HERE/common.sh"
# shellcheck source=up.sh
. "$HERE/up.sh"
cluster() { "$HERE/cluster" "$@"; }
pass() { say "ok: $*"; }
fail() { die "SELFTEST FAILED: $*" "the cluster is as it was then: cluster status, cluster logs, cluster down"; }

# What of this machine a cluster could leave changed.
machine() {
  local key
  echo "links: $(ip -o link | awk -F': ' '{print $2}' | sort | tr '\n' ' ')"
  echo "routes: $(ip route | sort | tr '\n' ';')"
  echo "mounts: $(awk '{print $5}' /proc/self/mountinfo | sort | sha256sum)"
  echo "nft: $(nft list ruleset | sha256sum)"
  echo "namespaces: $(find /run/netns -mindepth 1 2>/dev/null | sort | tr '\n' ' ')"
  echo "cgroups: $(find /sys/fs/cgroup -maxdepth 3 -name "$CGROUP*" | tr '\n' ' ')"
  echo "processes: $(node_processes | wc -l)"
  for key in "${MACHINE_SYSCTLS[@]}"; do echo "$key=$(sysctl -n "$key" 2>/dev/null || true)"; done
  find "${NODE_PRIVATE_DIRS[@]}" -maxdepth 0 2>/dev/null || true
  ls -d "$STATE" "$SYSCTL_NOTE" 2>/dev/null || true
}

# The node's programs and containerd's shims all have the state folder in their arguments.
node_processes() {
  { grep -lF "$STATE/" /proc/[0-9]*/cmdline 2>/dev/null || true; } | grep -v "/proc/$$/" || true
}

kubectl() { "$KUBERNETES_BIN/kubectl" --kubeconfig="$ADMIN_KUBECONFIG" "$@"; }

check_node() {
  [ "$(kubectl get node "$NODE" -o 'jsonpath={.status.capacity.pods}')" = "$MAX_PODS" ] || fail "the node does not take $MAX_PODS pods"
  [ "$(kubectl get node "$NODE" -o 'jsonpath={.spec.podCIDR}')" = "$NODE_POD_NETWORK" ] || fail "another pod network than the CNI's"
  kubectl get node "$NODE" -o json | jq -e '[.status.runtimeHandlers[] | select(.features.userNamespaces)] | length > 0' >/dev/null ||
    fail "no runtime handler has user namespaces"
  kubectl get --raw /apis/admissionregistration.k8s.io/v1 | grep >/dev/null validatingadmissionpolicies || fail "no ValidatingAdmissionPolicy"
  pass "node ready, $MAX_PODS pods, user namespaces, admission policies"
}

check_deployment() {
  cluster busybox-image localhost/hello:1 --entrypoint /bin/sh --entrypoint -c \
    --cmd 'hostname >/tmp/index.html; exec httpd -f -p 8080 -h /tmp' --user 65532:65532 --port 8080
  cluster busybox-image localhost/hello:1 --entrypoint /bin/sh --entrypoint -c \
    --cmd 'hostname >/tmp/index.html; exec httpd -f -p 8080 -h /tmp' --user 65532:65532 --port 8080 | grep >/dev/null unchanged ||
    fail "the same image was imported twice"
  local begin=$SECONDS cluster_ip node_port
  kubectl apply -f - >/dev/null <<'YAML'
apiVersion: apps/v1
kind: Deployment
metadata: {name: hello}
spec:
  replicas: 2
  selector: {matchLabels: {app: hello}}
  template:
    metadata: {labels: {app: hello}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: hello, image: "localhost/hello:1", imagePullPolicy: IfNotPresent, ports: [{containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: hello}
spec: {type: NodePort, externalTrafficPolicy: Local, selector: {app: hello}, ports: [{port: 80, targetPort: 8080}]}
YAML
  kubectl rollout status deployment/hello --timeout=90s >/dev/null || fail "the deployment is not available"
  pass "two replicas available after $((SECONDS - begin)) s"
  cluster_ip=$(kubectl get service hello -o 'jsonpath={.spec.clusterIP}')
  node_port=$(kubectl get service hello -o 'jsonpath={.spec.ports[0].nodePort}')
  wait_until 20 kubectl exec deployment/hello -- timeout 3 wget -qO- "http://$cluster_ip/" || fail "the ClusterIP does not answer a pod"
  wait_until 20 busybox timeout 3 busybox wget -qO- "http://$NODE_ADDRESS:$node_port/" || fail "the NodePort does not answer on $NODE_ADDRESS"
  [ "$(for _ in {1..20}; do busybox timeout 3 busybox wget -qO- "http://$cluster_ip/"; done | sort -u | wc -l)" = 2 ] ||
    fail "the ClusterIP does not reach both replicas"
  kubectl logs deployment/hello >/dev/null || fail "no logs"
  pass "ClusterIP and NodePort answer, exec and logs work"
}

check_dns() {
  wait_until 20 kubectl exec deployment/hello -- timeout 3 nslookup hello.default.svc.cluster.local ||
    fail "a pod cannot resolve hello.default.svc.cluster.local"
  pass "a pod resolves a Service's name"
}

check_user_namespace() {
  kubectl create namespace tenant >/dev/null
  kubectl label namespace tenant pod-security.kubernetes.io/enforce=baseline >/dev/null
  wait_until 20 kubectl -n tenant get serviceaccount default
  kubectl -n tenant apply -f - >/dev/null <<'YAML'
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 10Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: root}
spec:
  hostUsers: false
  terminationGracePeriodSeconds: 0
  automountServiceAccountToken: false
  securityContext: {runAsUser: 0, seccompProfile: {type: RuntimeDefault}}
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
  containers:
  - name: root
    image: localhost/hello:1
    command: [/bin/sh, -c, "touch /data/file && chown 1234:1234 /data/file && exec sleep 2147483647"]
    volumeMounts: [{name: data, mountPath: /data}]
    securityContext:
      allowPrivilegeEscalation: false
      capabilities: {drop: [ALL], add: [CHOWN, DAC_OVERRIDE, FOWNER]}
YAML
  kubectl -n tenant wait --for=condition=Ready pod/root --timeout=60s >/dev/null || fail "the pod with hostUsers: false does not run"
  local map
  map=$(kubectl -n tenant exec root -- cat /proc/self/uid_map)
  awk '$1 != 0 || $2 < 65536 {exit 1}' <<<"$map" || fail "uid_map: $map"
  wait_until 10 kubectl -n tenant exec root -- test -f /data/file
  [ "$(kubectl -n tenant exec root -- stat -c %u:%g /data/file)" = 1234:1234 ] || fail "chown on the volume had no effect"
  pass "hostUsers: false: uid_map is$(tr -s ' ' <<<" $map"), chown on a volume works"
  kubectl -n tenant run plain --image=localhost/hello:1 --overrides='{"spec": {"hostPID": true}}' >/dev/null 2>&1 &&
    fail "Pod Security let hostPID through"
  pass "Pod Security refuses hostPID at baseline"
}

check_audit() {
  local found
  found=$(jq -c 'select(.verb == "create" and .objectRef.resource == "namespaces" and .objectRef.name == "tenant" and
    .requestObject.metadata.name == "tenant" and .user.username == "admin" and .user.extra)' "$AUDIT_LOG")
  [ -n "$found" ] ||
    fail "the audit log does not hold the creation of a namespace"
  pass "audit log: $(wc -l <"$AUDIT_LOG") lines"
}

# A run that was killed: every process at once, the outermost included.
kill_everything() {
  local pids
  pids="$(own_process "$NODE_PID_FILE") $(node_pids | tr '\n' ' ')"
  # shellcheck disable=SC2086
  kill -KILL $pids 2>/dev/null || true
  cluster status >/dev/null && fail "still up after kill -9"
  pass "killed $(wc -w <<<"$pids") processes"
}

need_root_and_linux
[ ! -e "$STATE" ] || die "the cluster is up, or was killed: $STATE" "cluster down, then run this again"
cluster tools
before=$(machine)
cluster up
check_node
cluster up 2>&1 | grep >/dev/null 'already up' || fail "a second up does not see the first"
check_deployment
check_dns
check_user_namespace
check_audit
kill_everything
cluster up
check_node
[ -z "$(kubectl get deployments -o name)" ] || fail "the second cluster is not fresh"
kill -KILL "$(program_pid kubelet)"
wait_until 5 test -s "$STATE/ended" || fail "the end of the kubelet was not noticed"
pass "status: $(cat "$STATE/ended")"
cluster down
cluster down
as_before() { [ "$(machine)" = "$before" ]; }
wait_until 10 as_before || true # the kernel takes network namespaces away in its own time
diff <(echo "$before") <(machine) || fail "something is left (lines with >) or missing (<)"
pass "nothing is left"
say "SELFTEST PASSED in $SECONDS s"
