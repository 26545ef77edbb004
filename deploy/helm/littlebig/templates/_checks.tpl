{{/*
Checks of values that depend on each other, which the schema cannot express. Each error is one line: what is wrong and
what to do. deployment.yaml includes this first.
*/}}
{{- define "littlebig.checks" -}}
{{- with .Values -}}
{{- if not .image.repository -}}
  {{- fail "image.repository is empty: set it to the image built with deploy/Dockerfile (deploy/Dockerfile.cpu for target cpu)" -}}
{{- end -}}
{{- if and (eq .repository.source "volume") (not .repository.volume.claimName) -}}
  {{- fail "repository.volume.claimName is empty: set it to the claim that holds the model repository, or choose another repository.source" -}}
{{- end -}}
{{- if and (eq .repository.source "image") (not .repository.image.name) -}}
  {{- fail "repository.image.name is empty: set it to the image that holds the model repository, or choose another repository.source" -}}
{{- end -}}
{{- if and (eq .repository.source "image") (or (hasSuffix ":latest" .repository.image.name) (not (regexMatch "[:@][^/]+$" .repository.image.name))) -}}
  {{- fail (printf "repository.image.name is %s: give a tag other than latest, or a digest, because a restart could change the models" .repository.image.name) -}}
{{- end -}}
{{- if eq .repository.source "objectStorage" -}}
  {{- if not .repository.objectStorage.image -}}
    {{- fail "repository.objectStorage.image is empty: set it to an image with the tool that fetches the repository" -}}
  {{- end -}}
  {{- if or (hasSuffix ":latest" .repository.objectStorage.image) (not (regexMatch "[:@][^/]+$" .repository.objectStorage.image)) -}}
    {{- fail (printf "repository.objectStorage.image is %s: give a tag other than latest, or a digest" .repository.objectStorage.image) -}}
  {{- end -}}
  {{- if not .repository.objectStorage.command -}}
    {{- fail "repository.objectStorage.command is empty: set the command that fetches the repository into /models, as [aws, s3, sync]" -}}
  {{- end -}}
{{- end -}}
{{- if and (eq .target "tensorrt") (eq .engines.cache.type "claim") (not .engines.cache.claimName) -}}
  {{- fail "engines.cache.claimName is empty: set it to a claim that keeps the TensorRT plans, or set engines.cache.type=pod to build them at each start of a pod" -}}
{{- end -}}
{{- $shm := include "littlebig.bytes" .shm.size | int64 -}}
{{- if lt $shm 268435456 -}}
  {{- fail (printf "shm.size is %s: Triton's Python backend needs at least 256Mi of /dev/shm and fails when it is full" .shm.size) -}}
{{- end -}}
{{- if .resources.limits.memory -}}
  {{- if ge $shm (include "littlebig.bytes" (toString .resources.limits.memory) | int64) -}}
    {{- fail (printf "shm.size is %s and resources.limits.memory %s: /dev/shm counts towards the limit; raise the limit above it" .shm.size (toString .resources.limits.memory)) -}}
  {{- end -}}
{{- end -}}
{{- if and .tls.enabled (not .tls.secretName) -}}
  {{- fail "tls.secretName is empty: set it to a Secret with tls.crt, tls.key and the authority's ca.crt" -}}
{{- end -}}
{{- if and .ingress.enabled (not (and .ingress.host .ingress.tlsSecretName)) -}}
  {{- fail "ingress.host or ingress.tlsSecretName is empty: gRPC through an Ingress needs a host name and its certificate" -}}
{{- end -}}
{{- if and .gateway.enabled (not .gateway.parentRefs) -}}
  {{- fail "gateway.parentRefs is empty: name the Gateway of the route, as [{name: public, namespace: gateways}]" -}}
{{- end -}}
{{- if and .networkPolicy.enabled (or .ingress.enabled .gateway.enabled) (not .networkPolicy.clients) -}}
  {{- fail "networkPolicy.clients is empty: the Ingress controller or Gateway connects from another namespace; set it to that namespace, or networkPolicy.enabled=false" -}}
{{- end -}}
{{- if ne .autoscaling.kind "none" -}}
  {{- if gt (int .autoscaling.minReplicas) (int .autoscaling.maxReplicas) -}}
    {{- fail (printf "autoscaling.minReplicas is %d, above autoscaling.maxReplicas %d: lower it, or raise maxReplicas" (int .autoscaling.minReplicas) (int .autoscaling.maxReplicas)) -}}
  {{- end -}}
  {{- if not (or .autoscaling.pending.little .autoscaling.pending.big .autoscaling.pending.gate) -}}
    {{- fail "autoscaling.pending has no metric: set little, big or gate above 0, or autoscaling.kind=none" -}}
  {{- end -}}
{{- end -}}
{{- if .server.connectionAgeSeconds -}}
  {{- $least := add 5 (div (add (mul .server.connectionAgeSeconds 11) 9) 10) -}}
  {{- if lt (int .shutdown.preStopSeconds) (int $least) -}}
    {{- fail (printf "shutdown.preStopSeconds is %d: connections last server.connectionAgeSeconds %d plus 10 %%, and would be cut; set at least %d, or a lower age" (int .shutdown.preStopSeconds) (int .server.connectionAgeSeconds) (int $least)) -}}
  {{- end -}}
{{- end -}}
{{- range list "readiness" "liveness" -}}
  {{- if lt (int (index $.Values.probes . "timeoutSeconds")) 3 -}}
    {{- fail (printf "probes.%s.timeoutSeconds is below 3: starting the probe's Python may take 2 s; set 3 or more" .) -}}
  {{- end -}}
{{- end -}}
{{- range .server.extraArguments -}}
  {{- if regexMatch "^--(grpc|http)-restricted|^--model-control-mode|^--grpc-(use-ssl|server-|root-cert)|^--grpc-max-connection-age" . -}}
    {{- fail (printf "server.extraArguments has %s: set server.closeAdministration, server.connectionAgeSeconds or tls instead" .) -}}
  {{- end -}}
{{- end -}}
{{- if and .calibration.json (not (kindIs "map" (fromJson .calibration.json | dig "chosen" nil))) -}}
  {{- fail "calibration.json is not a calibration: give the file that 'littlebig calibrate' wrote, with --set-file calibration.json=FILE" -}}
{{- end -}}
{{- end -}}
{{- end -}}
