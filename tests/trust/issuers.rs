//! Tokens of outside issuers at the data port.

use std::{
    fmt::Write as _,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{
    idp::{Act, Authority, Idp, answer, ok},
    signer::{Signer, claims},
    support::{
        replica::Replica,
        router::Router,
        watch,
        wire::{self, Answer, h2_ask, h2_request, request, with_h2},
    },
};

const LIMIT: Duration = Duration::from_secs(20);
const KEY: &str = "trust-primary-key-0123456789abcdef";

/// One router, one server with many issuers: each test has its own issuer and endpoint.
struct World {
    router: Router,
    replica: Replica,
    idp: Idp,
    /// A server that nobody vouches for.
    foreign: Idp,
    /// The keys of the issuer `main`.
    signers: [Signer; 3],
    /// The first key of every issuer of [`KNOWN`].
    known: Signer,
}

/// Endpoints with one issuer each, of the same name.
const OWN: [&str; 6] = ["rotating", "guessed", "leaving", "never", "added", "slow"];

/// Those of them that have keys from the start.
const KNOWN: [&str; 3] = ["rotating", "guessed", "leaving"];

fn world() -> Arc<World> {
    static SHARED: Mutex<Weak<World>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock();
    shared.upgrade().unwrap_or_else(|| {
        let world = Arc::new(World::start());
        *shared = Arc::downgrade(&world);
        world
    })
}

impl World {
    fn start() -> Self {
        let (authority, stranger) = (Authority::new(), Authority::new());
        let (idp, foreign) = (Idp::start(Some(&authority)), Idp::start(Some(&stranger)));
        let signers = [Signer::rs256("rsa"), Signer::es256("ec"), Signer::eddsa("ed")];
        idp.publish("main", &signers.each_ref());
        foreign.publish("main", &signers.each_ref());
        let known = Signer::es256("known");
        for name in KNOWN {
            idp.publish(name, &[&known]);
        }
        idp.act("never/.well-known/openid-configuration", answer("500 Oh", "", ""));
        let replica = Replica::start();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ca = folder.path().join("ca.pem");
        authority.write(&ca);
        let yaml = endpoints(&idp, &foreign, &replica);
        let ca = ca.to_str().expect("letters").to_owned();
        let arguments = ["--issuer-ca", &ca, "--access-log", "on", "--log-format", "json"];
        let router = Router::start(&yaml, &arguments);
        Self { router, replica, idp, foreign, signers, known }
    }

    /// The address of an issuer.
    fn issuer(&self, name: &str) -> String {
        self.idp.uri(name)
    }

    fn ask(&self, endpoint: &str, token: &str) -> Answer {
        self.with(endpoint, &format!("authorization: Bearer {token}\r\n"))
    }

    fn with(&self, endpoint: &str, fields: &str) -> Answer {
        let line = format!("POST /api/v1/endpoint/{endpoint}/score");
        wire::ask(self.router.data, request(&line, fields, "{}"))
    }

    /// The line of an issuer in `/readyz?verbose`; the router is ready whatever it says.
    fn shown(&self, issuer: &str) -> String {
        let (status, page) = self.router.admin_get("/readyz?verbose");
        assert_eq!(status, 200, "{page}");
        let line = page.lines().find(|line| line.contains(&format!("issuer {issuer}:")));
        line.unwrap_or_else(|| panic!("{issuer} is not in {page}")).to_owned()
    }

    fn await_shown(&self, issuer: &str, words: &str) {
        watch::until(LIMIT, words, || self.shown(issuer).contains(words).then_some(()));
    }
}

/// An issuer as an endpoint names it.
fn trust(issuer: &str, audience: &str, more: &Value) -> Value {
    let mut one = json!({
        "issuer": issuer, "audiences": [audience, "api://else"],
        "algorithms": ["RS256", "ES256", "EdDSA"],
    });
    for (name, value) in more.as_object().expect("an object") {
        one[name] = value.clone();
    }
    one
}

fn endpoint(name: &str, auth: &Value, replica: &Replica) -> String {
    let version = json!({
        "name": "only", "maxConcurrentRequestsPerReplica": 1000, "probe": {"tcp": {}},
        "targetRef": {"kind": "Addresses", "addresses": [replica.address.to_string()]},
    });
    let document = json!({
        "apiVersion": "modelway.dev/v1alpha1", "kind": "InferenceEndpoint",
        "metadata": {"name": name}, "spec": {"auth": auth, "versions": [version]},
    });
    format!("{document}\n---\n")
}

fn tokens_of(issuers: &[Value]) -> Value {
    json!({"mode": "Token", "token": {"issuers": issuers}})
}

fn endpoints(idp: &Idp, foreign: &Idp, replica: &Replica) -> String {
    let strict = json!({"requiredScopes": ["score"], "requiredClaims": {"tid": "us"}});
    let direct = json!({"jwksUri": idp.uri("main/keys"), "algorithms": ["ES256"]});
    let mut both = tokens_of(&[trust(&idp.uri("main"), "api://fraud", &json!({}))]);
    both["keys"] = json!(true);
    both["secretRef"] = json!({"name": "keys"});
    let mut yaml = format!(
        "{{\"apiVersion\": \"v1\", \"kind\": \"Secret\", \"metadata\": {{\"name\": \"keys\"}}, \
         \"stringData\": {{\"primaryKey\": \"{KEY}\"}}}}\n---\n"
    );
    for (name, auth) in [
        ("fraud", tokens_of(&[trust(&idp.uri("main"), "api://fraud", &json!({}))])),
        ("strict", tokens_of(&[trust(&idp.uri("main"), "api://fraud", &strict)])),
        ("direct", tokens_of(&[trust("somebody", "api://fraud", &direct)])),
        ("both", both),
        ("own-only", json!({"mode": "Token"})),
        ("foreign", tokens_of(&[trust(&foreign.uri("main"), "api://fraud", &json!({}))])),
    ] {
        yaml.push_str(&endpoint(name, &auth, replica));
    }
    for name in OWN.into_iter().filter(|name| *name != "added") {
        let issuer = trust(&idp.uri(name), "api://fraud", &json!({}));
        write!(yaml, "{}", endpoint(name, &tokens_of(&[issuer]), replica)).expect("text");
    }
    yaml
}

#[test]
fn good_tokens_of_every_kind_of_key_are_let_in() {
    let world = world();
    for signer in &world.signers {
        let token = signer.sign(&claims(&world.issuer("main"), json!({})));
        for _ in 0..3 {
            assert_eq!(world.ask("fraud", &token).status, 200);
        }
        assert_eq!(world.with("fraud", &format!("api-key: {token}\r\n")).status, 200);
    }
    let token = world.signers[1].sign(&claims("somebody", json!({"aud": ["x", "api://fraud"]})));
    assert_eq!(world.ask("direct", &token).status, 200);
    let token = world.signers[0].sign(&claims(&world.issuer("main"), json!({"tid": "us"})));
    assert_eq!(world.ask("strict", &token).status, 200);
    // The replica has no use for a token, and the log has none of it.
    let all = world.replica.all_seen();
    assert!(!all.is_empty() && all.iter().all(|seen| seen.all("authorization").is_empty()));
    watch::until(LIMIT, "a line with the type", || {
        world
            .router
            .lines()
            .iter()
            .any(|line| line.contains("\"AuthType\":\"Token\""))
            .then_some(())
    });
    let signature = token.rsplit('.').next().expect("three parts");
    assert!(!world.router.lines().iter().any(|line| line.contains(signature)));
    assert!(!world.router.errors().iter().any(|line| line.contains(signature)));
}

#[test]
fn bad_tokens_are_refused_with_the_reason_and_nothing_of_the_token() {
    let world = world();
    let issuer = world.issuer("main");
    let [rsa, ec, ed] = &world.signers;
    let good = |changes| rsa.sign(&claims(&issuer, changes));
    let now = watch::now_ms() / 1000;
    let other = Signer::es256("ec");
    let mut forged = good(json!({}));
    forged.truncate(forged.len() - 4);
    let cases = [
        ("fraud", good(json!({"aud": "api://fraude"})), "is for another audience"),
        ("fraud", good(json!({"aud": null})), "the token has no aud"),
        ("fraud", good(json!({"iss": "https://other.example"})), "issuer (iss) is not accepted"),
        (
            "fraud",
            good(json!({"exp": now - 120, "iat": now - 200, "nbf": now - 200})),
            "has expired",
        ),
        ("fraud", good(json!({"exp": null})), "the token has no exp"),
        ("fraud", good(json!({"nbf": now + 600})), "is not valid yet"),
        ("fraud", good(json!({"exp": now + 90_000})), "is valid for longer"),
        ("fraud", other.sign(&claims(&issuer, json!({}))), "signature is not valid"),
        ("fraud", forged, "is not"),
        ("fraud", "a.b.c".to_owned(), "is not"),
        ("fraud", "no-token-at-all".to_owned(), "is not of the form"),
        ("fraud", "eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0.".to_owned(), "is not of the form"),
        ("strict", good(json!({})), "lacks a claim"),
        ("strict", good(json!({"tid": "us", "scope": "scored read"})), "lacks a scope"),
        ("direct", ed.sign(&claims("somebody", json!({}))), "alg is not accepted"),
        ("own-only", ec.sign(&claims(&issuer, json!({}))), "issuer (iss) is not accepted"),
    ];
    for (endpoint, token, words) in cases {
        let answer = world.ask(endpoint, &token);
        let shown = format!("{answer:?}{}", answer.text());
        assert_eq!((answer.status, answer.code().as_str()), (401, "credential_invalid"), "{words}");
        let challenge = answer.field("www-authenticate").expect("a challenge");
        let begin = "Bearer realm=\"modelway\", error=\"invalid_token\", error_description=\"";
        assert!(challenge.starts_with(begin) && challenge.contains(words), "{words}: {challenge}");
        assert!(answer.text().contains(words), "{shown}");
        assert!(token.len() < 12 || !shown.contains(&token), "{shown}");
    }
    assert_eq!(world.with("fraud", "").code(), "credential_missing");
    let twice =
        format!("authorization: Bearer {0}\r\nauthorization: Bearer {0}\r\n", good(json!({})));
    assert_eq!(world.with("fraud", &twice).status, 400);
}

#[test]
fn keys_are_let_in_beside_tokens_only_where_the_endpoint_says_so() {
    let world = world();
    let token = world.signers[2].sign(&claims(&world.issuer("main"), json!({})));
    assert_eq!(world.ask("both", KEY).status, 200);
    assert_eq!(world.ask("both", &token).status, 200);
    assert_eq!(world.ask("both", "another-key").status, 401);
    assert_eq!(world.ask("fraud", KEY).status, 401);
}

#[test]
fn the_first_request_after_a_rotation_is_let_in_and_the_old_key_is_not() {
    let world = world();
    let (old, new) = (&world.known, Signer::eddsa("new"));
    let issuer = world.issuer("rotating");
    let (before, after) =
        (old.sign(&claims(&issuer, json!({}))), new.sign(&claims(&issuer, json!({}))));
    watch::until(LIMIT, "the first keys", || {
        (world.ask("rotating", &before).status == 200).then_some(())
    });
    world.idp.publish("rotating", &[&new]);
    // On a busy machine the keys may come after the second that a request waits for them.
    let begun = Instant::now();
    watch::until(LIMIT, "the new key", || {
        (world.ask("rotating", &after).status == 200).then_some(())
    });
    println!("a new key is let in after {:?}", begun.elapsed());
    let answer = world.ask("rotating", &before);
    assert_eq!((answer.status, answer.code().as_str()), (401, "credential_invalid"));
    assert!(answer.text().contains("signed with a key that its issuer does not publish"));
}

#[test]
fn many_made_up_key_names_make_one_fetch() {
    let world = world();
    let (known, guesser) = (&world.known, Signer::eddsa("guesser"));
    let issuer = world.issuer("guessed");
    let good = known.sign(&claims(&issuer, json!({})));
    watch::until(LIMIT, "the first keys", || {
        (world.ask("guessed", &good).status == 200).then_some(())
    });
    let (begun, before) = (Instant::now(), world.idp.asked("guessed/keys"));
    let claims = claims(&issuer, json!({}));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (world, guesser, claims) = (&world, &guesser, &claims);
            scope.spawn(move || {
                for n in 0..50 {
                    let token = guesser.sign_as(&format!("{thread}-{n}"), claims);
                    assert_eq!(world.ask("guessed", &token).status, 401);
                }
            });
        }
    });
    let (asked, took) = (world.idp.asked("guessed/keys") - before, begun.elapsed());
    println!("400 made-up key names in {took:?}: {asked} fetches");
    let allowed = usize::try_from(took.as_secs() / 30).expect("small") + 1;
    assert!(asked <= allowed, "{asked} fetches in {took:?}");
    assert_eq!(world.ask("guessed", &good).status, 200);
}

