# shellcheck shell=bash
# The programs of the cluster: Debian packages that are missing, and what is built from Go modules into the cache.
# What is built is pinned by programs/*/go.mod and go.sum.

# package=file that shows it is there
DEBIAN_PACKAGES=(
  containernetworking-plugins=/usr/lib/cni/bridge iptables=/usr/sbin/iptables nftables=/usr/sbin/nft
  iproute2=:ip busybox-static=/bin/busybox libseccomp-dev=/usr/include/seccomp.h
  pkg-config=:pkg-config jq=:jq openssl=:openssl binutils=:strip
)

tools() {
  need_root_and_linux
  need_compilers
  take_lock
  rm -rf "$CACHE"/building.*
  mkdir -p "$CACHE/log"
  debian_packages
  build kubernetes "$KUBERNETES_VERSION" "about 4 min cold" "$KUBERNETES_BIN" build_kubernetes
  build etcd "$ETCD_VERSION" "about 20 s cold" "$ETCD_BIN" build_etcd
  build containerd "$CONTAINERD_VERSION" "about 1 min cold" "$CONTAINERD_BIN" build_containerd
  build runc "$RUNC_VERSION" "about 10 s cold" "$RUNC_BIN" build_runc
  build helm "$HELM_VERSION" "about 1 min cold" "$HELM_BIN" build_helm
  build coredns "$COREDNS_VERSION" "about 1 min cold" "$COREDNS_BIN" build_coredns
  say "all programs are there: $CACHE"
}

tools_present() {
  local dir
  for dir in "$KUBERNETES_BIN" "$ETCD_BIN" "$CONTAINERD_BIN" "$RUNC_BIN" "$HELM_BIN" "$COREDNS_BIN"; do
    [ -d "$dir" ] || return 1
  done
  [ -z "$(missing_packages)" ]
}

need_compilers() {
  local missing=() name version
  for name in go cargo node gcc; do
    command -v "$name" >/dev/null || missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] || die "missing: ${missing[*]}" \
    "install them (Go $GO_AT_LEAST or later, Rust, Node, gcc), then run this again"
  version=$(go env GOVERSION)
  if [ "$(printf '%s\n' "${version#go}" "$GO_AT_LEAST" | sort -V | head -n 1)" != "$GO_AT_LEAST" ] &&
    [ "$(go env GOTOOLCHAIN)" = local ]; then
    die "Go is $version, containerd $CONTAINERD_VERSION needs go$GO_AT_LEAST" \
      "install a newer Go, or let Go fetch it: GOTOOLCHAIN=auto"
  fi
}

missing_packages() {
  local entry sign
  for entry in "${DEBIAN_PACKAGES[@]}"; do
    sign=${entry#*=}
    case $sign in
      *:*) command -v "${sign#*:}" >/dev/null ;;
      *) [ -e "$sign" ] ;;
    esac || echo "${entry%%=*}"
  done
}

debian_packages() {
  local missing
  missing=$(missing_packages | tr '\n' ' ')
  [ -n "$missing" ] || return 0
  command -v apt-get >/dev/null || die "missing, and this machine has no apt-get: $missing" \
    "install what those Debian packages hold by other means, then run this again"
  # shellcheck disable=SC2086
  step "installing Debian packages: ${missing% }" "$CACHE/log/apt.log" apt_install $missing ||
    die "apt-get could not install them" "install by hand, then run this again: apt-get install $missing"
  missing=$(missing_packages | tr '\n' ' ')
  [ -z "$missing" ] || die "installed, and still not found: $missing" "is PATH missing /usr/sbin?"
}

apt_install() {
  export DEBIAN_FRONTEND=noninteractive
  apt-get install -y --no-install-recommends "$@" ||
    { apt-get update && apt-get install -y --no-install-recommends "$@"; }
}

# build NAME VERSION COST TARGET FUNCTION: FUNCTION puts its programs into the folder it gets
build() {
  local name=$1 version=$2 cost=$3 target=$4 function=$5 temp
  [ ! -d "$target" ] || return 0
  temp=$(mktemp -d "$CACHE/building.XXXXXX")
  step "building $name $version ($cost)" "$CACHE/log/$name.log" "$function" "$temp" || {
    rm -rf "$temp"
    die "$name $version was not built" "is the Go module proxy reachable (go env GOPROXY), is the disk full?" \
      "then run 'cluster tools' again: what is already built stays"
  }
  chmod 755 "$temp"
  mv -T "$temp" "$target"
}

# go_build PROGRAM_FOLDER LDFLAGS OUT PACKAGE...
go_build() {
  local module=$1 ldflags=$2 out=$3
  shift 3
  (cd "$HERE/programs/$module" &&
    GOWORK=off GOFLAGS='-mod=readonly -buildvcs=false' nice go build -trimpath ${GO_TAGS:+-tags "$GO_TAGS"} \
      -ldflags "-s -w $ldflags" -o "$out" "$@")
}

build_kubernetes() {
  local v=k8s.io/component-base/version minor=${KUBERNETES_VERSION#*.}
  minor=${minor%%.*}
  CGO_ENABLED=0 go_build kubernetes \
    "-X $v.gitVersion=v$KUBERNETES_VERSION -X $v.gitMajor=${KUBERNETES_VERSION%%.*} -X $v.gitMinor=$minor" "$1/" \
    k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kube-scheduler,kubelet,kube-proxy,kubectl}
}

build_etcd() { CGO_ENABLED=0 go_build kubernetes "" "$1/etcd" go.etcd.io/etcd/server/v3; }

build_containerd() {
  CGO_ENABLED=0 GO_TAGS='no_btrfs no_zfs no_devmapper' go_build containerd \
    "-X github.com/containerd/containerd/v2/version.Version=v$CONTAINERD_VERSION" "$1/" \
    github.com/containerd/containerd/v2/cmd/{containerd,containerd-shim-runc-v2,ctr}
}

build_runc() { CGO_ENABLED=1 GO_TAGS=seccomp go_build runc "" "$1/runc" github.com/opencontainers/runc; }

build_helm() {
  CGO_ENABLED=0 go_build helm "-X helm.sh/helm/v3/internal/version.version=v$HELM_VERSION" "$1/helm" \
    helm.sh/helm/v3/cmd/helm
}

build_coredns() { CGO_ENABLED=0 go_build coredns "" "$1/coredns" .; }
