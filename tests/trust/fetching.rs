//! What becomes of every kind of answer that an issuer can give, over real TLS.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use modelway::tokens::{FETCH_TIME_MAX, Fetch, HttpFetch, Roots, SourceId};

use crate::{
    idp::{Act, Authority, Idp, answer, keys, ok},
    signer::Signer,
};

/// How much longer than the bound a fetch may take on a machine with other work.
const SLACK: Duration = Duration::from_secs(10);

/// An issuer of this name whose keys are published at the second path, and what is said of it.
struct Case {
    name: &'static str,
    says: &'static str,
}

#[test]
fn every_kind_of_answer_ends_in_time_and_in_words() {
    let authority = Authority::new();
    let idp = Idp::start(Some(&authority));
    let signer = Signer::es256("one");
    let cases = script(&idp, &signer);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("ca.pem");
    authority.write(&file);
    let fetch = HttpFetch::new(&Roots::File(file)).expect("roots");
    let fetches = cases.iter().map(|case| async {
        let begun = Instant::now();
        let fetched = fetch.fetch(&SourceId { issuer: idp.uri(case.name), jwks_uri: None }).await;
        assert!(
            begun.elapsed() < FETCH_TIME_MAX + SLACK,
            "{} took {:?}",
            case.name,
            begun.elapsed()
        );
        match fetched {
            Ok(fetched) => format!("{} bytes for {:?}", fetched.body.len(), fetched.max_age),
            Err(fault) => fault.to_string(),
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let said = runtime.expect("a runtime").block_on(join_all(fetches));
    for (case, said) in cases.iter().zip(said) {
        println!("{:24} {said}", case.name);
        assert!(said.contains(case.says), "{}: {said}", case.name);
    }
    assert_eq!(idp.asked("elsewhere"), 0, "a redirect was followed");
}

fn script(idp: &Idp, signer: &Signer) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name: &'static str, says, keys_act: Option<Act>| {
        let place = name.trim_end_matches('/');
        idp.configure(place, &idp.uri(name), &idp.uri(&format!("{name}/keys")));
        if let Some(act) = keys_act {
            idp.act(&format!("{name}/keys"), act);
        }
        cases.push(Case { name, says });
    };
    let set = keys(&[signer]).to_string();
    let length = set.len();
    let drip = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{set}").into_bytes();
    case("good", "for None", Some(ok(&set)));
    case(
        "kept",
        "for Some(700s)",
        Some(answer("200 OK", "cache-control: public, max-age=700\r\n", &set)),
    );
    case("trailing/", "for None", Some(ok(&set)));
    case("gone", "answered with status 404", None);
    case("error", "answered with status 500", Some(answer("500 Internal Server Error", "", &set)));
    case("empty-handed", "answered with status 204", Some(answer("204 No Content", "", "")));
    for (name, status) in [
        ("moved", "301 Moved"),
        ("found", "302 Found"),
        ("other", "303 See Other"),
        ("temporary", "307 T"),
    ] {
        let there = format!("location: {}\r\n", idp.uri("elsewhere"));
        case(name, "are not followed", Some(answer(status, &there, "")));
    }
    idp.act("elsewhere", ok(&set));
    case("hanging", "no complete answer within 5 s", Some(Act::Hang));
    case(
        "dripping",
        "no complete answer within 5 s",
        Some(Act::Drip(drip, Duration::from_millis(200))),
    );
    case("closing", "the answer could not be read", Some(Act::Close));
    case("garbage", "the answer could not be read", Some(Act::Send(b"SSH-2.0-x\r\n\r\n".to_vec())));
    let cut = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{set}", length + 1);
    case("cut", "the answer could not be read", Some(Act::Send(cut.into_bytes())));
    case("huge", "larger than 262144 bytes", Some(ok(&" ".repeat(262_145))));
    let endless = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_owned();
    case("endless", "larger than 262144 bytes", Some(Act::Endless(endless)));
    let heads = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(100_000));
    case("large-head", "the answer could not be read", Some(Act::Send(heads.into_bytes())));
    configurations(idp, &set, &mut cases);
    cases
}

/// What can be wrong with an OpenID configuration.
fn configurations(idp: &Idp, set: &str, cases: &mut Vec<Case>) {
    let place = |name: &str| format!("{name}/.well-known/openid-configuration");
    idp.act("shared/keys", ok(set));
    let keys = idp.uri("shared/keys");
    for (name, issuer) in [("impostor", "https://other.example"), ("slash", "slash/")] {
        let issuer = if name == "slash" { idp.uri(issuer) } else { issuer.to_owned() };
        idp.configure(name, &issuer, &keys);
        cases.push(Case { name, says: "is that of another issuer" });
    }
    for (name, uri) in [
        ("plain", keys.replace("https://", "http://")),
        ("relative", "/keys".to_owned()),
        ("with-user", keys.replace("https://", "https://me@")),
        ("fragment", format!("{keys}#x")),
        ("file", "file:///etc/passwd".to_owned()),
        ("metadata-service", "http://169.254.169.254/latest".to_owned()),
        ("long", format!("{keys}?{}", "a".repeat(2048))),
    ] {
        idp.configure(name, &idp.uri(name), &uri);
        cases.push(Case { name, says: "is not an https URI" });
    }
    let twice = format!(
        "{{\"issuer\": \"{}\", \"jwks_uri\": \"{keys}\", \"jwks_uri\": \"https://x.example\"}}",
        idp.uri("twice")
    );
    for (name, text) in
        [("html", "<html>login</html>"), ("list", "[]"), ("lacking", "{}"), ("twice", &twice)]
    {
        idp.act(&place(name), ok(text));
        cases.push(Case { name, says: "is not a JSON object with issuer and jwks_uri" });
    }
    idp.act(&place("lost"), answer("403 Forbidden", "", ""));
    cases.push(Case { name: "lost", says: "answered with status 403" });
}

#[test]
fn only_the_authority_of_the_file_is_believed() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("ca.pem");
    ours.write(&file);
    let idp = Idp::start(Some(&theirs));
    idp.act("keys", ok("{\"keys\": []}"));
    let source = SourceId { issuer: "x".to_owned(), jwks_uri: Some(idp.uri("keys")) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("one");
    for roots in [Roots::File(file.clone()), Roots::System] {
        let fetched = runtime.block_on(HttpFetch::new(&roots).expect("roots").fetch(&source));
        let fault = fetched.expect_err("nobody vouches for it").to_string();
        assert!(fault.contains("cannot connect") || fault.contains("root CA"), "{fault}");
    }
    assert_eq!(idp.asked("keys"), 0);
    theirs.write(&file);
    let good = HttpFetch::new(&Roots::File(file.clone())).expect("roots");
    runtime.block_on(good.fetch(&source)).expect("now somebody does");
    std::fs::write(&file, "no certificate").expect("a file");
    let fault = HttpFetch::new(&Roots::File(file)).expect_err("no certificate").to_string();
    assert!(fault.contains("holds no certificate"), "{fault}");
}
