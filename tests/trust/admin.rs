//! Who may use the admin port, and that the port for clients leads nowhere near it.

use std::time::Duration;

use serde_json::Value;

use crate::{
    support::{
        router::Router,
        watch::until,
        wire::{ask, request},
    },
    world::{PRIMARY, SECONDARY, command, keyed},
};

const ADMIN_TOKEN: &str = "admin-canary-0123456789";

#[test]
fn nothing_of_the_admin_port_is_reached_through_the_port_for_clients() {
    let router = Router::start(&keyed(), &[]);
    let (admin, data) = (router.admin, router.data);
    let document = router.admin_json("/openapi.json");
    let described = document["paths"].as_object().expect("paths").keys();
    let mut paths: Vec<String> =
        described.map(|path| path.replace("{name}", "demo").replace("{key}", "primary")).collect();
    paths.retain(|path| path != "/");
    let twisted: Vec<String> = paths
        .iter()
        .flat_map(|path| {
            let inner = path.trim_start_matches('/');
            [
                format!("//{inner}"),
                format!("/.{path}"),
                format!("/x/..{path}"),
                format!("/%2e%2e{path}"),
                format!("{path}/"),
                format!("{path}?verbose"),
                format!("{path};a=b"),
                path.to_uppercase(),
                format!("/api/v1/service/demo/..{path}"),
                format!("http://{admin}{path}"),
                format!("http://localhost{path}"),
            ]
        })
        .collect();
    paths.extend(twisted);
    let hosts = [
        data.to_string(),
        admin.to_string(),
        "localhost".to_owned(),
        "demo".to_owned(),
        "admin".to_owned(),
    ];
    let (mut asked, mut answered) = (0, Vec::new());
    for path in &paths {
        for host in &hosts {
            for method in ["GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"] {
                let head = format!(
                    "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {PRIMARY}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
                );
                let answer = ask(data, head);
                asked += 1;
                // Whatever the router itself says of it; a path of the endpoint reaches its model.
                let of_the_router = answer.field("x-modelway-source") == Some("router");
                let refused = [400, 404, 405].contains(&answer.status);
                if !(of_the_router && refused) || answer.text().contains(SECONDARY) {
                    answered.push(format!("{method} {path} of {host}: {}", answer.status));
                }
            }
        }
    }
    println!(
        "{asked} requests for the admin port at the port for clients, {} answered by it",
        answered.len()
    );
    assert!(answered.is_empty(), "{answered:#?}");
    assert!(asked > 5000, "{asked}");
}

#[test]
fn an_admin_token_from_a_file_is_asked_for_and_can_be_changed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let path = file.to_str().expect("a path of letters");
    std::fs::write(&file, format!("{ADMIN_TOKEN}\n")).unwrap();
    let router = Router::start(&keyed(), &["--admin-token-file", path]);
    let show = ["keys", "show", "demo"];
    let refused = command(&router, &show, None).unwrap_err();
    assert!(refused.contains("--token-file") && refused.contains("401"), "{refused}");
    let wrong = command(&router, &show, Some("not-the-admin-token")).unwrap_err();
    assert!(wrong.contains("not the admin token of this router"), "{wrong}");
    assert!(command(&router, &show, Some(ADMIN_TOKEN)).unwrap().contains(PRIMARY));
    let by_file = command(&router, &["keys", "show", "demo", "--token-file", path], None);
    assert!(by_file.unwrap().contains(PRIMARY));
    // Reading what is open to all needs none.
    assert_eq!(router.admin_get("/api/v1/endpoints").0, 200);
    // A bad edit changes nothing; a good one is in force.
    std::fs::write(&file, "short").unwrap();
    until(Duration::from_secs(10), "the bad edit is refused", || {
        let (_, metrics) = router.admin_get("/metrics");
        metrics.contains("modelway_configuration_refusals_total 1").then_some(())
    });
    assert!(command(&router, &show, Some(ADMIN_TOKEN)).is_ok());
    let other = "another-admin-token-of-the-file";
    std::fs::write(&file, other).unwrap();
    until(Duration::from_secs(10), "the new token is in force", || {
        command(&router, &show, Some(other)).ok()
    });
    assert!(command(&router, &show, Some(ADMIN_TOKEN)).is_err());
    // Nothing of all this is written anywhere.
    let pages = ["/metrics", "/api/v1/endpoints", "/readyz?verbose", "/openapi.json"];
    let said = [router.lines().join("\n"), router.errors().join("\n")].into_iter();
    let shown = pages.map(|page| router.admin_get(page).1);
    for text in said.chain(shown) {
        for secret in [ADMIN_TOKEN, other, PRIMARY, SECONDARY, "not-the-admin-token"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
    let refused = router.errors().iter().filter(|line| line.contains("was refused")).count();
    assert!(refused >= 2, "{:#?}", router.errors());
}

#[test]
fn the_admin_port_of_a_service_is_closed_until_there_is_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("endpoints.yaml");
    std::fs::write(&file, keyed()).unwrap();
    let path = file.to_str().expect("a path of letters");
    let router = Router::demo(&["-f", path, "--admin-address", "0.0.0.0"]);
    let at_loopback = format!("127.0.0.1:{}", router.admin.port()).parse().expect("an address");
    let answer = ask(at_loopback, request("GET /api/v1/endpoints/demo/keys", "", ""));
    assert_eq!(answer.status, 401, "listening to others, it trusts nobody for being here");
    let body: Value = serde_json::from_str(&answer.text()).expect("JSON");
    assert_eq!(body["error"]["code"], "unauthorized");
    assert!(answer.text().contains("--admin-token-file"), "{}", answer.text());
}
