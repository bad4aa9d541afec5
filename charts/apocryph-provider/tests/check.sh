#!/usr/bin/env bash
# Checks the chart: lint, snapshots of what two values files render, the form of the rights, what the schema refuses.
#   check.sh            needs helm (KUBECONFIG is not looked at)
#   check.sh --update   writes the snapshots anew
#   check.sh --server   and lets the API server of KUBECONFIG try each object (server-side dry run); needs kubectl
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
CHART=..
KUBE_VERSION=1.33.0
if ! command -v helm >/dev/null; then
  eval "$(../../../e2e/cluster/cluster env)" || true
fi
command -v helm >/dev/null || { echo "helm is missing: e2e/cluster/cluster tools" >&2; exit 1; }
TEMP=$(mktemp -d)
trap 'rm -rf "$TEMP"' EXIT
passed=0 failed=0

# test NAME COMMAND...: one result; what the command says is shown when it fails
test_that() {
  local name=$1
  shift
  if "$@" >"$TEMP/out" 2>&1; then
    passed=$((passed + 1))
    echo "ok   $name"
  else
    failed=$((failed + 1))
    echo "FAIL $name"
    sed 's/^/     /' "$TEMP/out"
  fi
}

render() { helm template apocryph-provider "$CHART" --namespace apocryph-system --kube-version "$KUBE_VERSION" "$@"; }

snapshot() {
  render --values "$1.values.yaml" >"$TEMP/$1.yaml"
  diff -u "$1.rendered.yaml" "$TEMP/$1.yaml" || { echo "run $0 --update, read the difference, commit it"; return 1; }
}

