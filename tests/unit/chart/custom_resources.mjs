// Validates custom resources (JSON on stdin) with models that are generated from the definitions of KEDA, the Prometheus
// operator and the Gateway API; prints a line per object.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

// The folder with the installed packages; as a path, because bare imports are resolved from this file's folder.
const models = pathToFileURL(process.argv[2] + "/node_modules/@kubernetes-models/").href;
const folders = {
  ScaledObject: "keda/keda.sh/v1alpha1",
  PodMonitor: "prometheus-operator/monitoring.coreos.com/v1",
  PrometheusRule: "prometheus-operator/monitoring.coreos.com/v1",
  GRPCRoute: "gateway-api/gateway.networking.k8s.io/v1",
  BackendTLSPolicy: "gateway-api/gateway.networking.k8s.io/v1",
};
for (const manifest of JSON.parse(readFileSync(0, "utf8"))) {
  const { [manifest.kind]: model } = await import(`${models}${folders[manifest.kind]}/${manifest.kind}.js`);
  const { apiVersion, ...fields } = manifest;
  try {
    new model(fields).validate();
    console.log(`${manifest.kind}: valid`);
  } catch (reason) {
    console.log(`${manifest.kind}: ${reason.message}`);
  }
}
