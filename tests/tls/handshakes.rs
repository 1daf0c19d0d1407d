//! Which handshakes succeed, with which version, protocol and certificate.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use rustls::{
    ProtocolVersion,
    pki_types::ServerName,
    version::{TLS12, TLS13},
};

use crate::{
    client::{Hello, Line},
    pki::Authority,
    site::{SCORE, SOON, Site, site},
    support::wire::request,
};

/// What a client offers by ALPN, and what is agreed.
type Offer = (&'static [&'static [u8]], Option<Vec<u8>>);

#[test]
fn both_versions_and_every_offer_of_protocols_are_served() {
    let site = site();
    let versions = [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)];
    let http1 = Some(b"http/1.1".to_vec());
    let offers: [Offer; 4] = [
        (&[], None),
        (&[b"http/1.1"], http1.clone()),
        (&[b"http/1.1", b"h2"], Some(b"h2".to_vec())),
        (&[b"http/0.9", b"http/1.1"], http1),
    ];
    for (version, agreed) in versions {
        for (offer, protocol) in &offers {
            let hello = Hello { versions: vec![version], alpn: offer.to_vec(), ..site.hello() };
            let mut line = Line::open(site.secure, &hello).expect("a handshake");
            assert_eq!(line.agreed(), (agreed, protocol.clone()), "{offer:?}");
            if *protocol != Some(b"h2".to_vec()) {
                assert_eq!(line.send(request(SCORE, "", "abc")).answer().text(), "3");
            }
        }
    }
}

#[test]
fn without_alpn_the_first_bytes_tell_as_they_do_without_tls() {
    let site = site();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let hello = Hello { alpn: Vec::new(), ..site.hello() };
        let stream = crate::client::dial(site.secure, &hello).await.unwrap();
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        let asked = async {
            let request =
                crate::support::wire::h2_request("POST", "/api/v1/endpoint/plain/score", &[]);
            crate::support::wire::h2_ask(&sender, request, b"abc").await.unwrap()
        };
        let answer = tokio::select! {
            answer = asked => answer,
            ended = connection => panic!("{ended:?}"),
        };
        assert_eq!((answer.status, answer.text().as_str()), (200, "3"));
    });
}

#[test]
fn nothing_in_common_fails_clearly_and_is_counted() {
    let site = site();
    let before = site.handshakes("incompatible");
    let hello = Hello { alpn: vec![b"spdy/1"], ..site.hello() };
    let error = Line::open(site.secure, &hello).err().expect("nothing in common").to_string();
    assert!(error.contains("NoApplicationProtocol"), "{error}");
    for version in [0x00, 0x01, 0x02] {
        let alert = alert(&site, &old_hello(version));
        // handshake_failure or protocol_version (RFC 8446 §6.2).
        assert!(matches!(alert, Some(40 | 70)), "{alert:?}");
    }
    site.await_handshakes("incompatible", before + 4.0);
}

/// A `ClientHello` of SSL 3, TLS 1.0 or TLS 1.1, as an old client writes it.
fn old_hello(minor: u8) -> Vec<u8> {
    let mut hello = vec![3, minor];
    hello.extend([7; 32]);
    // No session; two cipher suites of that time; no compression; no extensions.
    hello.extend([0, 0, 4, 0xc0, 0x13, 0x00, 0x2f, 1, 0]);
    let length = u8::try_from(hello.len()).expect("a short one");
    let mut record = vec![22, 3, minor.min(1), 0, length + 4, 1, 0, 0, length];
    record.extend(hello);
    record
}

/// The description of the fatal alert that answers these bytes.
fn alert(site: &Site, bytes: &[u8]) -> Option<u8> {
    let mut stream = TcpStream::connect(site.secure).expect("the router accepts");
    stream.set_read_timeout(Some(SOON)).expect("an option");
    stream.write_all(bytes).expect("the router takes it");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an end without a reset");
    match answer[..] {
        [21, 3, _, 0, 2, 2, description] => Some(description),
        _ => None,
    }
}

