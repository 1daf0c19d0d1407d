//! Contract §7: a secret of its own in every input, and none of them in anything that the router
//! says, in its most talkative mode.
//!
//! Searched: both logs with everything switched on, metrics, health, the admin API and its
//! description, and every answer that the router itself makes. What replicas are sent is compared
//! with what they may see. A failure names the input and the output, never the secret.

use std::{fs, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::support::{
    replica::{Replica, Step, answer},
    router::Router,
    watch,
    wire::{Answer, Wire, ask, h2_ask, h2_request, with_h2},
};

/// Every place in which a secret comes in.
const PLACES: [&str; 21] = [
    "primaryKey of a Secret",
    "secondaryKey of a Secret, in base64",
    "a wrong key in Authorization",
    "a wrong api-key",
    "Basic credentials",
    "a token",
    "two Authorization fields",
    "Proxy-Authorization",
    "the query string",
    "a cookie",
    "a field of a request",
    "a trailer",
    "the body of a request",
    "a field of a model's answer",
    "the body of a model's answer",
    "a line of a head that is not HTTP",
    "a chunk that is not HTTP",
    "the user information of a target",
    "the environment of replica processes",
    "a bad key in an edited file",
    "a field that an edited file does not know",
];

/// The admin port's addresses, without the fields of a list.
const ADMIN: [&str; 12] = [
    "/metrics",
    "/livez",
    "/healthz",
    "/readyz",
    "/readyz?verbose",
    "/openapi.json",
    "/api/v1/endpoints",
    "/api/v1/endpoints/keyed",
    "/api/v1/endpoints/process",
    "/api/v1/replicas",
    "/api/v1/decisions",
    "/api/v1/routers",
];

/// The secrets, one for each place, different in every run.
struct Canaries(Vec<String>);

impl Canaries {
    fn new() -> Self {
        let run = uuid::Uuid::new_v4().simple().to_string();
        // Letters and digits only, so that no encoding of a log or a URL changes it.
        Self((0..PLACES.len()).map(|place| format!("cnry{place:02}{run}")).collect())
    }

    fn of(&self, place: &str) -> &str {
        let index = PLACES.iter().position(|known| *known == place).expect("a place of the list");
        &self.0[index]
    }

    /// Which secrets a text holds, plain or in base64.
    fn found_in(&self, output: &str, text: &str) -> Vec<String> {
        let spellings = |canary: &str| {
            // In base64 a text looks different at each of three offsets; its inner part does not
            // depend on what stands around it.
            let shifted = (0..3).map(|shift| {
                let coded = STANDARD.encode(format!("{}{canary}", "x".repeat(shift)));
                coded.get(4..coded.len() - 4).expect("base64 is ASCII").to_owned()
            });
            shifted.chain([canary.to_owned()]).collect::<Vec<_>>()
        };
        let places = PLACES.iter().zip(&self.0);
        let found = places.flat_map(|(place, canary)| {
            let spellings = spellings(canary);
            (1..).zip(text.lines()).filter_map(move |(number, line)| {
                let held = spellings.iter().any(|spelling| line.contains(spelling.as_str()));
                held.then(|| format!("{place}: in {output}, line {number}"))
            })
        });
        found.collect()
    }
}

struct World {
    router: Router,
    replica: Replica,
    canaries: Canaries,
}

impl World {
    fn start() -> Self {
        let canaries = Canaries::new();
        let replica = Replica::start();
        let (field, body) = (
            canaries.of("a field of a model's answer"),
            canaries.of("the body of a model's answer"),
        );
        let fields = format!("x-model: {field}\r\nset-cookie: s={field}\r\n");
        let told = answer("200 OK", &fields, body);
        replica.script("tells", move |_, _| vec![Step::Body, Step::Send(told.clone())]);
        let broken = format!("HTTP/1.1 200 OK\r\nx-model {field}\r\n\r\n{body}").into_bytes();
        replica.script("broken", move |_, _| vec![Step::Send(broken.clone()), Step::Close]);
        replica.script("closes", |_, _| vec![Step::Body, Step::Close]);
        let yaml = endpoints(&canaries, &replica);
        let arguments = ["--access-log", "on", "--log-format", "json"];
        // Every target at its lowest level, the libraries included.
        let router = Router::start_with(&yaml, &arguments, &[("MODELWAY_LOG", "trace")]);
        Self { router, replica, canaries }
    }

    /// Sends a request of which the router itself makes the answer.
    fn refused(&self, bytes: &str, status: u16) -> Answer {
        let mut wire = Wire::connect(self.router.data);
        wire.try_send(bytes);
        let answer = wire.try_answer(false).expect("an answer");
        assert_eq!(answer.status, status, "{}", answer.code());
        self.hold_nothing(&format!("an answer with {status} {}", answer.code()), &shown(&answer));
        answer
    }

    fn hold_nothing(&self, output: &str, text: &str) {
        let found = self.canaries.found_in(output, text);
        assert!(found.is_empty(), "secrets in what the router says: {found:#?}");
    }
}

fn shown(answer: &Answer) -> String {
    let fields = answer.fields.iter().map(|(name, value)| format!("{name}: {value}\n"));
    fields.collect::<String>() + &answer.text()
}

/// The endpoint file.
fn endpoints(canaries: &Canaries, replica: &Replica) -> String {
    let primary = canaries.of("primaryKey of a Secret");
    let secondary = STANDARD.encode(canaries.of("secondaryKey of a Secret, in base64"));
    let env = canaries.of("the environment of replica processes");
    let address = replica.address;
    let head = "apiVersion: modelway.dev/v1alpha1\nkind: InferenceEndpoint\n";
    let addresses = format!(
        "versions: [{{name: only, maxConcurrentRequestsPerReplica: 100, \
         targetRef: {{kind: Addresses, addresses: [\"{address}\"]}}, probe: {{tcp: {{}}}}}}]"
    );
    let auth = "mode: Key, secretRef: {name: keys}";
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: keys}}\n\
         stringData: {{primaryKey: {primary}}}\ndata: {{secondaryKey: {secondary}}}\n---\n\
         {head}metadata: {{name: keyed}}\nspec:\n  auth: {{{auth}}}\n  {addresses}\n---\n\
         {head}metadata: {{name: trusted}}\nspec:\n  auth: {{{auth}, forwardCredentials: true}}\n  \
         {addresses}\n---\n\
         {head}metadata: {{name: process}}\nspec:\n  auth: {{{auth}}}\n  versions: [{{name: only, \
         targetRef: {{kind: Process, env: {{MODEL_KEY: {env}}}, command: [modelway, model, \
         --port, \"{{port}}\", --replica, \"{{replica}}\"]}}}}]\n"
    )
}

fn score(endpoint: &str, query: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /api/v1/endpoint/{endpoint}/score{query} HTTP/1.1\r\nhost: test\r\n{fields}\
         content-length: {length}\r\n\r\n{body}"
    )
}

/// Good requests that carry secrets in every place that is forwarded.
fn speak_well(world: &World) {
    let of = |place| world.canaries.of(place);
    let (key, other) = (of("primaryKey of a Secret"), of("secondaryKey of a Secret, in base64"));
    let carried = format!(
        "proxy-authorization: Basic {}\r\ncookie: session={}\r\nx-secret: {}\r\n",
        of("Proxy-Authorization"),
        of("a cookie"),
        of("a field of a request")
    );
    let query = format!("?code={0}&sig={0}", of("the query string"));
    let body = of("the body of a request");
    for script in ["", "tells"] {
        for (name, credential) in [
            ("keyed", format!("authorization: Bearer {key}\r\n")),
            ("trusted", format!("api-key: {other}\r\n")),
        ] {
            let fields = format!("x-test: good\r\nx-script: {script}\r\n{credential}{carried}");
            let answer = ask(world.router.data, score(name, &query, &fields, body));
            assert_eq!(answer.status, 200, "{name} {script}");
        }
    }
    let trailer = of("a trailer");
    let chunked = format!(
        "POST /api/v1/endpoint/keyed/score HTTP/1.1\r\nhost: test\r\nx-test: good\r\n\
         api-key: {other}\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nx-secret: {trailer}\r\n\r\n"
    );
    assert_eq!(ask(world.router.data, chunked).status, 200);
    with_h2(world.router.data, async |sender| {
        let bearer = format!("Bearer {key}");
        let fields =
            [("authorization", bearer.as_str()), ("cookie", of("a cookie")), ("x-test", "good")];
        let path = format!("/api/v1/endpoint/keyed/score{query}");
        let good = h2_ask(&sender, h2_request("POST", &path, &fields), b"{}").await;
        assert_eq!(good.expect("an answer").status, 200);
        let wrong = format!("Bearer {}", of("a token"));
        let bad = h2_request("POST", &path, &[("authorization", &wrong), ("x-test", "good")]);
        let bad = h2_ask(&sender, bad, b"{}").await.expect("an answer");
        assert_eq!(bad.status, 401);
        world.hold_nothing("an answer over HTTP/2", &shown(&bad));
    });
}

/// Requests and answers with a fault, each with a secret in it.
fn speak_badly(world: &World) {
    let of = |place| world.canaries.of(place);
    let key = format!("authorization: Bearer {}\r\n", of("primaryKey of a Secret"));
    let token = format!("eyJhbGciOiJub25lIn0.{}.", STANDARD.encode(of("a token")));
    let basic = STANDARD.encode(format!("user:{}", of("Basic credentials")));
    let twice = format!("authorization: Bearer {}\r\n", of("two Authorization fields"));
    for (field, status) in [
        (format!("authorization: Bearer {}\r\n", of("a wrong key in Authorization")), 401),
        (format!("authorization: {}\r\n", of("a wrong key in Authorization")), 401),
        (format!("api-key: {}\r\n", of("a wrong api-key")), 401),
        (format!("authorization: Basic {basic}\r\n"), 401),
        (format!("authorization: Bearer {token}\r\n"), 401),
        (twice.repeat(2), 400),
    ] {
        let query = format!("?code={}", of("the query string"));
        let cookie = format!("cookie: session={}\r\n{field}", of("a cookie"));
        world.refused(&score("keyed", &query, &cookie, of("the body of a request")), status);
    }
    for script in ["closes", "broken"] {
        let fields =
            format!("x-script: {script}\r\nx-secret: {}\r\n{key}", of("a field of a request"));
        world.refused(&score("keyed", "", &fields, of("the body of a request")), 502);
    }
    let line = of("a line of a head that is not HTTP");
    world.refused(&score("keyed", "", &format!("{key}x-secret {line}\r\n"), ""), 400);
    world.refused(&score("keyed", "", &format!("{key}x-secret: {line}\n"), ""), 400);
    let chunk = of("a chunk that is not HTTP");
    world.refused(
        &format!(
            "POST /api/v1/endpoint/keyed/score HTTP/1.1\r\nhost: test\r\n{key}\
             transfer-encoding: chunked\r\n\r\n{chunk}\r\n"
        ),
        400,
    );
    let user = of("the user information of a target");
    world.refused(
        &format!(
            "GET http://user:{user}@test/api/v1/endpoint/keyed HTTP/1.1\r\nhost: test\r\n{key}\r\n"
        ),
        400,
    );
}

/// Bad edits of the endpoint file, with a secret in each fault.
fn edit_badly(world: &World) {
    let good = endpoints(&world.canaries, &world.replica);
    let key = world.canaries.of("a bad key in an edited file");
    let field = world.canaries.of("a field that an edited file does not know");
    let given = format!("primaryKey: {}", world.canaries.of("primaryKey of a Secret"));
    let bad_key = good.replacen(&given, &format!("primaryKey: '{key} {key}'"), 1);
    // Below a Secret the name of a field can be a value that has slipped.
    let bad_field =
        good.replacen("data: {secondaryKey", &format!("data: {{{field}: 1, secondaryKey"), 1);
    for (bad, count) in [(bad_key, 1.0), (bad_field, 2.0)] {
        world.router.edit(&bad);
        watch::until(Duration::from_secs(20), "the edit is refused", || {
            let refused =
                watch::metric(&world.router, "modelway_configuration_refusals_total", &[]);
            (refused >= count).then_some(())
        });
    }
}

#[test]
fn no_secret_of_any_input_is_in_anything_the_router_says() {
    let world = World::start();
    speak_well(&world);
    speak_badly(&world);
    edit_badly(&world);
    await_log(&world);
    for path in ADMIN {
        let (status, text) = world.router.admin_get(path);
        assert_eq!(status, 200, "{path}");
        world.hold_nothing(path, &text);
    }
    world.hold_nothing("standard output", &world.router.lines().join("\n"));
    world.hold_nothing("standard error", &world.router.errors().join("\n"));
    what_replicas_saw(&world);
}

/// The logs have to hold what is searched: every request in the access log, and the libraries'
/// own words at their lowest level.
fn await_log(world: &World) {
    watch::until(Duration::from_secs(20), "the access log of every request", || {
        let lines = world.router.lines();
        let requests = lines.iter().filter(|line| line.contains("\"XRequestId\"")).count();
        // Five good ones over HTTP/1, two over HTTP/2, six without a credential, two with a bad
        // replica, and those that get as far as a route.
        (requests >= 15).then_some(())
    });
    let errors = world.router.errors();
    for word in ["\"level\":\"TRACE\"", "\"target\":\"h2"] {
        assert!(errors.iter().any(|line| line.contains(word)), "the log lacks {word}");
    }
}

/// Credentials reach a replica only where the endpoint says so; everything else reaches it, which
/// also shows that the secrets were really sent.
fn what_replicas_saw(world: &World) {
    let of = |place| world.canaries.of(place);
    let seen = world.replica.seen("good");
    assert_eq!(seen.len(), 6, "the good requests");
    for request in &seen {
        assert!(request.field("proxy-authorization").is_none(), "{}", request.line());
        assert!(request.field("authorization").is_none(), "{}", request.line());
    }
    let keys = seen.iter().filter_map(|request| request.field("api-key"));
    assert_eq!(keys.collect::<Vec<_>>(), [of("secondaryKey of a Secret, in base64"); 2], "trusted");
    let heads: String = seen.iter().map(|request| request.head.as_str()).collect();
    for place in ["the query string", "a cookie", "a field of a request"] {
        assert!(heads.contains(of(place)), "{place} was not forwarded");
    }
    assert!(!heads.contains(of("a trailer")), "a trailer became a field");
    let body = of("the body of a request").as_bytes();
    assert!(seen.iter().filter(|request| request.body == body).count() == 4, "bodies");
}

#[test]
fn a_search_finds_a_secret_in_each_of_its_spellings() {
    let canaries = Canaries::new();
    for (place, canary) in PLACES.iter().zip(&canaries.0) {
        for text in [
            format!("{{\"field\":\"{canary}\"}}"),
            STANDARD.encode(canary),
            STANDARD.encode(format!("a:{canary}")),
            STANDARD.encode(format!("user:{canary}\n")),
        ] {
            let found = canaries.found_in("a text", &format!("first line\n{text}\n"));
            assert_eq!(found, [format!("{place}: in a text, line 2")]);
        }
    }
    assert!(canaries.found_in("a text", "nothing here").is_empty());
}

/// A crash must not write keys to a disk.
#[test]
fn a_router_leaves_no_core_file() {
    let world = crate::world::world();
    let limits = fs::read_to_string(format!("/proc/{}/limits", world.router.pid()));
    let limits = limits.expect("it runs");
    let cores = limits.lines().find(|line| line.starts_with("Max core file size"));
    let words: Vec<&str> = cores.expect("a limit of Linux").split_whitespace().collect();
    assert_eq!(words[4], "0", "the soft limit: {words:?}");
}
