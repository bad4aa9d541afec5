{{/*
The specs of the ValidatingAdmissionPolicies and of their bindings, each once: rendered by policies.yaml and hashed by
"apocryph.wallsHash". The operator hashes the live specs and accepts no pod while the two differ, so every field that the API
server would fill in by itself is spelled out here. No numbers: the hash needs canonical JSON.

Who can label namespaces and bind a role everywhere is cluster-admin in effect. These policies carry that whole weight.
*/}}

{{- define "apocryph.policyNames" -}}
- apocryph-provider-namespaces
- apocryph-provider-rolebindings
- apocryph-provider-secrets
- apocryph-provider-pods
- apocryph-provider-volumes
- apocryph-tenant-pods
- apocryph-tenant-priority
- apocryph-tenant-services
{{- end }}

{{/* A binding is named after its policy. */}}
{{- define "apocryph.bindingName" -}}{{ . }}-binding{{- end }}

{{/* Of a list: name of the policy, chart. */}}
{{- define "apocryph.bindingSpec" -}}
{{- $name := index . 0 -}}
{{- $root := index . 1 -}}
policyName: {{ $name }}
validationActions: [Deny]
{{- if eq $name "apocryph-tenant-priority" }}
# All of them: the policy is asked once for each.
paramRef:
  parameterNotFoundAction: Allow
  selector: {}
{{- else if and (eq $name "apocryph-tenant-pods") $root.Values.runtimeClass }}
paramRef:
  name: {{ $root.Values.runtimeClass | quote }}
  parameterNotFoundAction: Deny
{{- end }}
{{- end }}

{{/* Namespaces that the operator may touch, and what it may make of them. */}}
{{- define "apocryph.policy.apocryph-provider-namespaces" -}}
failurePolicy: Fail
matchConstraints:
  matchPolicy: Equivalent
  namespaceSelector: {}
  objectSelector: {}
  resourceRules:
  - apiGroups: [""]
    apiVersions: [v1]
    operations: [CREATE, UPDATE, DELETE]
    resources: [namespaces]
    scope: Cluster
matchConditions:
- name: by-the-operator
  expression: request.userInfo.username == '{{ include "apocryph.username" . }}'
validations:
# Create, change and delete: tenants' namespaces alone.
- expression: >-
    (request.operation == 'DELETE' ? oldObject : object).metadata.name.matches('^apod-[a-z2-7]{26}$')
  message: the operator of apocryph-provider may touch namespaces named apod- and 26 characters of base32 only
  reason: Forbidden
# Never privileged, never no level at all.{{ if .Values.podSecurity.forceRestricted }} A namespace from before restricted was forced keeps its level.{{ end }}
- expression: >-
    request.operation == 'DELETE' ||
    (has(object.metadata.labels) && 'pod-security.kubernetes.io/enforce' in object.metadata.labels &&
    (object.metadata.labels['pod-security.kubernetes.io/enforce'] in {{ include "apocryph.levels" . }}
    {{- if .Values.podSecurity.forceRestricted }} ||
    (request.operation == 'UPDATE' && object.metadata.labels['pod-security.kubernetes.io/enforce'] == 'baseline' &&
    oldObject.metadata.?labels[?'pod-security.kubernetes.io/enforce'] == optional.of('baseline'))
    {{- end }}))
  message: >-
    the label pod-security.kubernetes.io/enforce must be one of {{ include "apocryph.levels" . }}
    {{- if .Values.podSecurity.forceRestricted }}, or stay baseline where it is{{ end }}
  reason: Forbidden
# A level of an old version lets through what later ones forbid.
- expression: >-
    request.operation == 'DELETE' || !has(object.metadata.labels) ||
    !('pod-security.kubernetes.io/enforce-version' in object.metadata.labels) ||
    object.metadata.labels['pod-security.kubernetes.io/enforce-version'] == 'latest'
  message: the label pod-security.kubernetes.io/enforce-version must be latest or absent
  reason: Forbidden
{{- end }}

{{- define "apocryph.levels" -}}
{{ if .Values.podSecurity.forceRestricted }}['restricted']{{ else }}['baseline', 'restricted']{{ end }}
{{- end }}

