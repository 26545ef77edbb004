{{- define "littlebig.podDisruptionBudget" -}}
{{- if .Values.podDisruptionBudget.enabled }}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "littlebig.poolName" . }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "littlebig.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .Values.podDisruptionBudget.maxUnavailable }}
  # A pod that is not ready must not block the drain of its node.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "littlebig.selector" . | nindent 6 }}
{{- end }}
{{- end -}}
