{{- define "millrace.name" -}}
{{- if contains "millrace" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-millrace" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "millrace.selector" -}}
app.kubernetes.io/name: millrace
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "millrace.labels" -}}
{{ include "millrace.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "millrace.secretName" -}}
{{ .Values.existingSecret | default (include "millrace.name" .) }}
{{- end }}

{{- define "millrace.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "millrace.name" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{/* One variable from the Secret: (list root name key) */}}
{{- define "millrace.secretVariable" -}}
{{- $root := index . 0 -}}
- name: {{ index . 1 }}
  valueFrom: { secretKeyRef: { name: {{ include "millrace.secretName" $root }}, key: {{ index . 2 }} } }
{{- end }}

{{/* A pod of one role: (dict "root" $ "role" "ingest" "roles" "ingest,registry" "excluded" "checks that do not matter here") */}}
{{- define "millrace.pod" -}}
{{- $ := .root -}}
{{- $role := .role -}}
{{- $own := index $.Values $role -}}
metadata:
  labels:
    {{- include "millrace.labels" $ | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
  annotations:
    # A changed setting starts the pods anew.
    millrace/settings: {{ include (print $.Template.BasePath "/settings.yaml") $ | sha256sum }}
    {{- with $own.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "millrace.serviceAccountName" $ }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with $.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    seccompProfile: { type: RuntimeDefault }
  # preStop, the drain, and some room.
  terminationGracePeriodSeconds: {{ add 15 $.Values.drainSeconds }}
  topologySpreadConstraints:
    {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "millrace.selector" $ | nindent 10 }}
          app.kubernetes.io/component: {{ $role }}
    {{- end }}
  {{- with $own.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: millrace
      image: {{ required "image.repository is needed: build the image from the Dockerfile and name where it is" $.Values.image.repository }}:{{ $.Values.image.tag | default $.Chart.AppVersion }}
      imagePullPolicy: {{ $.Values.image.pullPolicy }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        runAsNonRoot: true
        capabilities: { drop: [ALL] }
      envFrom:
        - configMapRef: { name: {{ include "millrace.name" $ }} }
      env:
        - { name: MILLRACE_ROLES, value: {{ .roles | quote }} }
        {{- include "millrace.secretVariable" (list $ "MILLRACE_SECRET" "secret") | nindent 8 }}
        {{- include "millrace.secretVariable" (list $ "MILLRACE_POSTGRES_URL" "postgres-url") | nindent 8 }}
        {{- include "millrace.secretVariable" (list $ "MILLRACE_CLICKHOUSE_URL" "clickhouse-url") | nindent 8 }}
        {{- include "millrace.secretVariable" (list $ "MILLRACE_ADMIN_PASSWORD" "admin-password") | nindent 8 }}
        {{- if $.Values.kafka.sasl.mechanism }}
        {{- include "millrace.secretVariable" (list $ "MILLRACE_KAFKA_PASSWORD" "kafka-password") | nindent 8 }}
        {{- end }}
        {{- if $.Values.redis.enabled }}
        {{- include "millrace.secretVariable" (list $ "MILLRACE_REDIS_URL" "redis-url") | nindent 8 }}
        {{- end }}
        {{- if $.Values.smtp.enabled }}
        {{- include "millrace.secretVariable" (list $ "MILLRACE_SMTP_URL" "smtp-url") | nindent 8 }}
        {{- end }}
        {{- if and (eq .role "ingest") $.Values.mqtt.enabled $.Values.mqtt.tlsSecretName }}
        - { name: MILLRACE_MQTT_TLS_CERT, value: /etc/millrace/mqtt/tls.crt }
        - { name: MILLRACE_MQTT_TLS_KEY, value: /etc/millrace/mqtt/tls.key }
        {{- end }}
        {{- range $name, $value := $own.settings }}
        - { name: {{ $name }}, value: {{ $value | quote }} }
        {{- end }}
      ports:
        - { name: http, containerPort: 8080 }
        {{- if eq .role "ingest" }}
        {{- if $.Values.mqtt.enabled }}
        {{- if $.Values.mqtt.plaintext }}
        - { name: mqtt, containerPort: 1883 }
        {{- end }}
        {{- if $.Values.mqtt.tlsSecretName }}
        - { name: mqtts, containerPort: 8883 }
        {{- end }}
        {{- end }}
        {{- if $.Values.coap.enabled }}
        - { name: coap, containerPort: 5683, protocol: UDP }
        {{- if $.Values.coap.dtls }}
        - { name: coaps, containerPort: 5684, protocol: UDP }
        {{- end }}
        {{- end }}
        {{- end }}
      # While an engine is away at the start, the node lives and waits for it.
      startupProbe:
        httpGet: { path: /health/live, port: http }
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 120
      livenessProbe:
        httpGet: { path: /health/live, port: http }
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: { path: {{ printf "/health/ready%s" (.excluded | empty | ternary "" (printf "?exclude=%s" .excluded)) | quote }}, port: http }
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 2
      lifecycle:
        # Who sends us requests is told of our end first.
        preStop: { exec: { command: [sleep, '5'] } }
      resources: {{- toYaml $own.resources | nindent 8 }}
      volumeMounts:
        - { name: data, mountPath: /data }
        - { name: tmp, mountPath: /tmp }
        {{- if $.Values.kafka.tls.secretName }}
        - { name: kafka-tls, mountPath: /etc/millrace/kafka, readOnly: true }
        {{- end }}
        {{- if and (eq .role "ingest") $.Values.mqtt.tlsSecretName }}
        - { name: mqtt-tls, mountPath: /etc/millrace/mqtt, readOnly: true }
        {{- end }}
  volumes:
    # What a node without embedded engines writes is forgotten with it: its pid, and mails if there is no mail server.
    - name: data
      emptyDir: { sizeLimit: 256Mi }
    - name: tmp
      emptyDir: { sizeLimit: 256Mi }
    {{- if $.Values.kafka.tls.secretName }}
    - name: kafka-tls
      secret: { secretName: {{ $.Values.kafka.tls.secretName }} }
    {{- end }}
    {{- if and (eq .role "ingest") $.Values.mqtt.tlsSecretName }}
    - name: mqtt-tls
      secret: { secretName: {{ $.Values.mqtt.tlsSecretName }} }
    {{- end }}
{{- end }}
