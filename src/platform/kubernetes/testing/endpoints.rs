//! InferenceEndpoints on the API server of the tests.

use std::time::Duration;

use kube::{
    Api,
    api::{Patch, PatchParams},
};

use super::{
    super::{
        api::{CustomResourceDefinition, crd},
        client::ApiServer,
    },
    until,
};

/// How long the API server may take until it serves a new kind; 0.3 s were measured.
const SERVED_LIMIT: Duration = Duration::from_secs(60);

/// Where the InferenceEndpoints of a namespace are.
pub(in crate::platform::kubernetes) fn path(namespace: &str) -> String {
    format!("/apis/modelway.dev/v1alpha1/namespaces/{namespace}/inferenceendpoints")
}

/// Makes the kind known to the API server, once or again.
pub(in crate::platform::kubernetes) async fn install(server: &ApiServer) {
    let definition = crd();
    let definitions: Api<CustomResourceDefinition> = Api::all(server.client().clone());
    let params = PatchParams::apply("tests").force();
    let name = "inferenceendpoints.modelway.dev";
    definitions.patch(name, &params, &Patch::Apply(&definition)).await.expect("the definition");
    until(SERVED_LIMIT, "InferenceEndpoints are served", async || {
        let definition = definitions.get(name).await.ok()?;
        let conditions = definition.status?.conditions?;
        conditions.iter().any(|c| c.type_ == "Established" && c.status == "True").then_some(())
    })
    .await;
}
