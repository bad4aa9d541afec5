# shellcheck shell=bash
# Images without a registry: a folder becomes an OCI image with one layer and is imported into the node's containerd.
# The same folder gives the same digest, so an unchanged image is not imported again.

# full_reference NAME: as the kubelet writes it (hello:1 is docker.io/library/hello:1)
full_reference() {
  local name=$1 first=${1%%/*}
  case ${name##*/} in *:*) ;; *) name=$name:latest ;; esac
  if [ "$first" = "$1" ]; then
    name=docker.io/library/$name
  else
    case $first in *.* | *:* | localhost) ;; *) name=docker.io/$name ;; esac
  fi
  echo "$name"
}

image_usage() { die "$1" "cluster help shows how to call it"; }

# Reads image options and --add; what is left is in IMAGE_ARGS.
parse_image_options() {
  IMAGE_ARGS=() IMAGE_ADD=() IMAGE_ENTRYPOINT=() IMAGE_CMD=() IMAGE_ENV=() IMAGE_PORTS=()
  IMAGE_USER='' IMAGE_WORKDIR=/
  while [ $# -gt 0 ]; do
    case $1 in
      --*) [ $# -ge 2 ] || image_usage "$1 needs a value" ;;
      *)
        IMAGE_ARGS+=("$1")
        shift
        continue
        ;;
    esac
    case $1 in
      --entrypoint) IMAGE_ENTRYPOINT+=("$2") ;;
      --cmd) IMAGE_CMD+=("$2") ;;
      --env) IMAGE_ENV+=("$2") ;;
      --user) IMAGE_USER=$2 ;;
      --workdir) IMAGE_WORKDIR=$2 ;;
      --port) case $2 in */*) IMAGE_PORTS+=("$2") ;; *) IMAGE_PORTS+=("$2/tcp") ;; esac ;;
      --add) IMAGE_ADD+=("$2") ;;
      *) image_usage "unknown option: $1" ;;
    esac
    shift 2
  done
}

strings_json() { jq -cn '$ARGS.positional' --args -- "$@"; }

sha256() { sha256sum "$1" | cut -d ' ' -f 1; }

# put_blob LAYOUT FILE: moves it in under its digest, prints the digest
put_blob() {
  local digest
  digest=$(sha256 "$2")
  mv "$2" "$1/blobs/sha256/$digest"
  echo "$digest"
}

# pack REFERENCE ROOTFS LAYOUT: an OCI layout; prints the digest of its manifest
pack() {
  local reference=$1 rootfs=$2 layout=$3 layer size config config_size manifest architecture
  case $(uname -m) in x86_64) architecture=amd64 ;; aarch64) architecture=arm64 ;; *) architecture=$(uname -m) ;; esac
  mkdir -p "$layout/blobs/sha256"
  tar --create --file "$layout/new" --directory "$rootfs" --sort=name --mtime=@0 --numeric-owner --format=gnu .
  size=$(stat -c %s "$layout/new")
  layer=$(put_blob "$layout" "$layout/new")
  jq -cn --arg user "$IMAGE_USER" --arg workdir "$IMAGE_WORKDIR" --arg arch "$architecture" --arg layer "sha256:$layer" \
    --argjson entrypoint "$(strings_json "${IMAGE_ENTRYPOINT[@]}")" --argjson cmd "$(strings_json "${IMAGE_CMD[@]}")" \
    --argjson env "$(strings_json PATH=/usr/local/bin:/usr/bin:/bin "${IMAGE_ENV[@]}")" \
    --argjson ports "$(strings_json "${IMAGE_PORTS[@]}")" '
    {architecture: $arch, os: "linux", rootfs: {type: "layers", diff_ids: [$layer]}, config: (
      {User: $user, WorkingDir: $workdir, Env: $env, Entrypoint: $entrypoint, Cmd: $cmd,
       ExposedPorts: ($ports | map({(.): {}}) | add)} | with_entries(select(.value != null and .value != [] and .value != ""))
    )}' >"$layout/new"
  config_size=$(stat -c %s "$layout/new")
  config=$(put_blob "$layout" "$layout/new")
  jq -cn --arg config "sha256:$config" --argjson config_size "$config_size" \
    --arg layer "sha256:$layer" --argjson size "$size" '
    {schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json",
     config: {mediaType: "application/vnd.oci.image.config.v1+json", digest: $config, size: $config_size},
     layers: [{mediaType: "application/vnd.oci.image.layer.v1.tar", digest: $layer, size: $size}]}' >"$layout/new"
  size=$(stat -c %s "$layout/new")
  manifest=$(put_blob "$layout" "$layout/new")
  echo '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
  jq -cn --arg digest "sha256:$manifest" --argjson size "$size" --arg name "$reference" --arg tag "${reference##*:}" \
    --arg arch "$architecture" '
    {schemaVersion: 2, manifests: [{mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $digest, size: $size,
      platform: {os: "linux", architecture: $arch},
      annotations: {"io.containerd.image.name": $name, "org.opencontainers.image.ref.name": $tag}}]}' >"$layout/index.json"
  echo "sha256:$manifest"
}

# import_rootfs NAME ROOTFS WORK_FOLDER, with the options parsed before
import_rootfs() {
  local reference digest
  reference=$(full_reference "$1")
  digest=$(pack "$reference" "$2" "$3/layout")
  if ctr_k8s images ls "name==$reference" 2>/dev/null | awk 'NR > 1 {print $3}' | grep -qx "$digest"; then
    echo "$reference $digest (unchanged)"
    return 0
  fi
  tar --create --file "$3/image.tar" --directory "$3/layout" .
  ctr_k8s images import "$3/image.tar" >"$3/import.log" 2>&1 || {
    cat "$3/import.log" >&2
    die "containerd did not take the image $reference" "is the cluster up? cluster status"
  }
  echo "$reference $digest"
}

# in_work_folder FUNCTION ARGS...: FUNCTION gets a temporary folder as its first argument
in_work_folder() (
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  "$1" "$work" "${@:2}"
)

need_running() {
  own_process "$NODE_PID_FILE" >/dev/null || die "the cluster is not up" "cluster up"
}

load_image() {
  need_running
  parse_image_options "$@"
  [ ${#IMAGE_ARGS[@]} -eq 2 ] || image_usage "load-image needs a reference and a folder"
  [ -d "${IMAGE_ARGS[1]}" ] || die "no such folder: ${IMAGE_ARGS[1]}"
  in_work_folder load_folder "${IMAGE_ARGS[@]}"
}

load_folder() { import_rootfs "$2" "$3" "$1"; }

# users_and_names ROOTFS: who may be named in it
users_and_names() {
  mkdir -p "$1/etc" "$1/tmp"
  chmod 1777 "$1/tmp"
  printf '%s\n' root:x:0:0:root:/:/bin/sh nobody:x:65534:65534:nobody:/:/bin/false \
    nonroot:x:65532:65532:nonroot:/tmp:/bin/false >"$1/etc/passwd"
  printf '%s\n' root:x:0: nogroup:x:65534: nonroot:x:65532: >"$1/etc/group"
  echo 'hosts: files dns' >"$1/etc/nsswitch.conf"
}

# add_files ROOTFS: what --add SRC:DEST named
add_files() {
  local pair
  for pair in "${IMAGE_ADD[@]}"; do
    [ -e "${pair%%:*}" ] || die "--add $pair: no such file: ${pair%%:*}"
    mkdir -p "$1$(dirname "/${pair#*:}")"
    cp -rL --preserve=mode "${pair%%:*}" "$1/${pair#*:}"
  done
}

busybox_image() {
  need_running
  parse_image_options "$@"
  [ ${#IMAGE_ARGS[@]} -eq 1 ] || image_usage "busybox-image needs a reference"
  [ ${#IMAGE_ENTRYPOINT[@]} -gt 0 ] || [ ${#IMAGE_CMD[@]} -gt 0 ] || IMAGE_CMD=(/bin/sh)
  in_work_folder busybox_rootfs "${IMAGE_ARGS[0]}"
}

busybox_rootfs() {
  local rootfs=$1/rootfs applet
  mkdir -p "$rootfs/bin" "$rootfs/www"
  chmod 755 "$rootfs"
  cp /bin/busybox "$rootfs/bin/busybox"
  for applet in $(/bin/busybox --list); do
    [ "$applet" = busybox ] || ln -s busybox "$rootfs/bin/$applet"
  done
  users_and_names "$rootfs"
  add_files "$rootfs"
  import_rootfs "$2" "$rootfs" "$1"
}

binary_image() {
  need_running
  parse_image_options "$@"
  [ ${#IMAGE_ARGS[@]} -eq 2 ] || image_usage "binary-image needs a reference and a program"
  [ -x "${IMAGE_ARGS[1]}" ] || die "no such program: ${IMAGE_ARGS[1]}"
  local path
  path=/usr/local/bin/$(basename "${IMAGE_ARGS[1]}")
  [ ${#IMAGE_ENTRYPOINT[@]} -gt 0 ] || IMAGE_ENTRYPOINT=("$path")
  [ -n "$IMAGE_USER" ] || IMAGE_USER=65532:65532
  in_work_folder binary_rootfs "${IMAGE_ARGS[0]}" "${IMAGE_ARGS[1]}" "$path"
}

# The program without its symbols, and the libraries that the dynamic linker would load, at the paths it looks for.
binary_rootfs() {
  local rootfs=$1/rootfs binary=$3 library
  mkdir -p "$rootfs/usr/local/bin" "$rootfs/etc/ssl/certs"
  chmod 755 "$rootfs"
  strip -o "$rootfs$4" "$binary"
  { ldd "$binary" 2>/dev/null || true; } | awk '$2 == "=>" && $3 ~ /^\// {print $3} $1 ~ /^\// {print $1}' |
    while read -r library; do
      mkdir -p "$rootfs$(dirname "$library")"
      cp -L --preserve=mode "$library" "$rootfs$library"
    done
  [ ! -e /etc/ssl/certs/ca-certificates.crt ] || cp -L /etc/ssl/certs/ca-certificates.crt "$rootfs/etc/ssl/certs/"
  users_and_names "$rootfs"
  add_files "$rootfs"
  import_rootfs "$2" "$rootfs" "$1"
}

# The container that holds a pod's namespaces.
pause_image() {
  IMAGE_ADD=() IMAGE_ENV=() IMAGE_PORTS=() IMAGE_CMD=() IMAGE_USER=65535:65535 IMAGE_WORKDIR=/
  IMAGE_ENTRYPOINT=(/bin/sleep 2147483647)
  in_work_folder busybox_rootfs "$PAUSE_IMAGE" >/dev/null
}
