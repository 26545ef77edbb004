{{/*
Checks of values that depend on each other, which the schema cannot express. Each error is one line: what is wrong and
what to do. pools.yaml includes this first, for each pool.
*/}}
{{- define "littlebig.checks" -}}
{{- with .Values -}}
{{- if and .pools.enabled (eq .pools.only "little") (not .pools.bigUrl) -}}
  {{- fail "pools.bigUrl is empty: with pools.only=little, set it to the gRPC endpoint of the release that serves big, as big.example:8001" -}}
{{- end -}}
{{- if and .pools.enabled (eq .pools.only "big") .networkPolicy.enabled (not .networkPolicy.clients) -}}
  {{- fail "networkPolicy.clients is empty: with pools.only=big the callers are other releases' little; set their addresses or namespaces, or networkPolicy.enabled=false" -}}
{{- end -}}
{{- if and .pools.enabled (eq .pools.only "big") (or .ingress.enabled .gateway.enabled) -}}
  {{- fail "ingress.enabled or gateway.enabled is on with pools.only=big: they lead to the gate, which this release lacks; set service.type, or let callers come from inside" -}}
{{- end -}}
{{- if and .canaryOf .pools.enabled -}}
  {{- fail "pools.enabled is on for a canary: its requests would go to the main release's big or to none; turn it off" -}}
{{- end -}}
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
{{- if and (ne .target "cpu") (eq .engines.cache.type "claim") (not .engines.cache.claimName) -}}
  {{- fail "engines.cache.claimName is empty: set it to a claim that keeps the TensorRT plans, or set engines.cache.type=pod to build them at each start of a pod" -}}
{{- end -}}
{{- $shm := include "littlebig.bytes" .shm.size | int64 -}}
{{- if lt $shm 268435456 -}}
  {{- fail (printf "shm.size is %s: Triton's Python backend needs at least 256Mi of /dev/shm and fails when it is full" .shm.size) -}}
{{- end -}}
{{- if (.resources.limits).memory -}}
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
{{- $outside := false -}}
{{- range .networkPolicy.clients -}}{{- if hasKey . "ipBlock" -}}{{- $outside = true -}}{{- end -}}{{- end -}}
{{- if and .networkPolicy.enabled (ne .service.type "ClusterIP") (not $outside) -}}
  {{- fail (printf "service.type is %s and networkPolicy.clients has no ipBlock: clients outside the cluster would be blocked; add their addresses, as [{ipBlock: {cidr: 203.0.113.0/24}}], or set networkPolicy.enabled=false" .service.type) -}}
{{- end -}}
{{- if and .service.externalTrafficPolicy (eq .service.type "ClusterIP") -}}
  {{- fail "service.externalTrafficPolicy has no meaning with service.type ClusterIP: leave it out, or set service.type" -}}
{{- end -}}
{{- if and .tls.enabled .gateway.enabled (not .gateway.backendTLS.caConfigMapName) -}}
  {{- fail "gateway.backendTLS.caConfigMapName is empty: with tls.enabled the Gateway must speak TLS to the pods; name a ConfigMap with the authority's ca.crt, for a BackendTLSPolicy, or set tls.enabled=false" -}}
{{- end -}}
{{- if and .tls.enabled .service.http -}}
  {{- fail "service.http is on with tls.enabled: Triton's HTTP has no TLS; turn off one of them" -}}
{{- end -}}
{{- if and (ne .target "cpu") (not .gpu.count) (not .gpu.claims) -}}
  {{- fail (printf "gpu.count is 0 and gpu.claims is empty: target %s needs a GPU; set one of them" .target) -}}
{{- end -}}
{{- if gt (len (default "" .calibration.json)) 200000 -}}
  {{- fail (printf "calibration.json has %d bytes: an annotation of the pods holds it, and Kubernetes limits all annotations to 256 KiB; put it into the repository with 'littlebig apply'" (len (default "" .calibration.json))) -}}
{{- end -}}
{{- $chosen := default dict (fromJson (default "{}" .calibration.json)).chosen -}}
{{- if and (hasKey $chosen "threshold") (kindIs "invalid" $chosen.threshold) (not .calibration.allowBigOnly) -}}
  {{- fail "calibration.json certifies nothing, so it would turn the cascade off (big only): give one with a threshold, or set calibration.allowBigOnly=true" -}}
{{- end -}}
{{- if hasKey (default dict .podAnnotations) "littlebig/calibration" -}}
  {{- fail "podAnnotations has littlebig/calibration, which the chart sets: give calibration.json instead" -}}
{{- end -}}
{{- if .canaryOf -}}
  {{- if eq .canaryOf $.Release.Name -}}
    {{- fail (printf "canaryOf is %s, this release itself: install the canary as a release of its own" .canaryOf) -}}
  {{- end -}}
  {{- if or .fullnameOverride (and .serviceAccount.create .serviceAccount.name) -}}
    {{- fail "fullnameOverride or serviceAccount.name is set: a canary's objects would have the main release's names; leave them empty, or set serviceAccount.create=false" -}}
  {{- end -}}
  {{- if .monitoring.prometheusRule.enabled -}}
    {{- fail "monitoring.prometheusRule.enabled is on for a canary: the main release's rules cover both, and each alert would come twice; turn it off" -}}
  {{- end -}}
  {{- if .monitoring.dashboard.enabled -}}
    {{- fail "monitoring.dashboard.enabled is on for a canary: two dashboards would have the same uid; turn it off" -}}
  {{- end -}}
  {{- if .ingress.enabled -}}
    {{- fail "ingress.enabled is on for a canary: the main release has the same host and path; turn it off, and weigh the releases with gateway.canaries" -}}
  {{- end -}}
  {{- if .gateway.enabled -}}
    {{- fail "gateway.enabled is on for a canary: the main release's route weighs both; turn it off, and list the canary in the main release's gateway.canaries" -}}
  {{- end -}}
  {{- if ne .autoscaling.kind "none" -}}
    {{- fail (printf "autoscaling.kind is %s for a canary: an autoscaler ignores `replicas`, and scales on a share of the requests that you set; set none" .autoscaling.kind) -}}
  {{- end -}}
{{- end -}}
{{- if and .monitoring.prometheusRule.enabled (gt (include "littlebig.scrapeSeconds" $ | int) 60) -}}
  {{- fail (printf "monitoring.podMonitor.interval is %s: the rules need a scrape at least every 60s; lower it, or set monitoring.prometheusRule.enabled=false" .monitoring.podMonitor.interval) -}}
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
  {{- if regexMatch "^--((grpc|http)-restricted|model-control-mode|grpc-(use-ssl|server-|root-cert|max-connection-age)|(grpc|http|metrics)-(address|port)|allow-(grpc|http|metrics))" . -}}
    {{- fail (printf "server.extraArguments has %s: the chart sets it; see server.closeAdministration, server.connectionAgeSeconds, service.http and tls" .) -}}
  {{- end -}}
{{- end -}}
{{- if and .calibration.json (not (kindIs "map" (fromJson .calibration.json | dig "chosen" nil))) -}}
  {{- fail "calibration.json is not a calibration: give the file that 'littlebig calibrate' wrote, with --set-file calibration.json=FILE" -}}
{{- end -}}
{{- end -}}
{{- end -}}