{{/* The one right that the operator may give: the tenant role, in a tenant's namespace, to itself. */}}
{{- define "apocryph.policy.apocryph-provider-rolebindings" -}}
failurePolicy: Fail
matchConstraints:
  matchPolicy: Equivalent
  namespaceSelector: {}
  objectSelector: {}
  resourceRules:
  - apiGroups: [rbac.authorization.k8s.io]
    apiVersions: [v1]
    operations: [CREATE, UPDATE, DELETE]
    resources: [rolebindings]
    scope: Namespaced
matchConditions:
- name: by-the-operator
  expression: request.userInfo.username == '{{ include "apocryph.username" . }}'
validations:
- expression: request.namespace.matches('^apod-[a-z2-7]{26}$')
  message: the operator of apocryph-provider may bind its tenant role in tenants' namespaces only
  reason: Forbidden
- expression: >-
    request.operation == 'DELETE' ||
    (object.roleRef.apiGroup == 'rbac.authorization.k8s.io' && object.roleRef.kind == 'ClusterRole' &&
    object.roleRef.name == '{{ include "apocryph.tenantRole" . }}')
  message: the operator of apocryph-provider may bind the ClusterRole {{ include "apocryph.tenantRole" . }} only
  reason: Forbidden
- expression: >-
    request.operation == 'DELETE' ||
    (has(object.subjects) && object.subjects.size() == 1 && object.subjects[0].kind == 'ServiceAccount' &&
    object.subjects[0].name == '{{ include "apocryph.name" . }}' && has(object.subjects[0].namespace) &&
    object.subjects[0].namespace == '{{ .Release.Namespace }}')
  message: the operator of apocryph-provider may bind its tenant role to itself only
  reason: Forbidden
{{- end }}

{{/* Whoever makes a Pod there (ReplicaSets do): what Pod Security "baseline" lets through needs a user namespace around it, and
no Pod goes where the scheduler would not put it. Create alone: what matters cannot be changed later by who makes Pods through
ReplicaSets, and refusing an update could keep a finalizer on a Pod for ever. */}}

{{- define "apocryph.policy.apocryph-tenant-pods" -}}
failurePolicy: Fail
{{- if .Values.runtimeClass }}
# For the tolerations that the class itself adds.
paramKind:
  apiVersion: node.k8s.io/v1
  kind: RuntimeClass
{{- end }}
matchConstraints:
  matchPolicy: Equivalent
  namespaceSelector: {}
  objectSelector: {}
  resourceRules:
  - apiGroups: [""]
    apiVersions: [v1]
    operations: [CREATE]
    resources: [pods]
    scope: Namespaced
matchConditions:
- name: in-a-tenants-namespace
  expression: request.namespace.matches('^apod-[a-z2-7]{26}$')
validations:
- expression: >-
    (has(namespaceObject.metadata.labels) &&
    'pod-security.kubernetes.io/enforce' in namespaceObject.metadata.labels &&
    namespaceObject.metadata.labels['pod-security.kubernetes.io/enforce'] == 'restricted') ||
    (has(object.spec.hostUsers) && object.spec.hostUsers == false)
  message: where Pod Security is not restricted, a tenant's Pod needs hostUsers false
  reason: Forbidden
# A Pod that is made with its node passes by the scheduler: taints, capacity, placement.
- expression: "!has(object.spec.nodeName) || object.spec.nodeName == ''"
  message: a tenant's Pod must be made without nodeName; the scheduler chooses the node
  reason: Forbidden
# What Kubernetes adds by itself (admission plugins DefaultTolerationSeconds, PodTolerationRestriction{{ if .Values.runtimeClass }}, RuntimeClass{{ end }}).
- expression: >-
    object.spec.?tolerations.orValue([]).all(t,
    (t.?key.orValue('') in ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'] &&
    t.?effect.orValue('') == 'NoExecute' && has(t.tolerationSeconds)) ||
    (t.?key.orValue('') == 'node.kubernetes.io/memory-pressure' && t.?effect.orValue('') == 'NoSchedule')
    {{- if .Values.runtimeClass }} ||
    params.?scheduling.?tolerations.orValue([]).exists(c, c.?key == t.?key && c.?operator == t.?operator &&
    c.?value == t.?value && c.?effect == t.?effect && c.?tolerationSeconds == t.?tolerationSeconds)
    {{- end }})
  message: >-
    a tenant's Pod may tolerate node.kubernetes.io/not-ready and unreachable (NoExecute, for a time) and memory-pressure
    (NoSchedule){{ if .Values.runtimeClass }}, and what its RuntimeClass tolerates{{ end }}, no other taint
  reason: Forbidden
{{- with .Values.runtimeClass }}
- expression: has(object.spec.runtimeClassName) && object.spec.runtimeClassName == '{{ . }}'
  message: a tenant's Pod must have the runtimeClassName {{ . }}
  reason: Forbidden
{{- end }}
{{- end }}

