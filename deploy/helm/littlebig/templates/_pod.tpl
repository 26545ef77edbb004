{{/* The init containers in order: fetch the repository, apply a calibration, check what needs no GPU, build plans. */}}
{{- define "littlebig.initContainers" -}}
{{- $image := include "littlebig.imageSettings" . -}}
{{- $own := default dict .Values.initContainers -}}
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
  {{- end }}
  {{- end }}
  env:
    # Tools for object storage write caches and locks to HOME.
    {{- $given := ternary .Values.repository.objectStorage.env list (eq .Values.repository.source "objectStorage") | default list }}
    {{- include "littlebig.variables" (list (include "littlebig.environment" .) (concat $given (($own.repository).env | default list))) | nindent 4 }}
  {{- include "littlebig.initSettings" (list . "repository" .Values.initResources) | nindent 2 }}
  volumeMounts:
    {{- with .Values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
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
  args:
    - --repository=/models
    {{- if .Values.calibration.allowBigOnly }}
    - --allow-big-only
    {{- end }}
    - /calibration/calibration.json
  env:
    {{- include "littlebig.variables" (list (include "littlebig.environment" .) ($own.calibration).env) | nindent 4 }}
  {{- include "littlebig.initSettings" (list . "calibration" .Values.initResources) | nindent 2 }}
  volumeMounts:
    {{- with .Values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
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
    {{- include "littlebig.variables" (list (include "littlebig.environment" .) ($own.preflight).env) | nindent 4 }}
  {{- include "littlebig.initSettings" (list . "preflight" .Values.initResources) | nindent 2 }}
  volumeMounts:
    {{- with .Values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
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
    # XDG_CACHE_HOME: the cache of kernel timings, which speeds up the next build.
    {{- $cached := printf "%s\n- name: XDG_CACHE_HOME\n  value: /cache" (include "littlebig.environment" .) }}
    {{- include "littlebig.variables" (list $cached ($own.engines).env) | nindent 4 }}
  {{- include "littlebig.initSettings" (list . "engines" .Values.resources) | nindent 2 }}
  volumeMounts:
    {{- with .Values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
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

{{/*
Resources and security of an init container. The argument is a list: root context, the container's name, its resources
unless it has its own.
*/}}
{{- define "littlebig.initSettings" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $own := get (default dict $root.Values.initContainers) $name | default dict -}}
{{- $resources := default (index . 2) $own.resources -}}
resources:
  {{- if eq $name "engines" }}
  {{- include "littlebig.resources" (list $root $resources) | nindent 2 }}
  {{- else }}
  {{- toYaml $resources | nindent 2 }}
  {{- end }}
{{- with $root.Values.containerSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "littlebig.environment" -}}
# The root file system is read-only; programs that write to HOME use /tmp.
- name: HOME
  value: /tmp
{{- end -}}

{{/*
Resources with the GPUs added, by a device plugin's resource, by DRA claims, or both. The argument is a list: root
context, resources.
*/}}
{{- define "littlebig.resources" -}}
{{- $resources := index . 1 -}}
{{- with index . 0 -}}
{{- $onGpu := ne .Values.target "cpu" -}}
{{- $gpu := dict -}}
{{- if and $onGpu .Values.gpu.count -}}
{{- $gpu = dict .Values.gpu.resource (.Values.gpu.count | toString) -}}
{{- end -}}
requests:
  {{- toYaml (merge dict $gpu (default dict $resources.requests)) | nindent 2 }}
limits:
  {{- toYaml (merge dict $gpu (default dict $resources.limits)) | nindent 2 }}
{{- if and $onGpu .Values.gpu.claims }}
claims:
  {{- range .Values.gpu.claims }}
  - name: {{ .name }}
  {{- end }}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "littlebig.tritonArguments" -}}
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
