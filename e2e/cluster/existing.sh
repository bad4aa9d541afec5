# shellcheck shell=bash
# CLUSTER=existing: the same commands for a cluster that somebody else runs, that of KUBECONFIG. It is neither started nor
# stopped, no image is built or loaded. `up` takes the operator's namespace for itself by a label; only with it `down` takes
# away what was installed.

PROVIDER_NAMESPACE=apocryph-system
PROVIDER_RELEASE=apocryph-provider
OURS=apocryph.network/made-by=make
# What tenants' pods run: any image that has busybox at /bin/sh.
TENANT_IMAGE=${TENANT_IMAGE:-docker.io/library/busybox:1.37}

not_here() { die "$1 is not to be had with CLUSTER=existing" "the tests that need it are named in e2e/tests/existing.skip"; }

tools() {
  need_access
  [ -n "${IMAGE:-}" ] || die "CLUSTER=existing needs IMAGE: the operator's image, where the cluster's nodes can pull it" \
    "deploy/Dockerfile builds it"
}

need_access() {
  local name
  [ -n "${KUBECONFIG:-}" ] || die "CLUSTER=existing needs KUBECONFIG: the cluster to use"
  for name in kubectl helm jq; do
    command -v "$name" >/dev/null || die "missing: $name"
  done
}

up() {
  tools
  kubectl get --raw /readyz --request-timeout=10s >/dev/null || die "the cluster of KUBECONFIG does not answer: $KUBECONFIG"
  if ! taken && kubectl get namespace "$PROVIDER_NAMESPACE" >/dev/null 2>&1; then
    die "the cluster has a namespace $PROVIDER_NAMESPACE that was not made by this" "its pods would be ended: use another cluster"
  fi
  if ! taken && kubectl get crd apocryphpods.apocryph.network >/dev/null 2>&1; then
    die "the cluster has ApocryphPods that were not made by this" "they would be ended: use another cluster"
  fi
  storage_class_name >/dev/null
  taken || kubectl create namespace "$PROVIDER_NAMESPACE" >/dev/null
  kubectl label --overwrite namespace "$PROVIDER_NAMESPACE" "$OURS" >/dev/null
  say "uses the cluster at $(kubectl config view --minify -o 'jsonpath={.clusters[0].cluster.server}')"
}

taken() { [ -n "$(kubectl get namespace -l "$OURS" -o name)" ]; }

# The admin's choice (STORAGE_CLASS) or the cluster's default.
storage_class_name() {
  local name=${STORAGE_CLASS:-}
  [ -n "$name" ] || name=$(kubectl get storageclass -o json | jq -r '.items[].metadata
    | select(.annotations["storageclass.kubernetes.io/is-default-class"] == "true") | .name' | head -n 1)
  [ -n "$name" ] || die "the cluster has no default StorageClass" "name one: STORAGE_CLASS=..."
  echo "$name"
}

# Tenants first, while the operator that ends them runs; then all that an uninstall keeps.
down() {
  need_access
  if ! taken; then
    say "nothing of ours is on the cluster"
    return 0
  fi
  if kubectl get crd apocryphpods.apocryph.network >/dev/null 2>&1; then
    kubectl delete apocryphpods --all --timeout=3m >/dev/null ||
      die "the tenants' pods do not end" "look at them: kubectl get apocryphpods; then run this again"
  fi
  helm uninstall "$PROVIDER_RELEASE" --namespace "$PROVIDER_NAMESPACE" --ignore-not-found --wait >/dev/null
  kubectl delete --ignore-not-found crd apocryphpods.apocryph.network >/dev/null
  kubectl delete -l app.kubernetes.io/name="$PROVIDER_RELEASE" \
    validatingadmissionpolicybindings,validatingadmissionpolicies,clusterroles,clusterrolebindings >/dev/null
  kubectl delete namespace "$PROVIDER_NAMESPACE" >/dev/null
  say "the chart and all that it made is off the cluster again"
}

status() { kubectl get nodes; }

print_env() {
  local class
  class=$(storage_class_name)
  printf 'export KUBECONFIG=%q OPERATOR_IMAGE=%q TENANT_IMAGE=%q STORAGE_CLASS=%q\n' \
    "$KUBECONFIG" "$IMAGE" "$TENANT_IMAGE" "$class"
}

binary_image() { say "not built, not loaded: the operator's image is $IMAGE"; }
busybox_image() { say "not made: $1; tenants' pods run its program in $TENANT_IMAGE"; }
load_image() { not_here "an image made on the spot"; }
logs() { not_here "a program's log"; }
program_pid() { not_here "a process id"; }
audit_log() { not_here "the API server's audit log"; }