{{/* externalIPs take over an address in the whole cluster (CVE-2020-8554); ExternalName answers for a foreign name; a
LoadBalancer costs money. A type that is unchanged passes: exposure.kind may have been another one before. */}}
{{- define "apocryph.serviceTypes" -}}
{{ if eq .Values.exposure.kind "NodePort" }}['ClusterIP', 'NodePort']{{ else }}['ClusterIP']{{ end }}
{{- end }}

{{- define "apocryph.policy.apocryph-tenant-services" -}}
failurePolicy: Fail
matchConstraints:
  matchPolicy: Equivalent
  namespaceSelector: {}
  objectSelector: {}
  resourceRules:
  - apiGroups: [""]
    apiVersions: [v1]
    operations: [CREATE, UPDATE]
    resources: [services]
    scope: Namespaced
matchConditions:
- name: in-a-tenants-namespace
  expression: request.namespace.matches('^apod-[a-z2-7]{26}$')
validations:
- expression: "!has(object.spec.externalIPs) || object.spec.externalIPs.size() == 0"
  message: a tenant's Service must not have externalIPs
  reason: Forbidden
- expression: >-
    object.spec.?type.orValue('ClusterIP') in {{ include "apocryph.serviceTypes" . }} ||
    (request.operation == 'UPDATE' && object.spec.?type == oldObject.spec.?type)
  message: the type of a tenant's Service must be one of {{ include "apocryph.serviceTypes" . }}
  reason: Forbidden
{{- end }}

{{/* A Secret of type service-account-token is filled by Kubernetes with the token of whatever account it names. Create alone: the
type cannot be changed later. */}}
{{- define "apocryph.policy.apocryph-provider-secrets" -}}
failurePolicy: Fail
matchConstraints:
  matchPolicy: Equivalent
  namespaceSelector: {}
  objectSelector: {}
  resourceRules:
  - apiGroups: [""]
    apiVersions: [v1]
    operations: [CREATE]
    resources: [secrets]
    scope: Namespaced
matchConditions:
- name: by-the-operator
  expression: request.userInfo.username == '{{ include "apocryph.username" . }}'
validations:
- expression: request.namespace == '{{ .Release.Namespace }}' || request.namespace.matches('^apod-[a-z2-7]{26}$')
  message: the operator of apocryph-provider may make Secrets in the namespace {{ .Release.Namespace }} and in tenants' namespaces only
  reason: Forbidden
# dockerconfigjson: credentials of the images' registries, which the kubelet reads; Kubernetes fills in neither type.
- expression: "!has(object.type) || object.type in ['Opaque', 'kubernetes.io/dockerconfigjson']"
  message: the operator of apocryph-provider may make Secrets of type Opaque and kubernetes.io/dockerconfigjson only
  reason: Forbidden
{{- end }}

{{/* It may patch Pods to move the leader's label, which the libp2p Service selects. */}}
{{- define "apocryph.policy.apocryph-provider-pods" -}}
failurePolicy: Fail
matchConstraints:
  matchPolicy: Equivalent
  namespaceSelector: {}
  objectSelector: {}
  resourceRules:
  - apiGroups: [""]
    apiVersions: [v1]
    operations: [UPDATE]
    resources: [pods]
    scope: Namespaced
matchConditions:
- name: by-the-operator
  expression: request.userInfo.username == '{{ include "apocryph.username" . }}'
validations:
- expression: request.namespace == '{{ .Release.Namespace }}'
  message: the operator of apocryph-provider may change Pods in the namespace {{ .Release.Namespace }} only
  reason: Forbidden
- expression: object.spec == oldObject.spec
  message: the operator of apocryph-provider may change nothing of a Pod but the label apocryph.network/role
  reason: Forbidden
# No other label is set, none is taken off.
- expression: >-
    object.metadata.?labels.orValue({}).all(key, key == 'apocryph.network/role' ||
    oldObject.metadata.?labels[?key] == optional.of(object.metadata.labels[key])) &&
    oldObject.metadata.?labels.orValue({}).all(key, key == 'apocryph.network/role' ||
    object.metadata.?labels[?key].hasValue())
  message: the operator of apocryph-provider may change nothing of a Pod but the label apocryph.network/role
  reason: Forbidden
