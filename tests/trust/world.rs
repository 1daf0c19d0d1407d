//! Endpoint files with keys and tokens, and the commands of a person who looks after them.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{
    line::post,
    router::{Router, binary},
    spec::{self, SCORE},
};

/// The keys in [`secret`].
pub(crate) const PRIMARY: &str = "primary-canary-93af";
pub(crate) const SECONDARY: &str = "secondary-canary-b71c";

/// Endpoint `demo` with this `auth`, and one replica.
pub(crate) fn endpoint(name: &str, auth: &Value) -> String {
    let model = json!(["modelway", "model", "--port", "{port}"]);
    let blue = spec::fixed(
        "blue",
        &model,
        1,
        &json!({"maxQueueWait": "20s", "maxConcurrentRequestsPerReplica": 64}),
    );
    json!({
        "apiVersion": "modelway.dev/v1alpha1",
        "kind": "InferenceEndpoint",
        "metadata": {"name": name},
        "spec": {"auth": auth, "versions": [blue]},
    })
    .to_string()
}

/// A Secret as a person writes it.
pub(crate) fn secret() -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: demo-keys}}\nstringData:\n  # of the demo\n  \
         primaryKey: {PRIMARY} # the first\n  secondaryKey: {SECONDARY}\n"
    )
}

/// Endpoint `demo` with keys in a Secret.
pub(crate) fn keyed() -> String {
    let auth = json!({"mode": "Key", "secretRef": {"name": "demo-keys"}});
    format!("{}\n---\n{}", endpoint("demo", &auth), secret())
}

/// A status with this credential.
pub(crate) fn score(router: &Router, credential: &str) -> u16 {
    post(router.data, SCORE, &[("Authorization", &format!("Bearer {credential}"))]).status
}

/// What a command printed, or its error.
pub(crate) fn command(
    router: &Router,
    arguments: &[&str],
    token: Option<&str>,
) -> Result<String, String> {
    let mut command = Command::new(binary());
    command.args(arguments).args(["--admin", &format!("http://{}", router.admin)]);
    command.env_remove("MODELWAY_ADMIN_TOKEN_FILE").env_remove("MODELWAY_ADMIN_TOKEN");
    if let Some(token) = token {
        command.env("MODELWAY_ADMIN_TOKEN", token);
    }
    let output = command.output().expect("the command runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// JSON from a command.
pub(crate) fn json_of(router: &Router, arguments: &[&str]) -> Value {
    let said = command(router, &[arguments, &["-o", "json"]].concat(), None);
    serde_json::from_str(&said.expect("the command succeeds")).expect("JSON")
}