#[test]
fn an_issuer_that_leaves_stops_no_known_key() {
    let world = world();
    let (known, unknown) = (&world.known, Signer::es256("unknown"));
    let issuer = world.issuer("leaving");
    let good = || known.sign(&claims(&issuer, json!({"jti": watch::now_ms()})));
    watch::until(LIMIT, "the first keys", || {
        (world.ask("leaving", &good()).status == 200).then_some(())
    });
    world.await_shown(&issuer, "1 keys, fetched");
    world.idp.act("leaving/.well-known/openid-configuration", Act::Close);
    // Asks the issuer out of turn, so that the router notices.
    let bad = unknown.sign(&claims(&issuer, json!({})));
    watch::until(LIMIT, "the router notices", || {
        assert_eq!(world.ask("leaving", &bad).status, 401);
        world.shown(&issuer).starts_with("[!]").then_some(())
    });
    world.await_shown(&issuer, "the last fetch failed: the answer could not be read");
    for _ in 0..20 {
        assert_eq!(world.ask("leaving", &good()).status, 200);
    }
    let labels = [issuer.as_str(), "outcome=\"invalid\""];
    assert!(watch::metric(&world.router, "modelway_issuer_fetches_total", &labels) >= 1.0);
    assert!(watch::metric(&world.router, "modelway_issuer_keys", &[&issuer]) >= 1.0);
}