- expression: >-
    object.metadata.?annotations.orValue({}) == oldObject.metadata.?annotations.orValue({}) &&
    object.metadata.?ownerReferences.orValue([]) == oldObject.metadata.?ownerReferences.orValue([]) &&
    object.metadata.?finalizers.orValue([]) == oldObject.metadata.?finalizers.orValue([])
  message: the operator of apocryph-provider may change nothing of a Pod but the label apocryph.network/role
  reason: Forbidden
{{- end }}

{{/* A higher priority drives other Pods out of their nodes. Kubernetes writes the name of the default class into a Pod that names
none; which one that is, the classes themselves say. */}}
{{- define "apocryph.policy.apocryph-tenant-priority" -}}
failurePolicy: Fail
paramKind:
  apiVersion: scheduling.k8s.io/v1
  kind: PriorityClass
matchConstraints:
  matchPolicy: Equivalent
  namespaceSelector: {}
  objectSelector: {}
  resourceRules:
  - apiGroups: [""]
    apiVersions: [v1]
    operations: [CREATE]
    resources: [pods]
    scope: Namespaced
matchConditions:
- name: in-a-tenants-namespace
  expression: request.namespace.matches('^apod-[a-z2-7]{26}$')
validations:
- expression: >-
    object.spec.?priorityClassName.orValue('') != params.metadata.name || params.?globalDefault.orValue(false)
  message: a tenant's Pod must have no priorityClassName, or that of the default PriorityClass
  reason: Forbidden
{{- end }}

{{/* A claim may name a volume of somebody else, or copy one. Kubernetes lets volumeName be set once later, so updates count. */}}
{{- define "apocryph.policy.apocryph-provider-volumes" -}}
failurePolicy: Fail
matchConstraints:
  matchPolicy: Equivalent
  namespaceSelector: {}
  objectSelector: {}
  resourceRules:
  - apiGroups: [""]
    apiVersions: [v1]
    operations: [CREATE, UPDATE]
    resources: [persistentvolumeclaims]
    scope: Namespaced
matchConditions:
- name: by-the-operator
  expression: request.userInfo.username == '{{ include "apocryph.username" . }}'
validations:
- expression: request.namespace.matches('^apod-[a-z2-7]{26}$')
  message: the operator of apocryph-provider may make and change PersistentVolumeClaims in tenants' namespaces only
  reason: Forbidden
{{- if .Values.storage.class }}
{{- $classes := list .Values.storage.class .Values.storage.sharedClass | compact | uniq }}
- expression: request.operation == 'UPDATE' || object.spec.?storageClassName.orValue('') in ['{{ join "', '" $classes }}']
  message: the operator of apocryph-provider may make PersistentVolumeClaims of the StorageClass {{ join " or " $classes }} only
  reason: Forbidden
{{- else }}
- expression: request.operation == 'UPDATE'
  message: the operator of apocryph-provider may make no PersistentVolumeClaim; storage.class of the chart is empty
  reason: Forbidden
{{- end }}
- expression: >-
    object.spec.?volumeName.orValue('') == (request.operation == 'UPDATE' ? oldObject.spec.?volumeName.orValue('') : '')
  message: the operator of apocryph-provider may not choose the volumeName of a PersistentVolumeClaim
  reason: Forbidden
- expression: >-
    request.operation == 'UPDATE' || (!has(object.spec.dataSource) && !has(object.spec.dataSourceRef))
  message: the operator of apocryph-provider may make PersistentVolumeClaims without dataSource and dataSourceRef only
  reason: Forbidden
{{- end }}

{{/* SHA-256 over the RFC 8785 JSON of {name: spec}, lowercase hex. Keys are sorted by the encoder, all of them ASCII. */}}
{{- define "apocryph.wallsHash" -}}
{{- $specs := dict -}}
{{- range $name := include "apocryph.policyNames" . | fromYamlArray -}}
{{- $_ := set $specs $name (include (printf "apocryph.policy.%s" $name) $ | fromYaml) -}}
{{- $_ := set $specs (include "apocryph.bindingName" $name) (include "apocryph.bindingSpec" (list $name $) | fromYaml) -}}
{{- end -}}
{{- $specs | mustToRawJson | sha256sum -}}
{{- end }}
