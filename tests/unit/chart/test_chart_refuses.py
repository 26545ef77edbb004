"""Wrong values are refused at render time, each with one line that says what to do."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.unit.chart.helm import Values, merged, refusal, render
from tests.unit.chart.matrix import CALIBRATION, CANARY, CONTROLLERS, OUTSIDE

BEHAVIOR = {"type": "Pods", "value": 1, "periodSeconds": 60}

# Checked by templates: values that depend on each other.
TOGETHER = {
    "no-image": (
        {"image": {"repository": ""}},
        "image.repository is empty: set it to the image built with deploy/Dockerfile (deploy/Dockerfile.cpu for target cpu)",
    ),
    "no-claim": (
        {"repository": {"volume": {"claimName": ""}}},
        "repository.volume.claimName is empty: set it to the claim that holds the model repository, or choose another repository.source",
    ),
    "no-repository-image": (
        {"repository": {"source": "image"}},
        "repository.image.name is empty: set it to the image that holds the model repository, or choose another repository.source",
    ),
    "latest-repository-image": (
        {"repository": {"source": "image", "image": {"name": "registry.example:5000/models"}}},
        "repository.image.name is registry.example:5000/models: give a tag other than latest, or a digest, because a restart could change the models",
    ),
    "no-fetching-image": (
        {"repository": {"source": "objectStorage"}},
        "repository.objectStorage.image is empty: set it to an image with the tool that fetches the repository",
    ),
    "latest-fetching-image": (
        {"repository": {"source": "objectStorage", "objectStorage": {"image": "rclone:latest", "command": ["rclone"]}}},
        "repository.objectStorage.image is rclone:latest: give a tag other than latest, or a digest",
    ),
    "no-fetching-command": (
        {"repository": {"source": "objectStorage", "objectStorage": {"image": "rclone:1.70"}}},
        "repository.objectStorage.command is empty: set the command that fetches the repository into /models, as [aws, s3, sync]",
    ),
    "no-engine-cache": (
        {"engines": {"cache": {"claimName": ""}}},
        "engines.cache.claimName is empty: set it to a claim that keeps the TensorRT plans, or set engines.cache.type=pod to build them at each start of a pod",
    ),
    "small-shm": (
        {"shm": {"size": "255Mi"}},
        "shm.size is 255Mi: Triton's Python backend needs at least 256Mi of /dev/shm and fails when it is full",
    ),
    "small-shm-in-decimal": (
        {"shm": {"size": "0.2G"}},
        "shm.size is 0.2G: Triton's Python backend needs at least 256Mi of /dev/shm and fails when it is full",
    ),
    "shm-above-memory": (
        {"shm": {"size": "8Gi"}},
        "shm.size is 8Gi and resources.limits.memory 8Gi: /dev/shm counts towards the limit; raise the limit above it",
    ),
    "no-tls-secret": (
        {"tls": {"enabled": True}},
        "tls.secretName is empty: set it to a Secret with tls.crt, tls.key and the authority's ca.crt",
    ),
    "ingress-without-certificate": (
        {"ingress": {"enabled": True, "host": "classify.example"}},
        "ingress.host or ingress.tlsSecretName is empty: gRPC through an Ingress needs a host name and its certificate",
    ),
    "route-without-gateway": (
        {"gateway": {"enabled": True}},
        "gateway.parentRefs is empty: name the Gateway of the route, as [{name: public, namespace: gateways}]",
    ),
    "route-through-a-closed-network": (
        {"gateway": {"enabled": True, "parentRefs": [{"name": "public"}]}},
        "networkPolicy.clients is empty: the Ingress controller or Gateway connects from another namespace; set it to that namespace, or networkPolicy.enabled=false",
    ),
    "more-at-least-than-at-most": (
        {"autoscaling": {"kind": "hpa", "minReplicas": 9}},
        "autoscaling.minReplicas is 9, above autoscaling.maxReplicas 8: lower it, or raise maxReplicas",
    ),
    "autoscaler-without-metric": (
        {"autoscaling": {"kind": "keda", "pending": {"little": 0, "big": 0, "gate": 0}}},
        "autoscaling.pending has no metric: set little, big or gate above 0, or autoscaling.kind=none",
    ),
    "short-grace-period": (
        {"shutdown": {"gracePeriodSeconds": 69}},
        "shutdown.gracePeriodSeconds is 69: Kubernetes would kill the server before its requests are answered; leave it out, or set at least 70 (preStopSeconds + exitTimeoutSeconds + 10)",
    ),
    "connections-older-than-the-pause": (
        {"shutdown": {"preStopSeconds": 26}},
        "shutdown.preStopSeconds is 26: connections last server.connectionAgeSeconds 20 plus 10 %, and would be cut; set at least 27, or a lower age",
    ),
    "hurried-probe": (
        {"probes": {"readiness": {"timeoutSeconds": 2}}},
        "probes.readiness.timeoutSeconds is below 3: starting the probe's Python may take 2 s; set 3 or more",
    ),
    "model-control": (
        {"server": {"extraArguments": ["--model-control-mode=explicit"]}},
        "server.extraArguments has --model-control-mode=explicit: the chart sets it; see server.closeAdministration, server.connectionAgeSeconds, service.http and tls",
    ),
    "load-balancer-behind-a-closed-network": (
        {"service": {"type": "LoadBalancer"}},
        "service.type is LoadBalancer and networkPolicy.clients has no ipBlock: clients outside the cluster would be blocked; add their addresses, as [{ipBlock: {cidr: 203.0.113.0/24}}], or set networkPolicy.enabled=false",
    ),
    "node-port-open-to-the-cluster-alone": (
        {"service": {"type": "NodePort"}, "networkPolicy": {"clients": [{"namespaceSelector": {}}]}},
        "service.type is NodePort and networkPolicy.clients has no ipBlock: clients outside the cluster would be blocked; add their addresses, as [{ipBlock: {cidr: 203.0.113.0/24}}], or set networkPolicy.enabled=false",
    ),
    "traffic-policy-inside-the-cluster": (
        {"service": {"externalTrafficPolicy": "Local"}},
        "service.externalTrafficPolicy has no meaning with service.type ClusterIP: leave it out, or set service.type",
    ),
    "gateway-that-speaks-plain-text-to-tls": (
        merged(OUTSIDE["gateway"], {"tls": {"enabled": True, "secretName": "certificate"}}),
        "gateway.backendTLS.caConfigMapName is empty: with tls.enabled the Gateway must speak TLS to the pods; name a ConfigMap with the authority's ca.crt, for a BackendTLSPolicy, or set tls.enabled=false",
    ),
    "http-with-tls": (
        {"service": {"http": True}, "tls": {"enabled": True, "secretName": "certificate"}},
        "service.http is on with tls.enabled: Triton's HTTP has no TLS; turn off one of them",
    ),
    "no-gpu": (
        {"gpu": {"count": 0}},
        "gpu.count is 0 and gpu.claims is empty: target tensorrt needs a GPU; set one of them",
    ),
    "large-calibration": (
        {"calibration": {"json": CALIBRATION + " " * 200_000}},
        f"calibration.json has {len(CALIBRATION) + 200_000} bytes: an annotation of the pods holds it, and Kubernetes limits all annotations to 256 KiB; put it into the repository with 'littlebig apply'",
    ),
    "big-only": (
        {"calibration": {"json": '{"chosen": {"threshold": null}}'}},
        "calibration.json certifies nothing, so it would turn the cascade off (big only): give one with a threshold, or set calibration.allowBigOnly=true",
    ),
    "own-calibration-annotation": (
        {"podAnnotations": {"littlebig/calibration": "{}"}},
        "podAnnotations has littlebig/calibration, which the chart sets: give calibration.json instead",
    ),
    "rare-scrapes": (
        {"monitoring": {"podMonitor": {"interval": "2m"}, "prometheusRule": {"enabled": True}}},
        "monitoring.podMonitor.interval is 2m: the rules need a scrape at least every 60s; lower it, or set monitoring.prometheusRule.enabled=false",
    ),
    "no-calibration": (
        {"calibration": {"json": '{"threshold": 0.4}'}},
        "calibration.json is not a calibration: give the file that 'littlebig calibrate' wrote, with --set-file calibration.json=FILE",
    ),
    "calibration-is-no-json": (
        {"calibration": {"json": "threshold: 0.4"}},
        "calibration.json is not a calibration: give the file that 'littlebig calibrate' wrote, with --set-file calibration.json=FILE",
    ),
}

# Refused in a release that is the canary of `main`.
CANARIES = {
    "itself": (
        {"canaryOf": "littlebig"},
        "canaryOf is littlebig, this release itself: install the canary as a release of its own",
    ),
    "names": (
        {"fullnameOverride": "cascade"},
        "fullnameOverride or serviceAccount.name is set: a canary's objects would have the main release's names; leave them empty, or set serviceAccount.create=false",
    ),
    "account": (
        {"serviceAccount": {"name": "reader"}},
        "fullnameOverride or serviceAccount.name is set: a canary's objects would have the main release's names; leave them empty, or set serviceAccount.create=false",
    ),
    "rules": (
        {"monitoring": {"prometheusRule": {"enabled": True}}},
        "monitoring.prometheusRule.enabled is on for a canary: the main release's rules cover both, and each alert would come twice; turn it off",
    ),
    "dashboard": (
        {"monitoring": {"dashboard": {"enabled": True}}},
        "monitoring.dashboard.enabled is on for a canary: two dashboards would have the same uid; turn it off",
    ),
    "ingress": (
        {"ingress": {"enabled": True, "host": "classify.example", "tlsSecretName": "certificate"}, **CONTROLLERS},
        "ingress.enabled is on for a canary: the main release has the same host and path; turn it off, and weigh the releases with gateway.canaries",
    ),
    "gateway": (
        OUTSIDE["gateway"],
        "gateway.enabled is on for a canary: the main release's route weighs both; turn it off, and list the canary in the main release's gateway.canaries",
    ),
    "autoscaler": (
        {"autoscaling": {"kind": "keda"}},
        "autoscaling.kind is keda for a canary: an autoscaler ignores `replicas`, and scales on a share of the requests that you set; set none",
    ),
}

# Checked by the schema: choices, types and limits of single values.
ALONE = {
    "target": ({"target": "gpu"}, "- at '/target': value must be one of 'tensorrt', 'onnxruntime', 'cpu'"),
    "a-misspelt-name": ({"replica": 3}, "- at '': additional properties 'replica' not allowed"),
    "a-misspelt-name-within": (
        {"shm": {"sizeLimit": "1Gi"}},
        "- at '/shm': additional properties 'sizeLimit' not allowed",
    ),
    "no-pods": ({"replicas": 0}, "- at '/replicas': minimum: got 0, want 1"),
    "text-for-a-number": ({"replicas": "two"}, "- at '/replicas': got string, want integer"),
    "a-number-for-a-size": ({"shm": {"size": 1073741824}}, "- at '/shm/size': got number, want string"),
    "a-size-with-another-unit": (
        {"shm": {"size": "1GB"}},
        "- at '/shm/size': '1GB' does not match pattern '^[0-9]+(\\\\.[0-9]+)?(k|M|G|Ki|Mi|Gi)?$'",
    ),
    "latest": ({"image": {"tag": "latest"}}, "- at '/image/tag': 'not' failed"),
    "a-short-digest": (
        {"image": {"digest": "sha256:abc"}},
        "- at '/image/digest': 'sha256:abc' does not match pattern '^$|^sha256:[0-9a-f]{64}$'",
    ),
    "source": (
        {"repository": {"source": "s3"}},
        "- at '/repository/source': value must be one of 'volume', 'image', 'objectStorage'",
    ),
    "big": ({"probes": {"big": "maybe"}}, "- at '/probes/big': value must be one of 'required', 'optional'"),
    "autoscaler": (
        {"autoscaling": {"kind": "vpa"}},
        "- at '/autoscaling/kind': value must be one of 'none', 'hpa', 'keda'",
    ),
    "port": ({"service": {"grpcPort": 70000}}, "- at '/service/grpcPort': maximum: got 70,000, want 65,535"),
    "runbook": (
        {"monitoring": {"prometheusRule": {"runbookUrl": "docs/runbook.md"}}},
        "- at '/monitoring/prometheusRule/runbookUrl': 'docs/runbook.md' does not match pattern '^https?://[^#\\\\s]+$'",
    ),
    "gpu-name": (
        {"gpu": {"resource": "gpu"}},
        "- at '/gpu/resource': 'gpu' does not match pattern '^[a-z0-9.-]+/[A-Za-z0-9._-]+$'",
    ),
    "build-argument": (
        {"engines": {"buildArguments": ["--repository=/other"]}},
        "- at '/engines/buildArguments/0': '--repository=/other' does not match pattern '^(--hardware-compatible|--version-compatible|--force|--(profile|workspace)=.+)$'",
    ),
    "behavior": (
        {"autoscaling": {"behavior": {"scaleUp": {"policies": [{**BEHAVIOR, "type": "Nodes"}]}}}},
        "- at '/autoscaling/behavior/scaleUp/policies/0/type': value must be one of 'Pods', 'Percent'",
    ),
}


def disjoint(first: Values, second: Values) -> bool:
    """Whether no value of one is a value of the other too."""
    return all(
        isinstance(first[name], dict) and isinstance(second[name], dict) and disjoint(first[name], second[name])
        for name in first.keys() & second.keys()
    )


def together(cases: Iterable[Values]) -> list[Values]:
    """The values of many cases merged into as few as possible: the schema reports every wrong value of one run."""
    groups: list[Values] = []
    for values in cases:
        position = next((n for n, group in enumerate(groups) if disjoint(group, values)), None)
        if position is None:
            groups.append(values)
        else:
            groups[position] = merged(groups[position], values)
    return groups


@pytest.mark.parametrize("case", TOGETHER)
def test_values_that_contradict_each_other_are_refused(case):
    values, error = TOGETHER[case]
    assert refusal(values) == error


@pytest.mark.parametrize("case", CANARIES)
def test_a_canary_that_would_disturb_its_main_release_is_refused(case):
    values, error = CANARIES[case]
    assert refusal(merged(CANARY, {"canaryOf": "main"}, values)) == error


def test_values_outside_the_schema_are_refused_all_at_once():
    groups = together(values for values, _ in ALONE.values())
    assert len(groups) < 5
    lines = [line.strip() for group in groups for line in refusal(group).splitlines()]
    # helm adds a heading above several errors in one object.
    errors = [line for line in lines if not line.endswith("validation failed")]
    assert sorted(errors) == sorted(error for _, error in ALONE.values())


@pytest.mark.parametrize("size", ["256Mi", "268435456", "262144Ki", "0.25Gi", "0.3G", "300M", "2Gi"])
def test_every_notation_of_a_sufficient_size_is_accepted(size):
    render({"shm": {"size": size}})


def test_the_smallest_sufficient_values_are_accepted():
    render({"shutdown": {"gracePeriodSeconds": 70}})
    render({"shutdown": {"preStopSeconds": 27}})
    render({"shutdown": {"preStopSeconds": 0}, "server": {"connectionAgeSeconds": 0}})
    render({"target": "cpu", "engines": {"cache": {"claimName": ""}}})
