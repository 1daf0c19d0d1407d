//! The endpoint files of this suite.

use std::net::SocketAddr;

/// The key of every endpoint here.
pub(crate) const KEY: &str = "first-key-of-the-test";

const SECRET: &str = "\
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {primaryKey: first-key-of-the-test, secondaryKey: second-key-of-the-test}
---
";

/// `echo`: one replica, two slots, short limits; see `programs/grpc_client.py`.
pub(crate) fn echo() -> String {
    with_secret(
        "\
apiVersion: modelway.dev/v1alpha1
kind: InferenceEndpoint
metadata: {name: echo}
spec:
  auth: {secretRef: {name: keys}}
  hosts: [echo.example]
  limits: {maxPayload: 64KiB}
  versions:
    - name: one
      trafficPercentile: 100
      replicas: 1
      autoscale: {enabled: false}
      maxConcurrentRequestsPerReplica: 2
      maxQueueWait: 100ms
      maxQueueLength: 2
      requestTimeout: 2s
      streamIdleTimeout: 1s
      targetRef: {kind: Process, command: [modelway, model, --port, \"{port}\"]}
",
    )
}

/// `chat`: two versions that differ in `onDisconnect`; see `programs/http_clients.py`.
pub(crate) fn chat() -> String {
    let version = |head: &str| {
        format!(
            "    - {head}
      replicas: 1
      autoscale: {{enabled: false}}
      maxConcurrentRequestsPerReplica: 2
      maxQueueWait: 200ms
      streamIdleTimeout: 1s
      targetRef: {{kind: Process, command: [modelway, model, --port, \"{{port}}\"]}}
"
        )
    };
    with_secret(&format!(
        "\
apiVersion: modelway.dev/v1alpha1
kind: InferenceEndpoint
metadata: {{name: chat}}
spec:
  auth: {{secretRef: {{name: keys}}}}
  hosts: [chat.example]
  versions:
{}{}",
        version("name: one\n      trafficPercentile: 100"),
        version("name: finishing\n      onDisconnect: finish"),
    ))
}

/// `fixed`: one replica at fixed addresses, with one slot.
pub(crate) fn fixed(http: SocketAddr, grpc: SocketAddr) -> String {
    with_secret(&format!(
        "\
apiVersion: modelway.dev/v1alpha1
kind: InferenceEndpoint
metadata: {{name: fixed}}
spec:
  auth: {{secretRef: {{name: keys}}}}
  versions:
    - name: one
      trafficPercentile: 100
      autoscale: {{enabled: false}}
      probe: {{tcp: {{}}}}
      grpcPort: {}
      maxQueueWait: 100ms
      requestTimeout: 20s
      targetRef: {{kind: Addresses, addresses: [\"{http}\"]}}
",
        grpc.port()
    ))
}

fn with_secret(endpoint: &str) -> String {
    format!("{SECRET}{endpoint}")
}
