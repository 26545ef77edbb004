{{- define "littlebig.deployment" -}}
{{- $name := include "littlebig.poolName" . -}}
{{- $onGpu := ne .Values.target "cpu" -}}
{{- $startup := .Values.server.startupTimeoutSeconds -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $name }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "littlebig.labels" . | nindent 4 }}
spec:
  {{- if eq .Values.autoscaling.kind "none" }}
  replicas: {{ .Values.replicas }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "littlebig.selector" . | nindent 6 }}
  strategy:
    {{- toYaml (ternary (omit .Values.updateStrategy "rollingUpdate") .Values.updateStrategy (eq .Values.updateStrategy.type "Recreate")) | nindent 4 }}
  # Building plans may take half an hour.
  progressDeadlineSeconds: 3600
  template:
    metadata:
      labels:
        {{- include "littlebig.labelsWith" (list . .Values.podLabels) | nindent 8 }}
      annotations:
        {{- $annotations := dict "kubectl.kubernetes.io/default-container" "triton" }}
        {{- with .Values.calibration.json }}
        # The calibration is part of the template, so each revision keeps its own.
        {{- $_ := set $annotations "littlebig/calibration" . }}
        {{- end }}
        {{- toYaml (merge dict (pick $annotations "littlebig/calibration") (default dict .Values.podAnnotations) $annotations) | nindent 8 }}
    spec:
      serviceAccountName: {{ include "littlebig.serviceAccount" . }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ include "littlebig.gracePeriod" . }}
      {{- with .Values.podSecurityContext }}
      securityContext:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- with .Values.runtimeClassName }}
      runtimeClassName: {{ . }}
      {{- end }}
      {{- with .Values.schedulerName }}
      schedulerName: {{ . }}
      {{- end }}
      {{- if and $onGpu .Values.gpu.claims }}
      resourceClaims:
        {{- toYaml .Values.gpu.claims | nindent 8 }}
      {{- end }}
      {{- with .Values.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.topologySpread }}
      topologySpreadConstraints:
        {{- range . }}
        - {{ toYaml . | nindent 10 | trim }}
          {{- if not .labelSelector }}
          labelSelector:
            matchLabels:
              {{- include "littlebig.selector" $ | nindent 14 }}
          {{- end }}
        {{- end }}
      {{- end }}
      initContainers:
        {{- include "littlebig.initContainers" . | nindent 8 }}
      containers:
        - name: triton
          image: {{ include "littlebig.image" . }}
          imagePullPolicy: {{ .Values.image.pullPolicy }}
          command: [littlebig, serve]
          args:
            - --repository=/models
            - --host=0.0.0.0
            - --metrics-host=0.0.0.0
            {{- if .Values.service.http }}
            - --http-host=0.0.0.0
            {{- end }}
            {{- if not .Values.server.closeAdministration }}
            - --open-admin
            {{- end }}
            - --startup-timeout={{ $startup }}
            - --exit-timeout={{ .Values.server.exitTimeoutSeconds }}
            - --
            {{- include "littlebig.tritonArguments" . | nindent 12 }}
          env:
            {{- $chosen := include "littlebig.environment" . }}
            {{- with include "littlebig.decodeMemoryMiB" . }}
            {{- $chosen = printf "%s\n- name: LITTLEBIG_PREPROCESS_MEMORY_MIB\n  value: %q" $chosen . }}
            {{- end }}
            {{- if eq (default "" .pool) "little" }}
            {{- $chosen = printf "%s\n- name: LITTLEBIG_BIG_URL\n  value: %q" $chosen (include "littlebig.bigUrl" .) }}
            {{- end }}
            {{- include "littlebig.variables" (list $chosen .Values.server.env) | nindent 12 }}
          ports:
            {{- if .Values.service.http }}
            - name: http
              containerPort: 8000
            {{- end }}
            - name: grpc
              containerPort: 8001
            - name: metrics
              containerPort: 8002
          startupProbe:
            {{- include "littlebig.probe" (list . "startup" 5) | nindent 12 }}
            periodSeconds: 5
            # Later than startupTimeoutSeconds, when `littlebig serve` exits with the reason.
            failureThreshold: {{ add (div (add $startup 4) 5) 3 }}
          readinessProbe:
            {{- include "littlebig.probe" (list . "ready" .Values.probes.readiness.timeoutSeconds) | nindent 12 }}
            periodSeconds: {{ .Values.probes.readiness.periodSeconds }}
            failureThreshold: {{ .Values.probes.readiness.failureThreshold }}
          livenessProbe:
            {{- include "littlebig.probe" (list . "live" .Values.probes.liveness.timeoutSeconds) | nindent 12 }}
            periodSeconds: {{ .Values.probes.liveness.periodSeconds }}
            failureThreshold: {{ .Values.probes.liveness.failureThreshold }}
            terminationGracePeriodSeconds: {{ .Values.probes.liveness.terminationGracePeriodSeconds }}
          lifecycle:
            preStop:
              # Answer requests until every node knows that this pod is leaving and every connection has ended.
              exec:
                command: [sleep, {{ .Values.shutdown.preStopSeconds | quote }}]
          resources:
            {{- include "littlebig.resources" (list . .Values.resources) | nindent 12 }}
          {{- with .Values.containerSecurityContext }}
          securityContext:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          volumeMounts:
            {{- with .Values.extraVolumeMounts }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
            - name: models
              mountPath: /models
            - name: shm
              mountPath: /dev/shm
            - name: tmp
              mountPath: /tmp
            {{- if eq .Values.target "onnxruntime" }}
            # ONNX Runtime keeps the engines here that TensorRT builds while the models load.
            - name: cache
              mountPath: /cache
            {{- end }}
            {{- if .Values.tls.enabled }}
            - name: tls
              mountPath: /tls
              readOnly: true
            {{- end }}
      volumes:
        {{- with .Values.extraVolumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
        - name: models
          emptyDir:
            sizeLimit: {{ .Values.repository.sizeLimit }}
        # Memory; counts towards the pod's limit.
        - name: shm
          emptyDir:
            medium: Memory
            sizeLimit: {{ .Values.shm.size }}
        - name: tmp
          emptyDir:
            sizeLimit: 1Gi
        {{- if eq .Values.repository.source "volume" }}
        - name: source
          persistentVolumeClaim:
            claimName: {{ .Values.repository.volume.claimName }}
            readOnly: true
        {{- end }}
        {{- if $onGpu }}
        - name: cache
          {{- if eq .Values.engines.cache.type "claim" }}
          persistentVolumeClaim:
            claimName: {{ .Values.engines.cache.claimName }}
          {{- else }}
          emptyDir:
            sizeLimit: {{ .Values.engines.cache.sizeLimit }}
          {{- end }}
        {{- end }}
        {{- if .Values.calibration.json }}
        - name: calibration
          downwardAPI:
            items:
              - path: calibration.json
                fieldRef:
                  fieldPath: metadata.annotations['littlebig/calibration']
        {{- end }}
        {{- if .Values.tls.enabled }}
        - name: tls
          secret:
            secretName: {{ .Values.tls.secretName }}
            defaultMode: 0440
        {{- end }}
{{- end -}}