# Every rule of every role: a comment right above it, one API group, no wildcard.
rules_have_reasons() {
  awk '
    /\*/ && /apiGroups|resources|verbs|resourceNames/ { print FILENAME ":" FNR ": wildcard: " $0; bad = 1 }
    /^- apiGroups:/ {
      rules++
      if (before !~ /^#/) { print FILENAME ":" FNR ": a rule without its reason"; bad = 1 }
      if ($0 ~ /,/) { print FILENAME ":" FNR ": more than one API group"; bad = 1 }
    }
    { before = $0 }
    END { if (rules < 10) { print "found " rules + 0 " rules only"; bad = 1 } exit bad }
  ' "$CHART"/templates/{clusterrole,tenant-role,role}.yaml
}

kept() {
  local kind
  for kind in ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding CustomResourceDefinition; do
    awk -v kind="$kind" '
      BEGIN { RS = "\n---\n" }
      $0 ~ "\nkind: " kind "\n" { found++; if ($0 !~ /helm.sh\/resource-policy: keep/) { print kind " is not kept"; bad = 1 } }
      END { if (!found) { print "no " kind; bad = 1 } exit bad }' defaults.rendered.yaml || return 1
  done
}

# refuses VALUE: the schema says no
refuses() {
  if render --set-json "$1" >/dev/null 2>"$TEMP/error"; then
    echo "accepted: $1"
    return 1
  fi
  grep -q "values don't meet the specifications of the schema" "$TEMP/error" || { cat "$TEMP/error"; return 1; }
}

# fails_with TEXT ARGUMENT...: helm does not render it, and says why
fails_with() {
  local text=$1
  shift
  if render "$@" >/dev/null 2>"$TEMP/error"; then
    echo "rendered with: $*"
    return 1
  fi
  grep -qF "$text" "$TEMP/error" || { cat "$TEMP/error"; return 1; }
}

# With a host port: both transports have it, the operator is told, no second Pod beside the first; without: none of it.
host_port() {
  render --set libp2p.hostPort=4001 >"$TEMP/with.yaml"
  [ "$(grep -c 'containerPort: .*, hostPort: 4001, protocol: \(TCP\|UDP\)' "$TEMP/with.yaml")" = 2 ] || { echo "not on TCP and UDP"; return 1; }
  # an upgrade merges ports by number: of two with the same one it would change the first only
  [ -z "$(sed -n 's/.*containerPort: \([0-9]*\),.*/\1/p' "$TEMP/with.yaml" | uniq -d)" ] || { echo "a container port twice"; return 1; }
  grep -q '^      hostPort: 4001$' "$TEMP/with.yaml" || { echo "not in the configuration"; return 1; }
  grep -q '^  strategy: {type: Recreate}$' "$TEMP/with.yaml" || { echo "not Recreate"; return 1; }
  ! grep -q 'rollingUpdate' "$TEMP/with.yaml" || { echo "still rollingUpdate"; return 1; }
  ! grep -q 'hostPort: [0-9]\|Recreate' defaults.rendered.yaml || { echo "a host port that nobody asked for"; return 1; }
}

old_kubernetes_refused() { fails_with "incompatible with Kubernetes v1.32.9" --kube-version 1.32.9; }

# The rules as Prometheus reads them. promtool out of Debian's package, without installing it, where the machine has none.
promtool_from_debian() {
  local cache="${XDG_CACHE_HOME:-$HOME/.cache}/apocryph/promtool"
  if [ ! -x "$cache/usr/bin/promtool" ]; then
    mkdir -p "$cache"
    (cd "$TEMP" && { apt-get download prometheus || { apt-get update && apt-get download prometheus; }; } &&
      dpkg-deb -x prometheus_*.deb "$TEMP/prometheus") >"$TEMP/apt.log" 2>&1 || { cat "$TEMP/apt.log"; return 1; }
    mkdir -p "$cache/usr/bin"
    mv "$TEMP/prometheus/usr/bin/promtool" "$cache/usr/bin/promtool"
  fi
  PATH="$PATH:$cache/usr/bin"
}

rules_parse() {
  command -v promtool >/dev/null || promtool_from_debian || return 1
  promtool check rules "$CHART/monitoring/rules.yaml"
}

# As many alerts reach the cluster as are in the file, and the dashboard is the JSON of the file.
monitoring_arrives() {
  local inside outside
  inside=$(grep -c -- '- alert:' "$CHART/monitoring/rules.yaml")
  outside=$(grep -c -- '- alert:' everything.rendered.yaml)
  [ "$inside" = "$outside" ] || { echo "$inside alerts in the file, $outside rendered"; return 1; }
  render --values everything.values.yaml --show-only templates/monitoring.yaml |
    sed -n 's/^  apocryph-provider.json: //p' | jq -e 'fromjson' | jq -S . >"$TEMP/rendered.json"
  jq -S . "$CHART/monitoring/dashboard.json" | diff - "$TEMP/rendered.json"
}

server_takes() { kubectl apply --dry-run=server --namespace default -f "$1"; }

each_on_server() {
  # Objects in the namespace of the release need one that exists. The Prometheus Operator's CRD is not in this cluster.
  awk 'BEGIN { RS = ORS = "\n---\n" } !/\nkind: PrometheusRule\n/' "$1.rendered.yaml" |
    sed 's/namespace: apocryph-system/namespace: default/' >"$TEMP/server.yaml"
  server_takes "$TEMP/server.yaml"
}

if [ "${1:-}" = --update ]; then
  for values in defaults everything; do
    render --values "$values.values.yaml" >"$values.rendered.yaml"
  done
  exit
fi

test_that "helm lint --strict" helm lint --strict "$CHART" --namespace apocryph-system --kube-version "$KUBE_VERSION"
test_that "helm lint --strict, everything set" helm lint --strict "$CHART" --namespace apocryph-system --kube-version "$KUBE_VERSION" --values everything.values.yaml
test_that "snapshot: defaults" snapshot defaults
test_that "snapshot: everything set" snapshot everything
test_that "every rule has a reason, one group, no wildcard" rules_have_reasons
test_that "uninstall keeps CRD, policies and bindings" kept
test_that "a host port" host_port
test_that "promtool: the Prometheus rules" rules_parse
test_that "rules and dashboard are rendered whole" monitoring_arrives
test_that "Kubernetes before 1.33 is refused" old_kubernetes_refused
for namespace in default kube-system kube-public kube-node-lease; do
  test_that "refused: the namespace $namespace" fails_with "must not be in the namespace $namespace" --namespace "$namespace"
done
for value in 'replica=1' 'cordon=true' 'access.deny=["0x12"]' 'capacity.max.cpus=1' 'exposure.kind="HostPort"' 'podSecurity.level="privileged"' \
  'timings.startDeadline=600' 'ended.total=0' 'payment.address="0x12"' 'libp2p.service.type="ClusterIP"' 'libp2p.hostPort=0' \
  'pricing.tables=[{"name":"a","payment":{"free":{}}}]' 'capacity.storageGiB="10Gi"'; do
  test_that "refused: $value" refuses "$value"
done
if [ "${1:-}" = --server ]; then
  test_that "the API server takes the defaults" each_on_server defaults
  test_that "the API server takes everything set" each_on_server everything
fi

echo "chart: $passed passed, $failed failed"
[ "$failed" = 0 ]
