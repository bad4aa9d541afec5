# shellcheck shell=bash
# Talking to people, and telling one's own processes from others.

say() { printf '%s\n' "$*" >&2; }

# die WHAT [WHAT TO DO NEXT]...
die() {
  say "cluster: $1"
  shift
  local next
  for next in "$@"; do say "  $next"; done
  exit 1
}

# step TEXT LOG COMMAND...: one line with the time it took; on failure the end of the log
step() {
  local text=$1 log=$2 begin=$SECONDS
  shift 2
  printf '%s ... ' "$text" >&2
  if "$@" >"$log" 2>&1; then
    say "done in $((SECONDS - begin)) s"
  else
    say "FAILED after $((SECONDS - begin)) s; the end of $log:"
    tail -n 20 "$log" | sed 's/^/  | /' >&2
    return 1
  fi
}

need_root_and_linux() {
  [ "$(uname -s)" = Linux ] || die "this needs Linux, not $(uname -s)" \
    "point KUBECONFIG at a cluster of your own instead"
  [ "$(id -u)" = 0 ] || die "this needs root: it makes namespaces, mounts and network devices" \
    "run it again with sudo -E, or point KUBECONFIG at a cluster of your own"
}

# One at a time: `up`, `down` and `tools` wait for each other.
take_lock() {
  mkdir -p "$CACHE"
  exec 9>"$CACHE/lock"
  if ! flock -n 9; then
    say "waiting for another 'cluster' command to finish"
    flock 9
  fi
}

# When a process began, in clock ticks since boot: with the pid it names one process for ever.
process_start() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  stat=${stat##*) } # the name before it may hold spaces and brackets
  # shellcheck disable=SC2086
  set -- $stat
  [ "$1" != Z ] || return 1
  echo "${20}"
}

# own_process FILE: prints the pid in FILE if that very process still lives
own_process() {
  local pid start
  [ -s "$1" ] || return 1
  read -r pid start <"$1" || return 1
  [ "$(process_start "$pid")" = "$start" ] || return 1
  echo "$pid"
}

# wait_until SECONDS COMMAND...
wait_until() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.1
  done
}

# Every process of the node: it has a pid namespace of its own.
node_pids() {
  local init ns
  init=$(own_process "$STATE/init.pid") || return 0
  ns=$(readlink "/proc/$init/ns/pid") || return 0
  { find /proc/[0-9]*/ns/pid -maxdepth 0 -printf '%l %p\n' 2>/dev/null || true; } |
    awk -v ns="$ns" '$1 == ns {split($2, path, "/"); print path[3]}'
}

# program_pid NAME: the process id, as this machine counts, of one of the node's programs
program_pid() {
  local pid
  for pid in $(node_pids); do
    case $(readlink "/proc/$pid/exe") in
      "$CACHE"/*/"${1:?which program}")
        echo "$pid"
        return 0
        ;;
    esac
  done
  return 1
}

kubectl_admin() { "$KUBERNETES_BIN/kubectl" --kubeconfig="$ADMIN_KUBECONFIG" "$@"; }
ctr_k8s() { "$CONTAINERD_BIN/ctr" --address "$CONTAINERD_SOCKET" --namespace k8s.io "$@"; }

print_env() {
  printf 'export KUBECONFIG=%q\n' "$ADMIN_KUBECONFIG"
  # shellcheck disable=SC2016  # expanded by who evaluates it
  printf 'export PATH=%q:"$PATH"\n' "$PROGRAM_PATH"
  printf 'export CONTAINERD_ADDRESS=%q CONTAINERD_NAMESPACE=k8s.io\n' "$CONTAINERD_SOCKET"
  printf 'export APOCRYPH_NODE_ADDRESS=%q APOCRYPH_HOST_ADDRESS=%q APOCRYPH_AUDIT_LOG=%q\n' \
    "$NODE_ADDRESS" "$HOST_ADDRESS" "$AUDIT_LOG"
}

audit_log() { echo "$AUDIT_LOG"; }

logs() {
  if [ $# -gt 0 ]; then
    [ -f "$LOGS/$1.log" ] || die "no log of $1" "cluster logs lists them"
    cat "$LOGS/$1.log"
  else
    [ -d "$LOGS" ] || die "no logs: the cluster is not up" "cluster up"
    ls -l "$LOGS"/*.log
  fi
}
