//! The proof with a real model: Azure ML's own inference server behind the router.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use crate::support::{
    router::{Router, binary},
    tool::tool,
};

/// Requests that must all succeed.
const REQUESTS: u64 = 500;
/// A server of Python starts in seconds, and slowly where others build.
const START_LIMIT: Duration = Duration::from_secs(60);
const BODY: &str = r#"{"rows": [{"area_m2": 70, "rooms": 3, "distance_km": 5}]}"#;

#[test]
fn a_real_azure_ml_server_scales_up_and_down_without_a_failure() {
    let Some(python) = tool("MODELWAY_TEST_PYTHON", "the proof with a real model server") else {
        return;
    };
    let router = start(&python);
    router.await_replicas("linear", "ready", 1, START_LIMIT);
    let base = format!("http://{}/api/v1/service/flats", router.data);

    let swagger = curl(&[&format!("{base}/swagger.json"), "-H", &bearer(&router)]);
    assert!(swagger.contains("\"swagger\"") || swagger.contains("\"openapi\""), "{swagger}");
    let scored = curl(&[&format!("{base}/score"), "-H", &bearer(&router), "-H", JSON, "-d", BODY]);
    assert_eq!(scored, r#"{"predictions": [301.0]}"#);
    let refused = curl(&[&format!("{base}/score"), "-H", JSON, "-d", BODY]);
    assert!(refused.contains("credential_missing"), "{refused}");

    // Up, with all of the load; then down, with what is left of it.
    let up = score(&router, &base, REQUESTS * 4 / 5, &["-c", "6"]);
    assert!(highest(&router) > 1, "nothing was scaled: {:#?}", router.lines());
    let down = score(&router, &base, REQUESTS / 5, &["-q", "12", "-c", "1"]);
    router.await_replicas("linear", "ready", 1, Duration::from_secs(30));
    assert_eq!(up + down, REQUESTS);
    let decisions = router.admin_json("/api/v1/decisions");
    let went_down = decisions.as_array().unwrap().iter().any(|d| d["direction"] == "down");
    assert!(went_down, "{decisions}");
}

const JSON: &str = "Content-Type: application/json";

/// The example as it is, but for shorter waits: the window of scaling down, and the queue, because
/// where others build a server may take long to start.
fn start(python: &Path) -> Router {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/azureml");
    let server = python.with_file_name("azmlinfsrv");
    assert!(server.exists(), "{} is missing beside Python", server.display());
    let yaml = std::fs::read_to_string(example.join("endpoints.yaml")).unwrap();
    let changed = yaml
        .replace(
            "command: [azmlinfsrv,",
            &format!("workingDir: {}\n        command: [{},", example.display(), server.display()),
        )
        .replace("maxQueueWait: 5s", "maxQueueWait: 30s")
        .replace("scaleDownWindow: 10s", "scaleDownWindow: 3s");
    for change in ["workingDir", "maxQueueWait: 30s", "scaleDownWindow: 3s"] {
        assert!(changed.contains(change), "the example has no place for {change}");
    }
    Router::start(&changed, &[])
}

fn bearer(router: &Router) -> String {
    format!("Authorization: Bearer {}", router.key())
}

fn curl(arguments: &[&str]) -> String {
    let done = Command::new("curl").arg("-sS").args(arguments).output().expect("curl runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// Sends requests with `modelway bench` and returns how many were answered with 200.
fn score(router: &Router, base: &str, count: u64, how: &[&str]) -> u64 {
    let begun = Instant::now();
    let done = Command::new(binary())
        .args(["bench", &format!("{base}/score"), "--body", BODY, "-H", JSON, "-o", "json"])
        .args(["--key", &router.key(), "-n", &count.to_string(), "--timeout", "60s"])
        .args(how)
        .args(["--fail-if", "error_rate>0%"])
        .output()
        .expect("bench runs");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success(),
        "{said}{}{:#?}",
        String::from_utf8_lossy(&done.stderr),
        router.errors()
    );
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    let statuses = report["statuses"].as_array().unwrap();
    assert!(statuses.iter().all(|line| line["status"] == 200), "{said}");
    eprintln!("{count} requests in {:?}", begun.elapsed());
    statuses.iter().filter_map(|line| line["count"].as_u64()).sum()
}

fn highest(router: &Router) -> u64 {
    let decisions = router.admin_json("/api/v1/decisions");
    decisions.as_array().unwrap().iter().filter_map(|d| d["to"].as_u64()).max().unwrap_or(0)
}
