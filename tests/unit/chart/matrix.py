"""Values that a platform team sets, and their combinations."""

from __future__ import annotations

import itertools

import yaml

from tests.unit.chart.helm import CHART, Values, merged

CPU: Values = yaml.safe_load((CHART / "values-cpu.yaml").read_text())
CANARY: Values = yaml.safe_load((CHART / "values-canary.yaml").read_text())
OPENSHIFT: Values = yaml.safe_load((CHART / "values-openshift.yaml").read_text())
CALIBRATION = '{\n "chosen": {\n  "threshold": 0.4\n }\n}\n'

TARGETS: dict[str, Values] = {
    "tensorrt": {},
    "tensorrt-no-cache": {"engines": {"cache": {"type": "pod"}, "buildArguments": ["--hardware-compatible"]}},
    "cpu": CPU,
}
SOURCES: dict[str, Values] = {
    "volume": {"repository": {"volume": {"subPath": "pairs/efficientvit"}}, "calibration": {"json": CALIBRATION}},
    "image": {"repository": {"source": "image", "image": {"name": "registry.example/models:3"}}},
    "object-storage": {
        "repository": {
            "source": "objectStorage",
            "objectStorage": {
                "image": "registry.example/rclone:1.70",
                "command": ["rclone", "copy"],
                "args": ["remote:models/efficientvit", "/models"],
                "envFromSecret": "object-storage",
                "env": [{"name": "RCLONE_CONFIG_REMOTE_TYPE", "value": "s3"}],
            },
        },
        "calibration": {"required": False},
    },
}
SCALERS: dict[str, Values] = {
    "none": {},
    "hpa": {"autoscaling": {"kind": "hpa"}},
    "keda": {"autoscaling": {"kind": "keda"}},
}
CONTROLLERS: Values = {
    "networkPolicy": {
        "clients": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "gateways"}}}],
    }
}
OUTSIDE: dict[str, Values] = {
    "inside": {},
    "tls-ingress": {
        "tls": {"enabled": True, "secretName": "littlebig-tls"},
        "ingress": {"enabled": True, "host": "classify.example", "tlsSecretName": "classify-example"},
        **CONTROLLERS,
    },
    "gateway": {
        "gateway": {
            "enabled": True,
            "parentRefs": [{"name": "public", "namespace": "gateways"}],
            "hostnames": ["classify.example"],
            "canaries": [{"name": "littlebig-canary-grpc", "port": 8001, "weight": 5}],
        },
        **CONTROLLERS,
    },
}
MONITORED: Values = {
    "monitoring": {
        "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True},
        "dashboard": {"enabled": True},
    }
}
EVERYTHING: Values = {
    "imagePullSecrets": [{"name": "registry"}],
    "priorityClassName": "serving",
    "runtimeClassName": "nvidia",
    "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-L4"},
    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}},
    "podAnnotations": {"example/note": "one"},
    "podLabels": {"team": "vision"},
    "serviceAccount": {"annotations": {"example/role": "reader"}},
    "service": {
        "type": "LoadBalancer",
        "annotations": {"example/balancer": "internal"},
        "externalTrafficPolicy": "Local",
        "http": True,
    },
    "server": {"extraArguments": ["--log-verbose=1"], "env": [{"name": "CUDA_MODULE_LOADING", "value": "LAZY"}]},
    "networkPolicy": {
        "clients": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
        "egress": [{"ports": [{"port": 4317}]}],
        "workloadIdentity": "gke",
    },
    "schedulerName": "volcano",
    "updateStrategy": {"type": "Recreate"},
    "initContainers": {
        "engines": {"resources": {"requests": {"cpu": "8", "memory": "16Gi"}, "limits": {"memory": "16Gi"}}},
        "preflight": {"env": [{"name": "TMPDIR", "value": "/tmp"}]},  # noqa: S108
    },
    "extraVolumes": [{"name": "authorities", "configMap": {"name": "authorities"}}],
    "extraVolumeMounts": [{"name": "authorities", "mountPath": "/etc/authorities", "readOnly": True}],
    "extraObjects": [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": "{{ .Release.Name }}-note",
                "namespace": "{{ .Release.Namespace }}",
                "labels": {
                    "app.kubernetes.io/instance": "{{ .Release.Name }}",
                    "app.kubernetes.io/managed-by": "Helm",
                },
            },
            "data": {"note": "one"},
        }
    ],
}
# Values of a main release, beside which a canary is installed.
PRODUCTION: Values = {
    "gateway": {
        "enabled": True,
        "parentRefs": [{"name": "public", "namespace": "gateways"}],
        "hostnames": ["classify.example"],
    },
    "autoscaling": {"kind": "hpa"},
    **CONTROLLERS,
}

FACTORS = (TARGETS, SOURCES, SCALERS, OUTSIDE)
# Every combination, by the names of its parts.
CASES: dict[str, Values] = {
    "default": {},
    "everything": merged(EVERYTHING, MONITORED),
    **{
        "-".join(names): merged(*(factor[name] for factor, name in zip(FACTORS, names, strict=True)))
        for names in itertools.product(*FACTORS)
    },
}

# Nine combinations in which each value of a factor meets each value of every other one (an orthogonal array).
PAIRWISE = [
    "default",
    "everything",
    *(
        "-".join(list(factor)[level % 3] for factor, level in zip(FACTORS, (i, j, i + j, i + 2 * j), strict=True))
        for i, j in itertools.product(range(3), range(3))
    ),
]
