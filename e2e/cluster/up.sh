# shellcheck shell=bash
# Start: prepare the state folder, join the node's namespaces to this machine, wait until it is of use.

up() {
  need_root_and_linux
  tools_present || tools
  take_lock
  if healthy; then
    say "the cluster is already up: eval \"\$(${0} env)\""
    return 0
  fi
  local begin=$SECONDS
  stop_node # whatever a killed run or a half-made start left
  refuse_collisions
  if ! start_node || ! wait_for_node; then
    explain_failure
    stop_node_keeping_logs
    exit 1
  fi
  say "cluster up in $((SECONDS - begin)) s: eval \"\$(${0} env)\""
}

healthy() {
  own_process "$NODE_PID_FILE" >/dev/null && [ -e "$STATE/ready" ] && all_programs && node_ready
}

all_programs() {
  local name
  [ ! -s "$STATE/ended" ] || return 1
  for name in "${NODE_PROGRAMS[@]}"; do program_pid "$name" >/dev/null || return 1; done
}

refuse_collisions() {
  local route
  [ ${#CONTAINERD_SOCKET} -lt 90 ] || die "the path of the state folder is too long for a socket: $STATE" \
    "set APOCRYPH_CLUSTER_DIR to a shorter one"
  if ip link show "$HOST_LINK" >/dev/null 2>&1; then
    die "the network device $HOST_LINK exists: another cluster of this kind runs here" \
      "$(ip -d link show "$HOST_LINK" | grep -o 'alias .*' || true)" \
      "stop it (with APOCRYPH_CLUSTER_DIR set as for its 'up'), or run beside it: APOCRYPH_CLUSTER_SLOT=1"
  fi
  route=$(ip route show root "$NODE_NETWORK")
  [ -z "$route" ] || die "this machine already uses $NODE_NETWORK: $route" "change the addresses in settings.sh"
}

start_node() {
  mkdir -p "$STATE" && chmod 700 "$STATE"
  mkdir -p "$LOGS" "$STATE/audit"
  note_machine
  step "certificates" "$LOGS/pki.log" make_pki || return 1
  write_config
  make_private_mountpoints
  make_cgroups
  [ -d /proc/sys/net/bridge ] || modprobe br_netfilter || true
  launch || return 1
  connect || return 1
}

# What is changed on the machine is written down first, so that the next `down` can put it back even after a crash.
note_machine() {
  local key file
  [ ! -e "$SYSCTL_NOTE" ] || return 0
  for key in "${MACHINE_SYSCTLS[@]}"; do
    file=/proc/sys/${key//.//}
    [ ! -r "$file" ] || echo "$key=$(cat "$file")"
  done >"$SYSCTL_NOTE.new"
  mv "$SYSCTL_NOTE.new" "$SYSCTL_NOTE"
}

make_private_mountpoints() {
  local dir missing
  for dir in "${NODE_PRIVATE_DIRS[@]}"; do
    missing=$dir
    # innermost first, so that `down` can remove them in this order
    while [ ! -d "$missing" ]; do
      echo "$missing"
      missing=$(dirname "$missing")
    done
  done >>"$FOLDER_NOTE"
  mkdir -p "${NODE_PRIVATE_DIRS[@]}"
}

cgroup_mounts() { awk '{for (i = 7; i <= NF; i++) if ($i == "-" && $(i+1) ~ /^cgroup2?$/) print $5}' /proc/self/mountinfo; }

make_cgroups() {
  local mount controller
  for mount in $(cgroup_mounts); do
    mkdir -p "$mount/$CGROUP"
    # version 2: controllers reach a child only when the parent hands them on
    if [ -w "$mount/cgroup.subtree_control" ]; then
      for controller in $(<"$mount/cgroup.controllers"); do
        echo "+$controller" >"$mount/cgroup.subtree_control" || true
        echo "+$controller" >"$mount/$CGROUP/cgroup.subtree_control" || true
      done
    fi
  done 2>/dev/null
}

# The process writes its own pid and start time before it becomes the node: no moment in which it is unknown.
launch() {
  local pid init
  # shellcheck disable=SC2016
  APOCRYPH_CLUSTER_DIR=$STATE setsid bash -c '
    . "$1/common.sh"
    echo "$$ $(process_start $$)" >"$2"
    exec unshare --fork --kill-child --pid --mount-proc --mount --propagation slave --net --uts -- bash "$1/node.sh"
  ' node "$HERE" "$NODE_PID_FILE" </dev/null >"$LOGS/node.log" 2>&1 9>&- &
  disown
  wait_until 10 own_process "$NODE_PID_FILE"
  pid=$(own_process "$NODE_PID_FILE") || return 1
  wait_until 10 node_init "$pid"
  init=$(node_init "$pid") || return 1
  echo "$init $(process_start "$init")" >"$STATE/init.pid"
}

# The child of `unshare`, once it is in namespaces of its own.
node_init() {
  local child
  child=$(awk -v parent="$1" '{sub(/^.*\) /, ""); if ($2 == parent) {split(FILENAME, path, "/"); print path[3]}}' \
    /proc/[0-9]*/stat 2>/dev/null | head -n 1)
  [ -n "$child" ] && [ "$(readlink "/proc/$child/ns/net")" != "$(readlink /proc/self/ns/net)" ] && echo "$child"
}

connect() {
  local init
  init=$(own_process "$STATE/init.pid") || return 1
  ip link add "$HOST_LINK" type veth peer name eth0 netns "$init" || return 1
  ip link set "$HOST_LINK" alias "apocryph cluster in $STATE"
  ip addr add "$HOST_ADDRESS/${NODE_NETWORK#*/}" dev "$HOST_LINK"
  ip link set "$HOST_LINK" up
  # pods and Services can be reached from this machine as from a node; they go with the device
  ip route add "$SERVICE_NETWORK" via "$NODE_ADDRESS" 2>/dev/null || true
  ip route add "$NODE_POD_NETWORK" via "$NODE_ADDRESS" 2>/dev/null || true
  # the way out: registries, chains, other peers
  sysctl -qw net.ipv4.ip_forward=1
  nft -f - <<NFT
table ip $NFT_TABLE {
  chain out {
    type nat hook postrouting priority srcnat
    ip saddr $NODE_NETWORK oifname != "$HOST_LINK" masquerade
  }
}
NFT
}

node_ready() {
  [ "$(kubectl_admin get node "$NODE" --request-timeout=5s \
    -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null)" = True ]
}

node_user_namespaces() {
  kubectl_admin get node "$NODE" -o 'jsonpath={.status.runtimeHandlers[*].features.userNamespaces}' | grep -w true >/dev/null
}

await() { # TEXT SECONDS COMMAND...: stops early when a program has ended
  local text=$1 end=$((SECONDS + $2)) begin=$SECONDS
  shift 2
  printf '%s ... ' "$text" >&2
  until "$@" >/dev/null 2>&1; do
    if [ -s "$STATE/ended" ] || [ "$SECONDS" -ge "$end" ] || ! own_process "$NODE_PID_FILE" >/dev/null; then
      say "NOT after $((SECONDS - begin)) s"
      return 1
    fi
    sleep 0.1
  done
  say "done in $((SECONDS - begin)) s"
}

wait_for_node() {
  await "API server" 120 kubectl_admin get --raw /readyz --request-timeout=2s || return 1
  storage_class | kubectl_admin apply -f - >"$LOGS/storage-class.log" 2>&1 || return 1
  await "containerd" 60 ctr_k8s version || return 1
  pause_image || return 1
  binary_image "$DNS_IMAGE" "$COREDNS_BIN/coredns" --user 0:0 >"$LOGS/dns-image.log" 2>&1 || return 1
  cluster_dns | kubectl_admin apply -f - >"$LOGS/dns.log" 2>&1 || return 1
  await "node ready" 120 node_ready || return 1
  await "service accounts" 60 kubectl_admin get serviceaccount default || return 1
  await "kube-proxy" 30 busybox wget -q -O /dev/null "http://$NODE_ADDRESS:10256/healthz" || return 1
  await "cluster DNS" 60 dns_ready || return 1
  await "every program" 10 all_programs || return 1
  node_user_namespaces || say "note: this node has no user namespaces for pods (kernel or runtime too old?)"
  : >"$STATE/ready"
}

# Who ended tells most; when all live, the kubelet knows why the node is not ready.
explain_failure() {
  local name shown=''
  [ ! -s "$STATE/ended" ] || sed 's/^/  /' "$STATE/ended" >&2
  for name in node "${NODE_PROGRAMS[@]}"; do
    if [ ! -s "$LOGS/$name.log" ] || program_pid "$name" >/dev/null; then continue; fi
    show_log_end "$name"
    [ "$name" = node ] || shown=yes
  done
  [ -n "$shown" ] || [ ! -s "$LOGS/kubelet.log" ] || show_log_end kubelet
}

show_log_end() {
  say "the end of $1's log:"
  tail -n 8 "$LOGS/$1.log" | cut -c1-300 | sed 's/^/  | /' >&2
}

stop_node_keeping_logs() {
  local kept=$CACHE/log/failed-up
  rm -rf "$kept"
  cp -r "$LOGS" "$kept" 2>/dev/null || true
  stop_node
  say "the cluster did not come up; all logs are in $kept; run 'cluster up' to try again"
}

status() {
  local name pid
  if ! own_process "$NODE_PID_FILE" >/dev/null; then
    [ -e "$STATE" ] && say "down, with the remains of a killed run in $STATE: 'cluster down' or 'cluster up' removes them"
    [ -e "$STATE" ] || say "down"
    return 1
  fi
  for name in "${NODE_PROGRAMS[@]}"; do
    pid=$(program_pid "$name") && echo "$name: runs, process $pid" || echo "$name: does not run"
  done
  [ ! -s "$STATE/ended" ] || cat "$STATE/ended"
  if healthy; then echo "node $NODE: ready"; else
    echo "node $NODE: not ready"
    return 1
  fi
}
