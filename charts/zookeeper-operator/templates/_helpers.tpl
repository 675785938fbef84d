{{- define "zookeeper-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if hasSuffix "operator" .Release.Name -}}
{{- .Release.Name | trunc 63 -}}
{{- else -}}
{{- printf "%s-operator" (.Release.Name | trunc 54) -}}
{{- end -}}
{{- end -}}

{{- define "zookeeper-operator.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "zookeeper-operator.labels" -}}
{{ include "zookeeper-operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "zookeeper-operator.image" -}}
{{- $repository := .image.repository | default (printf "%s/%s" .registry .name) -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (.image.tag | default .chart.AppVersion) -}}
{{- end -}}
{{- end -}}
