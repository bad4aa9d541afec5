# shellcheck shell=bash
# Stop: end the node's first process, and with it everything that lives in its namespaces; then put the machine back.

down() {
  need_root_and_linux
  take_lock
  local begin=$SECONDS
  if [ ! -e "$STATE" ]; then
    say "the cluster is down already"
    return 0
  fi
  stop_node
  say "cluster down in $((SECONDS - begin)) s"
}

stop_node() {
  [ -e "$STATE" ] || return 0
  kill_node
  remove_from_machine
  remove_cgroups
  restore_sysctls
  unmount_strays
  remove_made_folders
  rm -rf --one-file-system "$STATE"
}

# The first process of a pid namespace is gone only when all others in it are: nothing else needs to be looked for.
kill_node() {
  local file pid
  for file in "$NODE_PID_FILE" "$STATE/init.pid"; do
    pid=$(own_process "$file") || continue
    kill -KILL "$pid" 2>/dev/null || true
    wait_until 30 process_gone "$file" || die "process $pid does not end" "look at it: cat /proc/$pid/stack"
  done
}

process_gone() { ! own_process "$1"; }

remove_from_machine() {
  # the kernel takes the device away with the node's namespace, but in its own time
  if ip -d link show "$HOST_LINK" 2>/dev/null | grep -F "alias apocryph cluster in $STATE" >/dev/null; then
    ip link del "$HOST_LINK" 2>/dev/null || true
    nft delete table ip "$NFT_TABLE" 2>/dev/null || true
  elif ! ip link show "$HOST_LINK" >/dev/null 2>&1; then
    nft delete table ip "$NFT_TABLE" 2>/dev/null || true
  fi
}

remove_cgroups() {
  local mount
  for mount in $(cgroup_mounts); do
    [ ! -d "$mount/$CGROUP" ] || find "$mount/$CGROUP" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
}

restore_sysctls() {
  local line
  [ -f "$SYSCTL_NOTE" ] || return 0
  ! others_run || return 0
  while read -r line; do
    [ "$(sysctl -n "${line%%=*}" 2>/dev/null)" = "${line#*=}" ] || sysctl -qw "$line" || true
  done <"$SYSCTL_NOTE"
  rm -f "$SYSCTL_NOTE"
}

# Mounts are made in the node's own mount namespace and go with it; this is for what someone mounted by hand.
unmount_strays() {
  awk -v dir="$STATE/" 'index($5, dir) == 1 {print $5}' /proc/self/mountinfo | sort -r | while read -r mount; do
    umount "$mount" || true
  done
}

# Removing a folder that another cluster has mounted over would take the mount away from it.
remove_made_folders() {
  local dir
  [ -f "$FOLDER_NOTE" ] || return 0
  ! others_run || return 0
  while read -r dir; do
    rmdir "$dir" 2>/dev/null || true
  done <"$FOLDER_NOTE"
  rm -f "$FOLDER_NOTE"
}

others_run() { ip -o -d link | grep -F 'alias apocryph cluster in' | grep -vF "$HOST_LINK@" >/dev/null; }
