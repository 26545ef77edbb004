{{- define "littlebig.networkPolicy" -}}
{{- if .Values.networkPolicy.enabled }}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "littlebig.poolName" . }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "littlebig.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "littlebig.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    - from:
        {{- if eq (default "" .pool) "big" }}
        # Only little's pods; with pools.only, networkPolicy.clients.
        {{- if .Values.pools.only }}
        {{- toYaml .Values.networkPolicy.clients | nindent 8 }}
        {{- else }}
        - podSelector:
            matchLabels:
              {{- include "littlebig.selector" (dict "Values" .Values "Release" .Release "Chart" .Chart "pool" "little") | nindent 14 }}
        {{- end }}
        {{- else if .Values.networkPolicy.clients }}
        {{- toYaml .Values.networkPolicy.clients | nindent 8 }}
        {{- else }}
        - podSelector: {}
        {{- end }}
      ports:
        - port: grpc
        {{- if .Values.service.http }}
        - port: http
        {{- end }}
    - from:
        {{- toYaml .Values.networkPolicy.monitoring | nindent 8 }}
      ports:
        - port: metrics
  egress:
    # DNS; the server itself opens no connections, but for little's to big.
    {{- if eq (default "" .pool) "little" }}
    - ports:
        - port: {{ regexFind "[0-9]+$" (include "littlebig.bigUrl" .) }}
      {{- if not .Values.pools.bigUrl }}
      to:
        - podSelector:
            matchLabels:
              {{- include "littlebig.selector" (dict "Values" .Values "Release" .Release "Chart" .Chart "pool" "big") | nindent 14 }}
      {{- end }}
    {{- end }}
    - ports:
        {{- range .Values.networkPolicy.dnsPorts }}
        - port: {{ . }}
          protocol: UDP
        - port: {{ . }}
          protocol: TCP
        {{- end }}
    {{- range get (include "littlebig.identityServers" . | fromYaml) .Values.networkPolicy.workloadIdentity }}
    - to:
        - ipBlock:
            cidr: {{ .address }}/32
      ports:
        - port: {{ .port }}
    {{- end }}
    {{- if .Values.networkPolicy.egress }}
    {{- toYaml .Values.networkPolicy.egress | nindent 4 }}
    {{- else if eq .Values.repository.source "objectStorage" }}
    - ports:
        - port: 443
    {{- end }}
{{- end }}
{{- end -}}

{{/* Where a pod gets its cloud identity: GKE's metadata server before and after its redirection, EKS' Pod Identity Agent. */}}
{{- define "littlebig.identityServers" -}}
none: []
gke:
  - {address: 169.254.169.254, port: 80}
  - {address: 169.254.169.252, port: 988}
eks:
  - {address: 169.254.170.23, port: 80}
{{- end -}}