#[test]
fn the_host_decides_which_certificate_comes() {
    let site = site();
    let table: [(Option<&'static str>, usize); 12] = [
        (Some("localhost"), 0),
        (Some("one.example"), 1),
        (Some("ONE.Example"), 1),
        (Some("two.example"), 1),
        (Some("three.example"), 0),
        (Some("a.wild.example"), 2),
        (Some("A.WILD.example"), 2),
        (Some("deep.wild.example"), 3),
        (Some("a.deep.wild.example"), 0),
        (Some("wild.example"), 0),
        (Some("127.0.0.1"), 0),
        (None, 0),
    ];
    for version in [&TLS12, &TLS13] {
        for (host, expected) in table {
            let hello = Hello { host, versions: vec![version], roots: None, ..site.hello() };
            let line = Line::open(site.secure, &hello).expect("a handshake");
            assert!(line.shown() == site.leaves[expected].der, "{host:?}");
        }
    }
    // And clients that check names are content.
    for host in ["localhost", "127.0.0.1", "two.example", "x.wild.example", "deep.wild.example"] {
        let hello = Hello { host: Some(host), ..site.hello() };
        assert!(Line::open(site.secure, &hello).is_ok(), "{host}");
    }
}

#[test]
fn a_session_is_taken_up_again() {
    let site = site();
    for version in [&TLS12, &TLS13] {
        let hello = Hello { versions: vec![version], ..site.hello() };
        let mut config = (*hello.config()).clone();
        config.resumption = rustls::client::Resumption::in_memory_sessions(4);
        let config = std::sync::Arc::new(config);
        let name = ServerName::try_from("localhost").unwrap();
        let kinds = [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed];
        for kind in kinds {
            let mut line =
                Line::open_with(site.secure, config.clone(), name.clone()).expect("a handshake");
            // The ticket of TLS 1.3 comes with the first answer.
            assert_eq!(line.send(request(SCORE, "", "abc")).answer().text(), "3");
            assert_eq!(line.session().handshake_kind(), Some(kind), "{version:?}");
        }
    }
}

#[test]
fn what_is_not_tls_is_told_so() {
    let site = site();
    let before = site.handshakes("not_tls");
    let mut stream = TcpStream::connect(site.secure).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(request(SCORE, "", "abc").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an end without a reset");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("this port speaks HTTPS"), "{answer}");
    site.await_handshakes("not_tls", before + 1.0);
}

#[test]
fn a_client_that_does_not_trust_the_certificate_is_counted() {
    let site = site();
    let before = site.handshakes("refused_by_client") + site.handshakes("closed");
    let roots = Authority::new("somebody else").roots();
    let hello = Hello { roots: Some(roots), versions: vec![&TLS12], ..site.hello() };
    let error = Line::open(site.secure, &hello).err().expect("no trust").to_string();
    assert!(error.contains("UnknownIssuer"), "{error}");
    crate::support::watch::until(SOON, "the refusal is counted", || {
        let now = site.handshakes("refused_by_client") + site.handshakes("closed");
        (now > before + 0.5).then_some(())
    });
}

/// A site that asks for certificates of this authority.
fn asking(required: &str) -> (Site, Authority) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    let leaf = authority.sign(&["localhost"]);
    leaf.put(folder.path());
    let file = folder.path().join("clients.crt");
    fs::write(&file, &clients.pem).expect("a file");
    let (pair, file) = (folder.path().display().to_string(), file.display().to_string());
    let flags = [
        "--tls-port",
        "0",
        "--tls-dir",
        &pair,
        "--tls-client-ca",
        &file,
        "--tls-client-auth",
        required,
    ];
    (Site::with(authority, vec![leaf], folder, &flags), clients)
}

/// Whether a request passes with this handshake.
fn passes(site: &Site, hello: &Hello) -> Result<(), String> {
    let mut line = Line::open(site.secure, hello).map_err(|error| error.to_string())?;
    line.try_send(request(SCORE, "", "abc")).map_err(|error| error.to_string())?;
    let answer = line.try_answer().map_err(|error| error.to_string())?;
    if answer.status == 200 { Ok(()) } else { Err(answer.status.to_string()) }
}

#[test]
fn certificates_of_clients_are_required_where_that_was_said() {
    let (site, clients) = asking("require");
    for version in [&TLS12, &TLS13] {
        let hello = Hello { versions: vec![version], ..site.hello() };
        let good = Hello { own: Some(clients.sign(&["client"])), ..hello.clone() };
        assert_eq!(passes(&site, &good), Ok(()));
        let error = passes(&site, &hello).unwrap_err();
        assert!(
            error.contains("CertificateRequired") || error.contains("HandshakeFailure"),
            "{error}"
        );
        let wrong = Hello { own: Some(Authority::new("wrong").sign(&["client"])), ..hello };
        let error = passes(&site, &wrong).unwrap_err();
        assert!(error.contains("UnknownCA") || error.contains("DecryptError"), "{error}");
    }
    site.await_handshakes("client_certificate", 4.0);

    // Another authority takes its place, for handshakes from then on.
    let hello = site.hello();
    let old = Hello { own: Some(clients.sign(&["client"])), ..hello.clone() };
    let kept = Line::open(site.secure, &old).expect("the old authority is in force");
    let next = Authority::new("next");
    fs::write(site.folder().join("clients.crt"), &next.pem).unwrap();
    let new = Hello { own: Some(next.sign(&["client"])), ..hello };
    crate::support::watch::until(SOON, "the new authority is in force", || {
        passes(&site, &new).ok()
    });
    assert!(passes(&site, &old).is_err());
    let mut kept = kept;
    assert_eq!(kept.send(request(SCORE, "", "abc")).answer().text(), "3");
    assert!(!kept.ends_in_order(Duration::from_millis(1)), "it is kept");
}

#[test]
fn certificates_of_clients_are_optional_where_that_was_said_and_bad_ones_still_refused() {
    let (site, clients) = asking("optional");
    let hello = site.hello();
    assert_eq!(passes(&site, &hello), Ok(()));
    let good = Hello { own: Some(clients.sign(&["client"])), ..hello.clone() };
    assert_eq!(passes(&site, &good), Ok(()));
    let wrong = Hello { own: Some(Authority::new("wrong").sign(&["client"])), ..hello };
    assert!(passes(&site, &wrong).is_err());
    site.await_handshakes("client_certificate", 1.0);
}
