{{/* The pod, the same in a Deployment (PostgreSQL) and in a StatefulSet (SQLite). */}}
{{- define "comporta.pod" -}}
{{- $postgres := eq .Values.store.kind "postgres" -}}
metadata:
  labels:
    {{- include "comporta.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  annotations:
    comporta/settings: {{ printf "%s%s" (toJson .Values.settings) (toJson .Values.secrets) | sha256sum | trunc 16 | quote }}
    {{- with .Values.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  serviceAccountName: {{ include "comporta.name" . }}
  automountServiceAccountToken: false
  # Kubernetes would inject COMPORTA_PORT and others, which stop the start as unknown or wrong.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  {{- with .Values.image.pullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  containers:
    - name: comporta
      image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      ports:
        - {name: http, containerPort: 8080}
      envFrom:
        - secretRef:
            name: {{ include "comporta.secret" . }}
            {{- if not (or $postgres .Values.secrets.existing) }}
            optional: true
            {{- end }}
      env:
        - {name: COMPORTA_HOST, value: "0.0.0.0"}
        - {name: COMPORTA_PORT, value: "8080"}
        - {name: COMPORTA_DATA_DIR, value: /data}
        {{- with .Values.publicUrl }}
        - {name: COMPORTA_PUBLIC_URL, value: {{ . | quote }}}
        {{- end }}
        {{- range $name, $value := .Values.settings }}
        - {name: {{ $name }}, value: {{ $value | toString | quote }}}
        {{- end }}
        {{- with .Values.env }}{{ toYaml . | nindent 8 }}{{ end }}
      # Migrations run before it listens.
      startupProbe:
        httpGet: {path: /healthz, port: http}
        periodSeconds: 2
        failureThreshold: 90
      # A store in trouble is no reason to restart: only a process that no longer answers is.
      livenessProbe:
        httpGet: {path: /healthz, port: http}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: http}
        periodSeconds: 5
        timeoutSeconds: 5
      lifecycle:
        preStop:
          exec: {command: [sleep, {{ .Values.preStopSeconds | quote }}]}
      resources: {{- toYaml .Values.resources | nindent 8 }}
      volumeMounts:
        - {name: data, mountPath: /data}
        - {name: tmp, mountPath: /tmp}
  volumes:
    - name: tmp
      emptyDir: {sizeLimit: 64Mi}
    {{- if $postgres }}
    - name: data
      emptyDir: {sizeLimit: 64Mi}
    {{- end }}
  {{- if .Values.topologySpread }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{- include "comporta.selector" . | nindent 10 }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
