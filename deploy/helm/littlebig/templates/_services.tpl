{{- define "littlebig.services" -}}
{{- $name := include "littlebig.serviceName" . -}}
# gRPC at one virtual address, for any client. It balances connections, not requests: a client that keeps its connection
# stays with one pod for server.connectionAgeSeconds.
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}-grpc
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "littlebig.labels" . | nindent 4 }}
  {{- with .Values.service.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ .Values.service.type }}
  {{- with .Values.service.externalTrafficPolicy }}
  externalTrafficPolicy: {{ . }}
  {{- end }}
  selector:
    {{- include "littlebig.selector" . | nindent 4 }}
  ports:
    - name: grpc
      port: {{ .Values.service.grpcPort }}
      targetPort: grpc
      {{- if not .Values.tls.enabled }}
      # HTTP/2 without TLS, for gateways and meshes that assume HTTP/1.
      appProtocol: kubernetes.io/h2c
      {{- end }}
---
# gRPC without a virtual address: DNS returns every ready pod. gRPC keeps one HTTP/2 connection for all requests, so
# only a client that knows the pods can balance requests (grpc.lb_policy_name round_robin; littlebig's client does so
# for any name with several addresses).
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}-headless
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "littlebig.labels" . | nindent 4 }}
spec:
  type: ClusterIP
  clusterIP: None
  selector:
    {{- include "littlebig.selector" . | nindent 4 }}
  ports:
    # The pods' own port: a headless Service does not translate ports.
    - name: grpc
      port: 8001
      targetPort: grpc
---
# For Prometheus with Service discovery; the PodMonitor does not need it.
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}-metrics
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "littlebig.labels" . | nindent 4 }}
spec:
  type: ClusterIP
  clusterIP: None
  # Metrics of pods that are not ready matter most.
  publishNotReadyAddresses: true
  selector:
    {{- include "littlebig.selector" . | nindent 4 }}
  ports:
    - name: metrics
      port: 8002
      targetPort: metrics
{{- if .Values.service.http }}
---
# HTTP within the cluster. It is never a load balancer: nothing here bounds the bodies that Triton inflates and parses.
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}-http
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "littlebig.labels" . | nindent 4 }}
spec:
  type: ClusterIP
  selector:
    {{- include "littlebig.selector" . | nindent 4 }}
  ports:
    - name: http
      port: {{ .Values.service.httpPort }}
      targetPort: http
{{- end }}
{{- end -}}