#[test]
fn an_issuer_that_was_never_reached_lets_nobody_in_and_is_no_fault_of_the_client() {
    let world = world();
    let signer = &world.signers[1];
    let foreign = world.foreign.uri("main");
    for (endpoint, issuer, words) in [
        ("never", world.issuer("never"), "answered with status 500"),
        ("foreign", foreign.clone(), "cannot connect"),
    ] {
        let answer = world.ask(endpoint, &signer.sign(&claims(&issuer, json!({}))));
        assert_eq!((answer.status, answer.code().as_str()), (503, "issuer_unavailable"));
        assert!(
            answer.field("retry-after").is_some() && answer.field("www-authenticate").is_none()
        );
        world.await_shown(&issuer, words);
        assert!(world.shown(&issuer).contains("no keys yet"));
        // A token of nobody is the client's fault all the same.
        let nobody = signer.sign(&claims("https://nobody.example", json!({})));
        assert_eq!(world.ask(endpoint, &nobody).status, 401);
    }
    assert_eq!(world.foreign.asked("main/.well-known/openid-configuration"), 0);
}

#[test]
fn a_slow_issuer_holds_a_request_for_a_second_and_no_other_one() {
    let world = world();
    let signer = Signer::eddsa("slow");
    world.idp.act("slow/.well-known/openid-configuration", Act::Hang);
    let token = signer.sign(&claims(&world.issuer("slow"), json!({})));
    let begun = Instant::now();
    assert_eq!(world.ask("slow", &token).code(), "issuer_unavailable");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let good = world.signers[2].sign(&claims(&world.issuer("main"), json!({})));
    assert_eq!(world.ask("fraud", &good).status, 200);
    world.idp.publish("slow", &[&signer]);
    watch::until(Duration::from_secs(60), "it has come to itself", || {
        (world.ask("slow", &token).status == 200).then_some(())
    });
}

