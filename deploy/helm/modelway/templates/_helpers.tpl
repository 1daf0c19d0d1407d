{{/* The name of the chart, as a label. */}}
{{- define "modelway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The name of objects: the release's, with the chart's unless it holds that. */}}
{{- define "modelway.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- $name := include "modelway.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* The name of objects without a namespace: two releases may have the same name. */}}
{{- define "modelway.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "modelway.fullname" .) }}
{{- end }}

{{/* Labels that never change: selectors. */}}
{{- define "modelway.selectorLabels" -}}
app.kubernetes.io/name: {{ include "modelway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: router
{{- end }}

{{- define "modelway.labels" -}}
{{ include "modelway.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: modelway
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "modelway.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "modelway.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name: with serviceAccount.create=false, name the account to use" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "modelway.leaseName" -}}
{{- default (include "modelway.fullname" .) .Values.leaseName }}
{{- end }}

{{- define "modelway.image" -}}
{{- with .Values.image }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Namespaces with keys, as JSON. */}}
{{- define "modelway.secretNamespaces" -}}
{{- if .Values.secretNamespaces }}
{{- .Values.secretNamespaces | uniq | toJson }}
{{- else if .Values.watchNamespaces }}
{{- .Values.watchNamespaces | uniq | toJson }}
{{- else }}
{{- list .Release.Namespace | toJson }}
{{- end }}
{{- end }}

{{/* Rules for endpoints, their targets and pods; in a namespace or in all. */}}
{{- define "modelway.endpointRules" -}}
- apiGroups: [modelway.dev]
  resources: [inferenceendpoints]
  verbs: [list, watch]
- apiGroups: [modelway.dev]
  resources: [inferenceendpoints/status]
  verbs: [patch]
# patch: the annotation that says which pod a lower count should take.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch]
- apiGroups: [apps]
  resources: [deployments, replicasets, statefulsets]
  verbs: [list, watch]
- apiGroups: [apps]
  resources: [deployments/scale, statefulsets/scale]
  verbs: [get, patch]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{/* Rules for the Secrets with keys. */}}
{{- define "modelway.secretRules" -}}
- apiGroups: [""]
  resources: [secrets]
  # patch: a key that is replaced at the admin port.
  verbs: [get, watch, patch]
  {{- with .Values.secretNames }}
  resourceNames: {{ toJson . }}
  {{- end }}
{{- if not .Values.secretNames }}
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
{{- end }}
{{- end }}

{{/* The Secret with the keys that tokens are signed with. */}}
{{- define "modelway.signingSecret" -}}
{{- .Values.tokens.signingSecret | default (printf "%s-signing-keys" (include "modelway.fullname" .)) }}
{{- end }}

{{- define "modelway.subjects" -}}
- kind: ServiceAccount
  name: {{ include "modelway.serviceAccountName" . }}
  namespace: {{ .Release.Namespace | quote }}
{{- end }}
