{{/*
One provider per cluster, so the names are fixed: a second install is refused by helm, and every command in the README is the
same everywhere.
*/}}
{{- define "apocryph.name" -}}apocryph-provider{{- end }}
{{- define "apocryph.tenantRole" -}}apocryph-tenant{{- end }}
{{- define "apocryph.lease" -}}apocryph-provider{{- end }}
{{/* Secret with the keys, ConfigMap with peer id and addresses; made by the operator, not by helm, so that uninstall keeps them. */}}
{{- define "apocryph.identity" -}}apocryph-provider-identity{{- end }}
{{- define "apocryph.peer" -}}apocryph-provider-peer{{- end }}
{{- define "apocryph.pricing" -}}{{ .Values.pricing.existingConfigMap | default "apocryph-provider-pricing" }}{{- end }}
{{- define "apocryph.access" -}}{{ .Values.access.existingConfigMap | default "apocryph-provider-access" }}{{- end }}
{{- define "apocryph.crd" -}}apocryphpods.apocryph.network{{- end }}

{{- define "apocryph.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "apocryph.selector" . }}
{{- end }}

{{- define "apocryph.selector" -}}
app.kubernetes.io/name: {{ include "apocryph.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "apocryph.image" -}}
{{- $i := .Values.image -}}
{{ $i.repository }}{{ if $i.tag }}:{{ $i.tag }}{{ end }}{{ if $i.digest }}@{{ $i.digest }}{{ end }}
{{- end }}

{{/* The operator may read every Secret of its namespace: it gets one where nobody else's are. */}}
{{- define "apocryph.ownNamespace" -}}
{{- if has .Release.Namespace (list "default" "kube-system" "kube-public" "kube-node-lease") -}}
{{- fail (printf "the release must not be in the namespace %s: the operator may read all Secrets of its namespace; give it one of its own: --namespace apocryph-system --create-namespace" .Release.Namespace) -}}
{{- end -}}
{{- end }}

{{/* How the API server calls the operator. */}}
{{- define "apocryph.username" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "apocryph.name" . }}
{{- end }}

{{/*
Where the container listens. Two numbers: Kubernetes merges a Deployment's ports by number alone, and of two with the same one an
upgrade that changes them (a host port) would reach TCP and lose UDP.
*/}}
{{- define "apocryph.tcpPort" -}}4001{{- end }}
{{- define "apocryph.quicPort" -}}4002{{- end }}

{{- define "apocryph.hostPort" -}}
{{ with .Values.libp2p.hostPort }}hostPort: {{ include "apocryph.int" . }}, {{ end }}
{{- end }}
