"""Schemas of the custom resources that the chart renders; unknown fields are errors.

No PyPI package has these schemas, so they are written from the documentation of KEDA 2 (keda.sh/v1alpha1), the
Prometheus operator (monitoring.coreos.com/v1) and the Gateway API (v1).
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}
DURATION: Schema = {"type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$"}


def exactly(required: dict[str, Schema], **optional: Schema) -> Schema:
    """An object with these fields and no others."""
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def some(items: Schema) -> Schema:
    """A list that is not empty."""
    return {"type": "array", "items": items, "minItems": 1}


def resource(spec: Schema) -> Schema:
    """An object of Kubernetes with this specification."""
    metadata = exactly({"name": TEXT, "namespace": TEXT, "labels": TEXTS})
    return exactly({"apiVersion": TEXT, "kind": TEXT, "metadata": metadata, "spec": spec})


POLICIES = some(exactly({"type": {"enum": ["Pods", "Percent"]}, "value": COUNT, "periodSeconds": COUNT}))
SCALING = exactly(
    {"stabilizationWindowSeconds": COUNT, "selectPolicy": {"enum": ["Max", "Min", "Disabled"]}, "policies": POLICIES}
)
SCALED_OBJECT = resource(
    exactly(
        {
            "scaleTargetRef": exactly({"apiVersion": TEXT, "kind": TEXT, "name": TEXT}),
            "minReplicaCount": COUNT,
            "maxReplicaCount": COUNT,
            "pollingInterval": COUNT,
            "advanced": exactly(
                {
                    "horizontalPodAutoscalerConfig": exactly(
                        {"behavior": exactly({"scaleUp": SCALING, "scaleDown": SCALING})}
                    )
                }
            ),
            "triggers": some(
                exactly(
                    {
                        "type": {"const": "prometheus"},
                        "name": TEXT,
                        "metricType": {"enum": ["AverageValue", "Value"]},
                        # KEDA takes numbers as text here.
                        "metadata": exactly(
                            {"serverAddress": TEXT, "query": TEXT, "threshold": TEXT},
                            ignoreNullValues={"enum": ["true", "false"]},
                        ),
                    }
                )
            ),
        }
    )
)
RELABEL = exactly({"targetLabel": TEXT, "sourceLabels": some(TEXT)}, regex=TEXT, replacement=TEXT)
POD_MONITOR = resource(
    exactly(
        {
            "selector": exactly({"matchLabels": TEXTS}),
            "podMetricsEndpoints": some(
                exactly(
                    {"port": TEXT, "path": TEXT, "interval": DURATION},
                    relabelings=some(RELABEL),
                    metricRelabelings=some(RELABEL),
                )
            ),
        }
    )
)
RECORD = exactly({"record": TEXT, "expr": TEXT}, labels=TEXTS)
ALERT = exactly({"alert": TEXT, "expr": TEXT}, labels=TEXTS, annotations=TEXTS, **{"for": DURATION})
PROMETHEUS_RULE = resource(
    exactly({"groups": some(exactly({"name": TEXT, "rules": some({"oneOf": [RECORD, ALERT]})}, interval=DURATION))})
)
WEIGHT: Schema = {"type": "integer", "minimum": 0, "maximum": 1000000}
GRPC_ROUTE = resource(
    exactly(
        {
            "parentRefs": some(exactly({"name": TEXT}, namespace=TEXT, sectionName=TEXT, port=COUNT)),
            "rules": some(exactly({"backendRefs": some(exactly({"name": TEXT, "port": COUNT}, weight=WEIGHT))})),
        },
        hostnames=some(TEXT),
    )
)

LOCAL_OBJECT = exactly({"group": TEXT, "kind": TEXT, "name": TEXT})
BACKEND_TLS_POLICY = resource(
    exactly(
        {
            "targetRefs": some(LOCAL_OBJECT),
            "validation": exactly({"hostname": TEXT, "caCertificateRefs": some(LOCAL_OBJECT)}),
        }
    )
)

SCHEMAS: dict[str, Schema] = {
    "keda.sh/v1alpha1/ScaledObject": SCALED_OBJECT,
    "monitoring.coreos.com/v1/PodMonitor": POD_MONITOR,
    "monitoring.coreos.com/v1/PrometheusRule": PROMETHEUS_RULE,
    "gateway.networking.k8s.io/v1/GRPCRoute": GRPC_ROUTE,
    "gateway.networking.k8s.io/v1/BackendTLSPolicy": BACKEND_TLS_POLICY,
}
