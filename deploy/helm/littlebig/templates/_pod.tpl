{{/* The init containers in order: fetch the repository, apply a calibration, check what needs no GPU, build plans. */}}
{{- define "littlebig.initContainers" -}}
{{- $image := include "littlebig.imageSettings" . -}}
- name: repository
  {{- if eq .Values.repository.source "volume" }}
  {{- $image | nindent 2 }}
  command: [cp, -RL, /source/., /models/]
  {{- else if eq .Values.repository.source "image" }}
  image: {{ .Values.repository.image.name }}
  imagePullPolicy: {{ .Values.repository.image.pullPolicy }}
  # The image's own /models must stay visible, so the pod's copy is mounted at /copy here.
  command: [cp, -RL, {{ printf "%s/." (trimSuffix "/" .Values.repository.image.path) }}, /copy/]
  {{- else }}
  {{- with .Values.repository.objectStorage }}
  image: {{ .image }}
  imagePullPolicy: IfNotPresent
  command:
    {{- toYaml .command | nindent 4 }}
  {{- with .args }}
  args:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .envFromSecret }}
  envFrom:
    - secretRef:
        name: {{ . }}
  {{- end }}
  env:
    # These tools write caches and locks to HOME, and the root file system is read-only.
    - name: HOME
      value: /tmp
    {{- with .env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
  {{- end }}
  resources:
    {{- toYaml .Values.initResources | nindent 4 }}
  securityContext:
    {{- include "littlebig.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - name: models
      mountPath: {{ ternary "/copy" "/models" (eq .Values.repository.source "image") }}
    - name: tmp
      mountPath: /tmp
    {{- if eq .Values.repository.source "volume" }}
    - name: source
      mountPath: /source
      readOnly: true
      {{- with .Values.repository.volume.subPath }}
      subPath: {{ . }}
      {{- end }}
    {{- end }}
{{- if .Values.calibration.json }}
- name: calibration
  {{- $image | nindent 2 }}
  command: [littlebig, apply]
  args: [--repository=/models, /calibration/calibration.json]
  env:
    {{- include "littlebig.environment" . | nindent 4 }}
  resources:
    {{- toYaml .Values.initResources | nindent 4 }}
  securityContext:
    {{- include "littlebig.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - name: models
      mountPath: /models
    - name: tmp
      mountPath: /tmp
    - name: calibration
      mountPath: /calibration
      readOnly: true
{{- end }}
- name: preflight
  {{- $image | nindent 2 }}
  command: [littlebig, preflight]
  args:
    - --repository=/models
    {{- if .Values.calibration.required }}
    - --require-calibration
    {{- end }}
  env:
    {{- include "littlebig.environment" . | nindent 4 }}
  resources:
    {{- toYaml .Values.initResources | nindent 4 }}
  securityContext:
    {{- include "littlebig.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - name: models
      mountPath: /models
    - name: tmp
      mountPath: /tmp
    - name: shm
      mountPath: /dev/shm
{{- if eq .Values.target "tensorrt" }}
- name: engines
  {{- $image | nindent 2 }}
  # Takes plans for this GPU and TensorRT from the cache and builds the missing ones.
  command: [littlebig, build]
  args:
    - --repository=/models
    - --cache=/cache/engines
    {{- with .Values.engines.buildArguments }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  env:
    # The cache of kernel timings, which speeds up the next build.
    - name: XDG_CACHE_HOME
      value: /cache
    {{- include "littlebig.environment" . | nindent 4 }}
  resources:
    {{- include "littlebig.resources" . | nindent 4 }}
  securityContext:
    {{- include "littlebig.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - name: models
      mountPath: /models
    - name: cache
      mountPath: /cache
    - name: tmp
      mountPath: /tmp
{{- end }}
{{- end -}}

{{- define "littlebig.imageSettings" -}}
image: {{ include "littlebig.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end -}}

{{- define "littlebig.environment" -}}
# The root file system is read-only; programs that write to HOME use /tmp.
- name: HOME
  value: /tmp
{{- end -}}

{{- define "littlebig.resources" -}}
{{- $gpu := ternary (dict .Values.gpu.resource (.Values.gpu.count | toString)) dict (eq .Values.target "tensorrt") -}}
requests:
  {{- toYaml (merge dict $gpu .Values.resources.requests) | nindent 2 }}
limits:
  {{- toYaml (merge dict $gpu .Values.resources.limits) | nindent 2 }}
{{- end -}}

{{- define "littlebig.tritonArguments" -}}
{{- /* littlebig serve sets --model-control-mode=none: no model is loaded or unloaded after the start. */}}
{{- if .Values.server.closeAdministration }}
# These calls need a header with the pod's uid, which Kubernetes substitutes for $(POD_UID).
- --grpc-restricted-protocol=shared-memory,model-repository,trace,logging:littlebig-administration=$(POD_UID)
- --http-restricted-api=shared-memory,model-repository,trace,logging:littlebig-administration=$(POD_UID)
{{- end }}
{{- if .Values.server.connectionAgeSeconds }}
- --grpc-max-connection-age={{ mul .Values.server.connectionAgeSeconds 1000 }}
{{- end }}
{{- if .Values.tls.enabled }}
- --grpc-use-ssl=1
- --grpc-server-cert=/tls/tls.crt
- --grpc-server-key=/tls/tls.key
{{- end }}
{{- with .Values.server.extraArguments }}
{{ toYaml . }}
{{- end }}
{{- end -}}
