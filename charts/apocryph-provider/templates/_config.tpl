{{/* Read strictly by operator/src/args.rs: an unknown or missing field is refused there by its name. */}}
{{- define "apocryph.config" -}}
serviceAccount: {{ include "apocryph.name" . }}
tenantRole: {{ include "apocryph.tenantRole" . }}
names:
  lease: {{ include "apocryph.lease" . }}
  identity: {{ include "apocryph.identity" . }}
  peer: {{ include "apocryph.peer" . }}
  pricing: {{ include "apocryph.pricing" . }}
  access: {{ include "apocryph.access" . }}
  service: {{ include "apocryph.name" . }}-libp2p
  crd: {{ include "apocryph.crd" . }}
logs: {{ toJson .Values.logs }}
lease: {{ toJson .Values.lease }}
placement: {{ toJson .Values.placement }}
capacity:
  reserve: {{ toJson .Values.capacity.reserve }}
  max:
    cpu: {{ toJson .Values.capacity.max.cpu }}
    memory: {{ toJson .Values.capacity.max.memory }}
    ephemeralStorage: {{ toJson .Values.capacity.max.ephemeralStorage }}
    pods: {{ include "apocryph.int" .Values.capacity.max.pods }}
  storageGiB: {{ include "apocryph.int" .Values.capacity.storageGiB }}
storage: {{ toJson .Values.storage }}
defaults: {{ toJson .Values.defaults }}
timings: {{ toJson .Values.timings }}
ended:
  perPublisher: {{ include "apocryph.int" .Values.ended.perPublisher }}
  total: {{ include "apocryph.int" .Values.ended.total }}
podSecurity: {{ toJson .Values.podSecurity }}
runtimeClass: {{ .Values.runtimeClass | quote }}
dns:
  namespace: {{ .Values.dns.namespace | quote }}
  podLabels: {{ .Values.dns.podLabels | default (dict "k8s-app" "kube-dns") | toJson }}
  addresses: {{ toJson .Values.dns.addresses }}
egress: {{ toJson .Values.egress }}
exposure: {{ toJson .Values.exposure }}
libp2p:
  tcpPort: {{ include "apocryph.tcpPort" . }}
  quicPort: {{ include "apocryph.quicPort" . }}
  hostPort: {{ include "apocryph.int" .Values.libp2p.hostPort }}
  announce: {{ toJson .Values.libp2p.announce }}
  limits:
    {{- range $kind, $limits := .Values.libp2p.limits }}
    {{ $kind }}:
      {{- range $name, $value := $limits }}
      {{ $name }}: {{ include "apocryph.int" $value }}
      {{- end }}
    {{- end }}
payment: {{ toJson .Values.payment }}
walls:
  policies:
  {{- range include "apocryph.policyNames" . | fromYamlArray }}
  - {{ . }}
  {{- end }}
  bindings:
  {{- range include "apocryph.policyNames" . | fromYamlArray }}
  - {{ include "apocryph.bindingName" . }}
  {{- end }}
  hash: {{ include "apocryph.wallsHash" . }}
{{- end }}

{{/* Numbers of values are floats to helm: 1000000 would print as 1e+06. */}}
{{- define "apocryph.int" -}}
{{ if kindIs "invalid" . }}null{{ else }}{{ int64 . }}{{ end }}
{{- end }}