#[test]
fn grpc_is_told_with_its_own_status() {
    let world = world();
    let issuer = world.issuer("never");
    let token = world.signers[1].sign(&claims(&issuer, json!({})));
    let status = |endpoint: &str, token: &str| {
        let bearer = format!("Bearer {token}");
        let route = format!("/api/v1/endpoint/{endpoint}");
        let fields = [
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("x-ms-aml-grpc-service-route", route.as_str()),
            ("authorization", bearer.as_str()),
        ];
        let request = h2_request("POST", "/inference.GRPCInferenceService/ModelInfer", &fields);
        let answer = with_h2(world.router.data, async |sender| h2_ask(&sender, request, b"").await);
        let answer = answer.expect("an answer");
        answer.field("grpc-status").map(str::to_owned)
    };
    assert_eq!(status("fraud", "a.b.c").as_deref(), Some("16"));
    assert_eq!(status("never", &token).as_deref(), Some("14"));
}

#[test]
fn an_edit_brings_an_issuer_and_takes_one_away() {
    let (authority, signer) = (Authority::new(), Signer::es256("added"));
    let (idp, replica) = (Idp::start(Some(&authority)), Replica::start());
    idp.publish("added", &[&signer]);
    idp.act("plain", ok(&crate::idp::keys(&[&signer]).to_string()));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ca = folder.path().join("ca.pem");
    authority.write(&ca);
    let issuer = trust(&idp.uri("added"), "api://fraud", &json!({}));
    let open = endpoint("open", &json!({"mode": "None"}), &replica);
    let with = open.clone() + &endpoint("added", &tokens_of(&[issuer]), &replica);
    let router = Router::start(&open, &["--issuer-ca", ca.to_str().expect("letters")]);
    router.edit(&with);
    let token = signer.sign(&claims(&idp.uri("added"), json!({})));
    let ask = |endpoint: &str| {
        let fields = format!("authorization: Bearer {token}\r\n");
        wire::ask(
            router.data,
            request(&format!("POST /api/v1/endpoint/{endpoint}/score"), &fields, "{}"),
        )
    };
    // The replica is probed first, so an early request may find none; it is never let in or out wrongly.
    router.eventually(LIMIT, "the new endpoint", |_| {
        let answer = ask("added");
        assert!(!matches!(answer.status, 401 | 403), "{}", answer.text());
        (answer.status == 200).then_some(())
    });
    assert!(router.admin_get("/readyz?verbose").1.contains(&idp.uri("added")));
    router.edit(&open);
    router.eventually(LIMIT, "it is gone", |_| (ask("added").status == 404).then_some(()));
    router.eventually(LIMIT, "its issuer is gone", |router| {
        let text = router.admin_get("/readyz?verbose").1 + &router.admin_get("/metrics").1;
        (!text.contains(&idp.uri("added"))).then_some(())
    });
}
