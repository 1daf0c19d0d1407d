//! What the access log says of heads that nobody could read.

use std::time::Duration;

use crate::{http1::Client, support::router::Router};

/// How long a line may take to be written.
const LOG_LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_head_that_the_parser_refuses_has_a_line_in_the_access_log() {
    let yaml = "apiVersion: modelway.dev/v1alpha1\nkind: InferenceEndpoint\nmetadata: {name: log}\n\
                spec:\n  auth: {mode: None}\n  versions:\n  - {name: only, \
                targetRef: {kind: Addresses, addresses: []}}\n";
    let router = Router::start(yaml, &["--access-log", "on", "--log-format", "json"]);
    for (bytes, status, reason) in [
        // The first two are hyper's own refusals, the others ours.
        ("NONSENSE\r\n\r\n", 400, "malformed_request"),
        ("GET / HTTP/1.1\r\nHost: a\r\nbad name: x\r\n\r\n", 400, "malformed_request"),
        ("GET / HTTP/1.1\nHost: a\n\n", 400, "malformed_request"),
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed_request"),
    ] {
        let mut client = Client::connect(router.data);
        client.send(bytes.as_bytes(), None);
        let answer = client.answer(false).expect("an answer").expect("an answer");
        assert_eq!(answer.status, status, "{bytes:?}");
        let id = answer.field("x-request-id").expect("an id").to_owned();
        let line = router.eventually(LOG_LIMIT, "a line in the access log", |router| {
            router.lines().into_iter().find(|line| line.contains(&id))
        });
        let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(line["ResponseCode"].as_u64(), Some(status.into()), "{line}");
        assert_eq!(line["ResponseCodeReason"], reason, "{line}");
        assert_eq!((&line["Method"], &line["Path"]), (&"-".into(), &"-".into()), "{line}");
    }
}
