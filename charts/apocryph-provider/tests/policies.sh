#!/usr/bin/env bash
# What the admission policies refuse and let through, on the cluster of KUBECONFIG with the chart installed there (values:
# deploy/values-demo.yaml, namespace apocryph-system). Speaks as the operator by impersonation, tries dry runs; what it makes
# (a tenant's namespace, a claim, a PriorityClass) it takes away. Not for a cluster with a default PriorityClass.
set -euo pipefail
OPERATOR=system:serviceaccount:apocryph-system:apocryph-provider
NAMESPACE=apocryph-system
# Such a name, but nobody's.
TENANT=apod-aaaaaaaaaaaaaaaaaaaaaaaaaa
passed=0 failed=0

as_operator() { kubectl --as "$OPERATOR" "$@"; }
cleanup() {
  kubectl delete --ignore-not-found namespace "$TENANT" >/dev/null
  kubectl delete --ignore-not-found priorityclass apocryph-test-default >/dev/null
}
trap cleanup EXIT

# result NAME OK ANSWER
result() {
  if [ "$2" = 0 ]; then
    passed=$((passed + 1))
    echo "ok   $1"
  else
    failed=$((failed + 1))
    printf 'FAIL %s\n     %s\n' "$1" "$3"
  fi
}
# refused TEXT COMMAND...: a policy says no, with this text
refused() {
  local text=$1 answer ok=1
  shift
  if answer=$("$@" 2>&1); then answer="let through: $answer"; elif [[ $answer == *"denied request: "*"$text"* ]]; then ok=0; fi
  result "refused: $text ($(echo "${*: -1}" | cut -c1-90))" "$ok" "$answer"
}
taken() {
  local answer ok=1
  if answer=$("$@" 2>&1); then ok=0; fi
  result "taken: $(echo "${*: -1}" | cut -c1-90)" "$ok" "$answer"
}

secret() {
  as_operator create --dry-run=server -f - <<JSON
{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "attempt", "namespace": "$1",
 "annotations": {"kubernetes.io/service-account.name": "default"}}, "type": "$2",
 "stringData": {".dockerconfigjson": "{}"}}
JSON
}
claim() {
  as_operator create --dry-run=server -f - <<JSON
{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "attempt", "namespace": "$TENANT"},
 "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, $1}}
JSON
}
pod() {
  kubectl create --dry-run=server -f - <<JSON
{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "attempt", "namespace": "$TENANT"},
 "spec": {"hostUsers": false, "containers": [{"name": "x", "image": "x"}], $1}}
JSON
}
service() {
  as_operator create --dry-run=server -f - <<JSON
{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "attempt", "namespace": "$TENANT"},
 "spec": {"ports": [{"port": 80}], $1}}
JSON
}
own_pod() { as_operator -n "$NAMESPACE" patch "$own" --dry-run=server --type strategic -p "$1"; }
space() { as_operator patch namespace "$TENANT" --dry-run=server --type merge -p "{\"metadata\": {\"labels\": {$1}}}"; }

kubectl create -f - >/dev/null <<JSON
{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "$TENANT", "labels": {"pod-security.kubernetes.io/enforce": "baseline"}}}
JSON
kubectl -n "$TENANT" create rolebinding attempt --clusterrole apocryph-tenant --serviceaccount "$NAMESPACE:apocryph-provider" >/dev/null
own=$(kubectl -n "$NAMESPACE" get pods -l app.kubernetes.io/name=apocryph-provider -o name | head -n 1)

types="Secrets of type Opaque and kubernetes.io/dockerconfigjson only"
refused "$types" secret "$NAMESPACE" kubernetes.io/service-account-token
refused "$types" secret "$TENANT" kubernetes.io/service-account-token
refused "$types" secret "$TENANT" bootstrap.kubernetes.io/token
taken secret "$TENANT" Opaque
taken secret "$TENANT" kubernetes.io/dockerconfigjson

only_role="nothing of a Pod but the label apocryph.network/role"
refused "$only_role" own_pod '{"metadata": {"labels": {"x": "y"}}}'
refused "$only_role" own_pod '{"metadata": {"labels": {"app.kubernetes.io/name": null}}}'
refused "$only_role" own_pod '{"metadata": {"annotations": {"x": "y"}}}'
refused "$only_role" own_pod '{"metadata": {"ownerReferences": null}}'
refused "$only_role" own_pod '{"spec": {"activeDeadlineSeconds": 100}}'
taken own_pod '{"metadata": {"labels": {"apocryph.network/role": null}}}'

refused "of the StorageClass host-path only" claim '"storageClassName": "other"'
refused "may not choose the volumeName" claim '"storageClassName": "host-path", "volumeName": "x"'
refused "without dataSource and dataSourceRef" \
  claim '"storageClassName": "host-path", "dataSource": {"kind": "PersistentVolumeClaim", "name": "x"}'
taken claim '"storageClassName": "host-path"'
kubectl create -f - >/dev/null <<JSON
{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "unbound", "namespace": "$TENANT"},
 "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "nobodys", "resources": {"requests": {"storage": "1Gi"}}}}
JSON
refused "may not choose the volumeName" \
  as_operator -n "$TENANT" patch pvc unbound --dry-run=server --type merge -p '{"spec": {"volumeName": "x"}}'

refused "needs hostUsers false" pod '"hostUsers": true'
refused "without nodeName" pod '"nodeName": "x"'
refused "no other taint" pod '"tolerations": [{"operator": "Exists"}]'
refused "no other taint" pod '"tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}]'
refused "no priorityClassName" pod '"priorityClassName": "system-node-critical"'
taken pod '"restartPolicy": "Always"'
kubectl create priorityclass apocryph-test-default --value=10 --global-default >/dev/null
refused "no priorityClassName" pod '"priorityClassName": "system-cluster-critical"'
taken pod '"priorityClassName": "apocryph-test-default"'

refused "must be one of ['ClusterIP', 'NodePort']" service '"type": "LoadBalancer"'
refused "must be one of ['ClusterIP', 'NodePort']" service '"type": "ExternalName", "externalName": "x.example"'
refused "must not have externalIPs" service '"externalIPs": ["192.0.2.1"]'
taken service '"type": "NodePort"'

refused "enforce must be one of" space '"pod-security.kubernetes.io/enforce": "privileged"'
refused "enforce must be one of" space '"pod-security.kubernetes.io/enforce": null'
taken space '"x": "y"'

echo "policies: $passed passed, $failed failed"
[ "$failed" = 0 ]
