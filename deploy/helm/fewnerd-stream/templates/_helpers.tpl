{{- define "fewnerd.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "fewnerd.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "fewnerd.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "fewnerd.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "fewnerd.selector" -}}
app.kubernetes.io/name: {{ include "fewnerd.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "fewnerd.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "fewnerd.selector" . }}
{{- end -}}

{{/* A number as one writes it: Helm reads all of them as floating point. */}}
{{- define "fewnerd.text" -}}
{{- if kindIs "float64" . -}}
{{- if eq (floor .) . }}{{ printf "%.0f" . }}{{ else }}{{ . }}{{ end -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{/* A setting's value as one writes it into the environment: commas between items, name=value in tables. */}}
{{- define "fewnerd.value" -}}
{{- if kindIs "slice" . -}}
{{- $items := list -}}
{{- range . }}{{ $items = append $items (include "fewnerd.text" .) }}{{ end -}}
{{- join "," $items -}}
{{- else if kindIs "map" . -}}
{{- $items := list -}}
{{- range $key, $item := . }}{{ $items = append $items (printf "%s=%s" $key (include "fewnerd.text" $item)) }}{{ end -}}
{{- join "," $items -}}
{{- else -}}
{{- include "fewnerd.text" . -}}
{{- end -}}
{{- end -}}

{{/* Partitions of all input topics: more workers than that would stand by. */}}
{{- define "fewnerd.partitions" -}}
{{- $topics := .Values.settings.input_topics | default (list "raw-documents") -}}
{{- $topics = kindIs "string" $topics | ternary (splitList "," (toString $topics)) $topics -}}
{{- mul (len $topics) (.Values.settings.partitions | default 4) -}}
{{- end -}}

{{- define "fewnerd.env" -}}
{{- range $name, $value := .Values.settings }}
{{- if not (kindIs "invalid" $value) }}
- name: FEWNERD_{{ upper $name }}
  value: {{ include "fewnerd.value" $value | quote }}
{{- end }}
{{- end }}
{{- range $name, $from := .Values.secrets }}
{{- if hasKey $.Values.settings $name }}{{ fail (printf "%s stands under settings and under secrets" $name) }}{{ end }}
- name: FEWNERD_{{ upper $name }}
  valueFrom:
    secretKeyRef:
      name: {{ $from.name }}
      key: {{ $from.key }}
{{- end }}
{{- if .Values.tls.secretName }}
{{- range $setting, $file := dict "SSL_CAFILE" .Values.tls.ca "SSL_CERTFILE" .Values.tls.cert "SSL_KEYFILE" .Values.tls.key }}
{{- if $file }}
- name: FEWNERD_{{ $setting }}
  value: /etc/fewnerd-stream/tls/{{ $file }}
{{- end }}
{{- end }}
{{- end }}
{{- if .Values.model.volume }}
- name: FEWNERD_MODEL
  value: {{ printf "/etc/fewnerd-stream/model/%s" .Values.model.path | trimSuffix "/" }}
{{- end }}
{{- end -}}

{{- define "fewnerd.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}

{{- define "fewnerd.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "fewnerd.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "fewnerd.mounts" -}}
- name: tmp
  mountPath: /tmp
{{- if .Values.tls.secretName }}
- name: tls
  mountPath: /etc/fewnerd-stream/tls
  readOnly: true
{{- end }}
{{- if .Values.model.volume }}
- name: model
  mountPath: /etc/fewnerd-stream/model
  readOnly: true
{{- end }}
{{- end -}}

{{- define "fewnerd.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
{{- if .Values.tls.secretName }}
- name: tls
  secret:
    secretName: {{ .Values.tls.secretName }}
    defaultMode: 0440
{{- end }}
{{- if .Values.model.volume }}
- name: model
  {{- toYaml .Values.model.volume | nindent 2 }}
{{- end }}
{{- end -}}
