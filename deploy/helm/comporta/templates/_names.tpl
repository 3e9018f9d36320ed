{{- define "comporta.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "comporta.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "comporta.labels" -}}
{{ include "comporta.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "comporta.secret" -}}
{{- .Values.secrets.existing | default (include "comporta.name" .) }}
{{- end }}

{{/* What cannot work is refused here, in words, before anything is installed. */}}
{{- define "comporta.check" -}}
{{- $postgres := eq .Values.store.kind "postgres" }}
{{- if and (not $postgres) (gt (int .Values.replicas) 1) }}
{{- fail "replicas: the embedded SQLite store belongs to one process; set store.kind=postgres for more than one replica" }}
{{- end }}
{{- if and (not $postgres) .Values.keda.enabled }}
{{- fail "keda.enabled: the embedded SQLite store belongs to one process; set store.kind=postgres to scale" }}
{{- end }}
{{- if hasKey .Values.settings "COMPORTA_WORKERS" }}
{{- if and (not $postgres) (gt (int (get .Values.settings "COMPORTA_WORKERS")) 1) }}
{{- fail "settings.COMPORTA_WORKERS: more than 1 needs store.kind=postgres" }}
{{- end }}
{{- end }}
{{- range $name := list "COMPORTA_HOST" "COMPORTA_PORT" "COMPORTA_DATA_DIR" "COMPORTA_PUBLIC_URL" }}
{{- if hasKey $.Values.settings $name }}
{{- fail (printf "settings.%s: the chart sets it (publicUrl, service)" $name) }}
{{- end }}
{{- end }}
{{- range $name := list "COMPORTA_STORE" "COMPORTA_API_KEY" "COMPORTA_SECRET_KEYS" }}
{{- if hasKey $.Values.settings $name }}
{{- fail (printf "settings.%s: it is a secret; put it into secrets.existing, or into store.postgres.url, secrets.apiKey, secrets.secretKeys" $name) }}
{{- end }}
{{- end }}
{{- if and $postgres (not .Values.secrets.existing) }}
{{- if not .Values.store.postgres.url }}
{{- fail "store.postgres.url: required with store.kind=postgres, unless secrets.existing names a secret with COMPORTA_STORE" }}
{{- end }}
{{- if not .Values.secrets.secretKeys }}
{{- fail "secrets.secretKeys: required with store.kind=postgres (comporta keys generate-secret), unless secrets.existing names a secret with COMPORTA_SECRET_KEYS" }}
{{- end }}
{{- if not .Values.secrets.apiKey }}
{{- fail "secrets.apiKey: required with store.kind=postgres, unless secrets.existing names a secret with COMPORTA_API_KEY" }}
{{- end }}
{{- end }}
{{- if and .Values.keda.enabled (gt (int .Values.keda.minReplicas) (int .Values.keda.maxReplicas)) }}
{{- fail "keda.minReplicas is above keda.maxReplicas" }}
{{- end }}
{{- if lt (int .Values.terminationGracePeriodSeconds) (add 30 .Values.preStopSeconds) }}
{{- fail "terminationGracePeriodSeconds: at least preStopSeconds + 30, since a stop takes up to 25 s" }}
{{- end }}
{{- end }}
