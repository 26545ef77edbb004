{{/* Names and labels. */}}
{{- define "littlebig.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "littlebig.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "littlebig.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "littlebig.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The pools as a YAML list: one without a name holds the whole cascade. */}}
{{- define "littlebig.pools" -}}
{{- if not .Values.pools.enabled -}}
[""]
{{- else if .Values.pools.only -}}
[{{ .Values.pools.only | quote }}]
{{- else -}}
[little, big]
{{- end -}}
{{- end -}}

{{/* The name of a pool's Deployment and of what belongs to it. */}}
{{- define "littlebig.poolName" -}}
{{ include "littlebig.fullname" . }}{{ with .pool }}-{{ . }}{{ end }}
{{- end -}}

{{/* First part of a pool's Services: callers of the cascade find little's under the same names as without pools. */}}
{{- define "littlebig.serviceName" -}}
{{ include "littlebig.fullname" . }}{{ if eq (default "" .pool) "big" }}-big{{ end }}
{{- end -}}

{{/* Where little's pods reach big. */}}
{{- define "littlebig.bigUrl" -}}
{{- default (printf "dns:///%s-big-headless.%s.svc:8001" (include "littlebig.fullname" .) .Release.Namespace) .Values.pools.bigUrl -}}
{{- end -}}

{{- define "littlebig.selector" -}}
app.kubernetes.io/name: {{ include "littlebig.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- with .pool }}
littlebig/pool: {{ . }}
{{- end }}
{{- end -}}

{{- define "littlebig.labels" -}}
{{ include "littlebig.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/*
The chart's labels and a user's: the selector's cannot be replaced, the others can, and no key appears twice. The
argument is a list: root context, the user's labels.
*/}}
{{- define "littlebig.labelsWith" -}}
{{- $root := index . 0 -}}
{{- $selector := include "littlebig.selector" $root | fromYaml -}}
{{- toYaml (merge dict $selector (index . 1 | default dict) (include "littlebig.labels" $root | fromYaml)) -}}
{{- end -}}

{{/* A container's variables: a user's replace the chart's of the same name. The argument is a list: the chart's variables as YAML, the user's. */}}
{{- define "littlebig.variables" -}}
{{- $user := index . 1 | default list -}}
{{- $names := list -}}
{{- range $user }}{{- $names = append $names .name -}}{{- end -}}
{{- $all := list -}}
{{- range index . 0 | fromYamlArray -}}
{{- if not (has .name $names) }}{{- $all = append $all . -}}{{- end -}}
{{- end -}}
{{- toYaml (concat $all $user) -}}
{{- end -}}

{{- define "littlebig.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "littlebig.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "littlebig.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{- end -}}
{{- end -}}
{{- end -}}

{{/* Bytes of a Kubernetes quantity such as 256Mi: a number with a binary, a decimal or no suffix. */}}
{{- define "littlebig.bytes" -}}
{{- $factors := dict "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 -}}
{{- $number := regexFind "^[0-9.]+" . -}}
{{- mulf (float64 $number) (get $factors (trimPrefix $number .)) | int64 -}}
{{- end -}}

{{/* Seconds until SIGKILL: preStop, Triton's exit timeout, 5 s until `littlebig serve` kills it, and 5 s of margin. */}}
{{- define "littlebig.gracePeriod" -}}
{{- $needed := add .Values.shutdown.preStopSeconds .Values.server.exitTimeoutSeconds 10 -}}
{{- $given := .Values.shutdown.gracePeriodSeconds -}}
{{- if kindIs "invalid" $given -}}
{{- $needed -}}
{{- else if lt (int $given) (int $needed) -}}
{{- fail (printf "shutdown.gracePeriodSeconds is %d: Kubernetes would kill the server before its requests are answered; leave it out, or set at least %d (preStopSeconds + exitTimeoutSeconds + 10)" (int $given) (int $needed)) -}}
{{- else -}}
{{- $given -}}
{{- end -}}
{{- end -}}

{{- define "littlebig.tlsName" -}}
{{- default (printf "%s-grpc.%s.svc" (include "littlebig.fullname" .) .Release.Namespace) .Values.tls.serverName -}}
{{- end -}}

{{/* Memory for pictures that are being decoded, in MiB; empty where the repository decides. */}}
{{- define "littlebig.decodeMemoryMiB" -}}
{{- if .Values.server.decodeMemoryMiB -}}
{{- .Values.server.decodeMemoryMiB -}}
{{- else if (.Values.resources.limits).memory -}}
{{- div (include "littlebig.bytes" (toString (.Values.resources.limits).memory) | int64) 4194304 -}}
{{- end -}}
{{- end -}}

{{/* A probe's command. The argument is a list: root context, state, timeoutSeconds. */}}
{{- define "littlebig.probe" -}}
{{- $root := index . 0 -}}
exec:
  command:
    - littlebig
    - probe
    - {{ index . 1 }}
    - --url=localhost:8001
    {{- /* The kubelet's time limit includes the start of Python. */}}
    - --timeout={{ sub (index . 2) 2 }}
    {{- if eq (default "" $root.pool) "big" }}
    - --only=big
    {{- else }}
    - --big={{ $root.Values.probes.big }}
    {{- end }}
    {{- if $root.Values.tls.enabled }}
    - --tls-ca=/tls/{{ $root.Values.tls.caKey }}
    - --tls-name={{ include "littlebig.tlsName" $root }}
    {{- end }}
timeoutSeconds: {{ index . 2 }}
{{- end -}}

{{/* Seconds between two scrapes: monitoring.podMonitor.interval, as 15s or 1m. */}}
{{- define "littlebig.scrapeSeconds" -}}
{{- $interval := .Values.monitoring.podMonitor.interval -}}
{{- mul (ternary 60 1 (hasSuffix "m" $interval)) (regexFind "^[0-9]+" $interval | int) -}}
{{- end -}}
