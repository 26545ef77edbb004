{{- define "littlebig.autoscaler" -}}
{{- $name := include "littlebig.poolName" . -}}
{{- $models := dict "little" "little" "big" "big" "gate" "little_big" -}}
{{- if .pool }}
{{- /* A stage's queue is where it computes: in the other pool it never fills. */}}
{{- $models = ternary (pick $models "big") (omit $models "big") (eq .pool "big") }}
{{- end }}
{{- $metric := "nv_inference_pending_request_count" -}}
{{- with .Values.autoscaling }}
{{- if eq .kind "hpa" }}
# Each queue is a separate metric, and the one that needs the most pods decides: an average would hide an overloaded big
# behind an idle little.
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ $name }}
  namespace: {{ $.Release.Namespace }}
  labels:
    {{- include "littlebig.labels" $ | nindent 4 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ $name }}
  minReplicas: {{ .minReplicas }}
  maxReplicas: {{ .maxReplicas }}
  metrics:
    {{- range $queue, $pending := .pending }}
    {{- if and $pending (hasKey $models $queue) }}
    - type: Pods
      pods:
        metric:
          name: {{ $metric }}
          selector:
            matchLabels:
              model: {{ get $models $queue }}
        target:
          type: AverageValue
          averageValue: {{ $pending | toString | quote }}
    {{- end }}
    {{- end }}
  behavior:
    {{- toYaml .behavior | nindent 4 }}
{{- else if eq .kind "keda" }}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {{ $name }}
  namespace: {{ $.Release.Namespace }}
  labels:
    {{- include "littlebig.labels" $ | nindent 4 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ $name }}
  minReplicaCount: {{ .minReplicas }}
  maxReplicaCount: {{ .maxReplicas }}
  pollingInterval: {{ .keda.pollingInterval }}
  advanced:
    horizontalPodAutoscalerConfig:
      behavior:
        {{- toYaml .behavior | nindent 8 }}
  triggers:
    {{- range $queue, $pending := .pending }}
    {{- if and $pending (hasKey $models $queue) }}
    - type: prometheus
      name: {{ $queue }}
      metricType: AverageValue
      metadata:
        serverAddress: {{ $.Values.autoscaling.keda.serverAddress }}
        # The sum over all pods; KEDA's AverageValue divides by their number.
        query: sum({{ $metric }}{namespace="{{ $.Release.Namespace }}",pod=~"{{ $name }}-[a-z0-9]+-[a-z0-9]+",model="{{ get $models $queue }}"})
        threshold: {{ $pending | toString | quote }}
        # Without a response from Prometheus the number of pods does not change.
        ignoreNullValues: "false"
    {{- end }}
    {{- end }}
{{- end }}
{{- end }}
{{- end -}}
