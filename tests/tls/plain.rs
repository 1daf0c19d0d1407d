//! What becomes of requests without TLS.

use crate::{
    site::{KEY, SCORE, Site, address, site},
    support::wire::{Wire, ask, h2_ask, h2_request, request, with_h2},
};

#[test]
fn plain_http_is_served_too_unless_something_else_is_said() {
    let site = site();
    assert_eq!(ask(site.router.data, request(SCORE, "", "abc")).text(), "3");
}

#[test]
fn a_redirect_keeps_host_and_target_and_credentials_get_none() {
    let site = Site::start(&["--plain", "redirect"]);
    let plain = address(&site.router, "plain").expect("the router says where plain HTTP is");
    let port = site.secure.port();
    let line = "POST /api/v1/endpoint/plain/score?a=b";
    let mut wire = Wire::connect(plain);
    let moved = wire.send(request(line, "", "abc")).answer();
    assert_eq!((moved.status, moved.code().as_str()), (308, "redirected"));
    let target = format!("https://test:{port}/api/v1/endpoint/plain/score?a=b");
    assert_eq!(moved.field("location"), Some(target.as_str()));
    for credential in [format!("authorization: Bearer {KEY}\r\n"), format!("api-key: {KEY}\r\n")] {
        let refused = wire.send(request(line, &credential, "abc")).answer();
        assert_eq!((refused.status, refused.code().as_str()), (403, "https_required"));
        assert!(refused.text().contains("in the clear"), "{}", refused.text());
        assert!(!refused.text().contains(KEY));
        assert_eq!(refused.field("location"), None);
    }
    // Without a host there is nowhere to go, and a bad path is nowhere.
    assert_eq!(ask(plain, "GET /api/v1/endpoint/plain/x HTTP/1.0\r\n\r\n").status, 403);
    let bad = "GET /api/v1/endpoint/plain/%2e%2e/x HTTP/1.1\r\nhost: test\r\n\r\n";
    assert_eq!(ask(plain, bad).status, 400);
    assert!(site.replica.all_seen().is_empty(), "nothing reached the replica");
    assert_eq!(site.router.admin_get("/readyz").0, 200, "health is not concerned");
}

#[test]
fn the_port_of_a_redirect_can_be_another_one() {
    let site = Site::start(&["--plain", "redirect", "--redirect-port", "443"]);
    let plain = address(&site.router, "plain").expect("the router says where plain HTTP is");
    let moved = ask(plain, request("GET /api/v1/endpoint/plain/x", "", ""));
    assert_eq!(moved.field("location"), Some("https://test/api/v1/endpoint/plain/x"));
}

#[test]
fn refused_is_refused_over_both_protocols_and_nothing_reaches_a_replica() {
    let site = Site::start(&["--plain", "refuse"]);
    let plain = address(&site.router, "plain").expect("the router says where plain HTTP is");
    let refused = ask(plain, request(SCORE, "", "abc"));
    assert_eq!((refused.status, refused.code().as_str()), (403, "https_required"));
    with_h2(plain, async |sender| {
        let path = "/api/v1/endpoint/plain/score";
        let refused = h2_ask(&sender, h2_request("POST", path, &[]), b"abc").await.unwrap();
        assert_eq!(refused.status, 403);
        let fields = [
            ("content-type", "application/grpc"),
            ("x-ms-aml-grpc-service-route", "/api/v1/endpoint/chat"),
        ];
        let refused = h2_ask(&sender, h2_request("POST", "/t/T", &fields), b"").await.unwrap();
        assert_eq!(refused.field("grpc-status"), Some("7"));
    });
    // A refused upload can be read, as any refusal.
    let mut wire = Wire::connect(plain);
    wire.send(format!("{SCORE} HTTP/1.1\r\nhost: t\r\ncontent-length: 8000000\r\n\r\n"));
    wire.send(vec![0; 8_000_000]);
    assert_eq!(wire.answer().status, 403);
    assert!(site.replica.all_seen().is_empty(), "nothing reached the replica");
    let mut line = crate::client::Line::open(site.secure, &site.hello()).unwrap();
    assert_eq!(line.send(request(SCORE, "", "abc")).answer().text(), "3");
    assert_eq!(site.router.admin_get("/livez").0, 200, "health is not concerned");
}
