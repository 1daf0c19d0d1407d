//! Bad endpoints, each with the place and the words of its one problem.

use super::*;

/// Line 4 and 5, then the case from line 6.
fn in_spec(lines: &str) -> String {
    let version = "{name: blue, targetRef: {kind: Addresses, addresses: []}}";
    format!("{HEAD}spec:\n  versions: [{version}]\n{}", indented(lines, 2))
}

/// Lines 4 to 7, then the case from line 8 at column 7.
fn in_version(lines: &str) -> String {
    let target = "{kind: Addresses, addresses: []}";
    let head = format!("spec:\n  versions:\n    - name: blue\n      targetRef: {target}\n");
    format!("{HEAD}{head}{}", indented(lines, 6))
}

/// Lines 4 to 7, then the case from line 8 at column 9.
fn in_target(lines: &str) -> String {
    let head = "spec:\n  versions:\n    - name: blue\n      targetRef:\n";
    format!("{HEAD}{head}{}", indented(lines, 8))
}

/// Line 4 and 5, then the case from line 6 at column 5.
fn in_versions(lines: &str) -> String {
    format!("{HEAD}spec:\n  versions:\n{}", indented(lines, 4))
}

/// A good endpoint that names a Secret, then the case as a Secret from line 10.
fn with_secret(lines: &str) -> String {
    let secret = "---\napiVersion: v1\nkind: Secret\n";
    format!("{}{secret}{lines}", in_spec("auth: {secretRef: {name: keys}}\n"))
}

fn indented(lines: &str, by: usize) -> String {
    lines.lines().map(|line| format!("{:by$}{line}\n", "")).collect::<Vec<_>>().concat()
}

const GOOD_TARGET: &str = "targetRef: {kind: Addresses, addresses: []}";

/// Each text has exactly one problem: `line:column: path: …`, and the message has these words.
fn assert_each(cases: &[(String, &str, &str)]) {
    let fits = |(text, place, words): &&(String, &str, &str)| {
        let all = problems(&[text]);
        let start = format!("0.yaml:{place}: ");
        matches!(all.as_slice(), [one] if one.starts_with(&start) && one.contains(words))
    };
    let misses: Vec<_> = cases
        .iter()
        .filter(|case| !fits(case))
        .map(|(text, place, words)| {
            format!("expected {place}: {words}\nfound {:#?}\nin\n{text}", problems(&[text]))
        })
        .collect();
    assert!(misses.is_empty(), "{}", misses.join("\n\n"));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn wrong_fields_and_types_are_found_where_they_stand() {
    assert_each(&[
        (in_spec("versionz: []"), "6:3: spec.versionz", "unknown field; did you mean `versions`?"),
        (in_spec("nothingLikeIt: 1"), "6:3: spec.nothingLikeIt", "known here: `auth`, `limits`"),
        (
            in_version("trafficPercentil: 3"),
            "8:7: spec.versions[0].trafficPercentil",
            "did you mean `trafficPercentile`?",
        ),
        (
            in_version("autoscale: {maxReplica: 3}"),
            "8:19: spec.versions[0].autoscale.maxReplica",
            "did you mean `maxReplicas`?",
        ),
        (
            in_version("autoscale: {maxReplica: 30, minReplicas: 20}"),
            "8:19: spec.versions[0].autoscale.maxReplica",
            "did you mean `maxReplicas`?",
        ),
        (
            in_version("trafficPercentile: 50%"),
            "8:26: spec.versions[0].trafficPercentile",
            "must be an integer, not a text",
        ),
        (
            in_version("trafficPercentile: 12.5"),
            "8:26: spec.versions[0].trafficPercentile",
            "must be an integer, not a number with a fraction",
        ),
        (in_version("port: 99999999999999999999"), "8:13: spec.versions[0].port", "beyond 64 bits"),
        (in_version("port:"), "8:11: spec.versions[0].port", "give a value or remove the field"),
        (
            in_version("isDefault: yes"),
            "8:18: spec.versions[0].isDefault",
            "must be `true` or `false`, not a text",
        ),
        (in_version("type: control"), "8:13: spec.versions[0].type", "did you mean `Control`?"),
        (
            in_version("type: [Control]"),
            "8:13: spec.versions[0].type",
            "must be one of `Control`, `Treatment`",
        ),
        (
            in_version("onDisconnect: abort"),
            "8:21: spec.versions[0].onDisconnect",
            "use one of `finish`, `cancel`",
        ),
        (
            in_version("autoscale: [1, 2]"),
            "8:18: spec.versions[0].autoscale",
            "must be a mapping, not a list",
        ),
        (in_spec("hosts: shop.example"), "6:10: spec.hosts", "must be a list, not a text"),
        (in_spec("hosts: [{a: 1}]"), "6:11: spec.hosts[0]", "must be a string, not a mapping"),
        (in_spec("errorProfile: azure"), "6:17: spec.errorProfile", "`kubernetes`, `managed`"),
        (in_spec("auth: {mode: key}"), "6:16: spec.auth.mode", "did you mean `Key`?"),
        (in_spec("<<: {a: 1}"), "6:3: spec[\"<<\"]", "merge keys are not supported"),
        (
            in_target("kind: Process\ncommand: [a, \"{port}\"]\nenv: {A: 1}"),
            "10:18: spec.versions[0].targetRef.env.A",
            "write it in quotes",
        ),
        (
            in_target("kind: Process\ncommand: serve --port {port}"),
            "9:18: spec.versions[0].targetRef.command",
            "must be a list, not a text",
        ),
        (
            in_version("probe: {tcp: {port: 1}}"),
            "8:21: spec.versions[0].probe.tcp.port",
            "unknown field",
        ),
    ]);
}

#[test]
fn missing_fields_are_found_at_their_parent() {
    assert_each(&[
        (HEAD.to_owned(), "1:1: spec", "is required"),
        (format!("{HEAD}spec:\n  auth: {{}}\n"), "5:3: spec.versions", "is required"),
        (format!("{HEAD}spec:\n  versions:\n"), "5:11: spec.versions", "holds no version"),
        (in_versions(&format!("- {GOOD_TARGET}\n")), "6:7: spec.versions[0].name", "is required"),
        (in_versions("- name: blue"), "6:7: spec.versions[0].targetRef", "is required"),
        (in_target("addresses: []"), "8:9: spec.versions[0].targetRef.kind", "is required"),
        (
            in_target("kind: Addresses"),
            "8:9: spec.versions[0].targetRef.addresses",
            "write `[]` for none yet",
        ),
        (
            in_target("kind: Process"),
            "8:9: spec.versions[0].targetRef.command",
            "is required and not empty",
        ),
        (
            in_target("kind: Process\ncommand: []"),
            "9:18: spec.versions[0].targetRef.command",
            "is required and not empty",
        ),
        (in_spec("auth: {secretRef: {}}"), "6:21: spec.auth.secretRef.name", "is required"),
        (in_spec("").replace("{name: demo}", "{}"), "3:11: metadata.name", "is required"),
        (
            in_spec("").replace("apiVersion: modelway.dev/v1alpha1", "{}").replace("{}\n", ""),
            "1:1: apiVersion",
            "is required",
        ),
        (in_spec("").replace("kind: InferenceEndpoint\n", ""), "1:1: kind", "is required"),
    ]);
}

#[test]
fn names_versions_and_shares_are_checked() {
    let two = |first: &str, second: &str| {
        let version = |name: &str, rest: &str| format!("- {{name: {name}, {rest}{GOOD_TARGET}}}\n");
        in_versions(&(version("blue", first) + &version("green", second)))
    };
    let seven: Vec<_> = (0..7).map(|i| format!("- {{name: v-{i}, {GOOD_TARGET}}}\n")).collect();
    assert_each(&[
        (in_spec("").replace("demo", "Demo"), "3:18: metadata.name", "3 to 32 characters"),
        (in_spec("").replace("demo", "x"), "3:18: metadata.name", "3 to 32 characters"),
        (in_spec("").replace("demo", "123"), "3:18: metadata.name", "write it in quotes"),
        (in_version("").replace("blue", "bl"), "6:13: spec.versions[0].name", "3 to 32"),
        (
            two("", "").replace("green", "blue"),
            "7:14: spec.versions[1].name",
            "defined twice, first at 0.yaml:6:14",
        ),
        (
            in_versions(&seven.concat()),
            "6:5: spec.versions",
            "7 versions are given; an endpoint has 1 to 6",
        ),
        (
            in_version("trafficPercentile: 101"),
            "8:26: spec.versions[0].trafficPercentile",
            "101 is not within 0 to 100",
        ),
        (
            in_version("trafficPercentile: -1"),
            "8:26: spec.versions[0].trafficPercentile",
            "-1 is not within 0 to 100",
        ),
        (
            two("trafficPercentile: 60, ", "trafficPercentile: 70, "),
            "7:40: spec.versions[1].trafficPercentile",
            "add up to 130; at most 100",
        ),
        (
            two("isDefault: true, ", "isDefault: true, "),
            "7:32: spec.versions[1].isDefault",
            "version `blue` is the default already",
        ),
        (
            two("type: Control, ", "type: Control, "),
            "7:27: spec.versions[1].type",
            "a second `Control`",
        ),
        (
            in_version("mirrorPercentile: 10"),
            "8:25: spec.versions[0].mirrorPercentile",
            "mirroring is not served yet",
        ),
        (
            in_version("mirrorPercentile: 1000"),
            "8:25: spec.versions[0].mirrorPercentile",
            "not within 0 to 100",
        ),
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn numbers_and_durations_are_checked_against_their_bounds() {
    assert_each(&[
        (in_version("port: 0"), "8:13: spec.versions[0].port", "not within 1 to 65535"),
        (in_version("port: 65536"), "8:13: spec.versions[0].port", "not within 1 to 65535"),
        (in_version("grpcPort: -5"), "8:17: spec.versions[0].grpcPort", "0 means the same"),
        (
            in_version("maxConcurrentRequestsPerReplica: 0"),
            "8:40: spec.versions[0].maxConcurrentRequestsPerReplica",
            "not within 1 to 1000 slots",
        ),
        (
            in_version("maxConcurrentRequestsPerReplica: 1001"),
            "8:40: spec.versions[0].maxConcurrentRequestsPerReplica",
            "not within 1 to 1000 slots",
        ),
        (
            in_version("maxQueueLength: 100001"),
            "8:23: spec.versions[0].maxQueueLength",
            "not within 0 to 100000",
        ),
        (
            in_version("maxQueueWait: 500"),
            "8:21: spec.versions[0].maxQueueWait",
            "`500` has no unit; write `500ms` or `500s`",
        ),
        (
            in_version("maxQueueWait: \"500\""),
            "8:21: spec.versions[0].maxQueueWait",
            "`500` has no unit",
        ),
        (
            in_version("maxQueueWait: soon"),
            "8:21: spec.versions[0].maxQueueWait",
            "`soon` is not a duration",
        ),
        (
            in_version("maxQueueWait: [1s]"),
            "8:21: spec.versions[0].maxQueueWait",
            "must be a duration like `500ms`",
        ),
        (
            in_version("maxQueueWait: 61m"),
            "8:21: spec.versions[0].maxQueueWait",
            "1h1m is too long; at most 1h",
        ),
        (
            in_version("requestTimeout: 0"),
            "8:23: spec.versions[0].requestTimeout",
            "0s is too short; use 1ms to 5m",
        ),
        (
            in_version("requestTimeout: 301s"),
            "8:23: spec.versions[0].requestTimeout",
            "5m1s is too long; at most 5m",
        ),
        (
            in_version("streamIdleTimeout: 0s"),
            "8:26: spec.versions[0].streamIdleTimeout",
            "too short",
        ),
        (
            in_version("autoscale: {minReplicas: 11}"),
            "8:32: spec.versions[0].autoscale.minReplicas",
            "11 is above `maxReplicas`, which is 10",
        ),
        (
            in_version("autoscale: {minReplicas: 0, maxReplicas: 0}"),
            "8:48: spec.versions[0].autoscale.maxReplicas",
            "not within 1 to 1000",
        ),
        (
            in_version("autoscale: {maxReplicas: 1001}"),
            "8:32: spec.versions[0].autoscale.maxReplicas",
            "not within 1 to 1000",
        ),
        (
            in_version("autoscale: {minReplicas: -1}"),
            "8:32: spec.versions[0].autoscale.minReplicas",
            "not within 0 to 1000",
        ),
        (
            in_version("autoscale: {targetUtilization: 0}"),
            "8:38: spec.versions[0].autoscale.targetUtilization",
            "not within 1 to 100",
        ),
        (
            in_version("autoscale: {scaleDownWindow: 2h}"),
            "8:36: spec.versions[0].autoscale.scaleDownWindow",
            "2h is too long; at most 1h",
        ),
        (in_version("replicas: 1001"), "8:17: spec.versions[0].replicas", "not within 0 to 1000"),
        (in_version("probe: {period: 1ms}"), "8:23: spec.versions[0].probe.period", "too short"),
        (in_version("probe: {timeout: 2m}"), "8:24: spec.versions[0].probe.timeout", "too long"),
        (
            in_spec("limits: {maxPayload: 101MiB}"),
            "6:24: spec.limits.maxPayload",
            "above the router's limit of 104857600 bytes",
        ),
        (in_spec("limits: {maxPayload: 0}"), "6:24: spec.limits.maxPayload", "use at least 1"),
        (in_spec("limits: {maxPayload: -1}"), "6:24: spec.limits.maxPayload", "cannot be negative"),
        (
            in_spec("limits: {maxPayload: lots}"),
            "6:24: spec.limits.maxPayload",
            "`lots` is not a size; write it like `100MiB`",
        ),
        (in_spec("auth: {token: {lifetime: 1s}}"), "6:28: spec.auth.token.lifetime", "too short"),
    ]);
}

#[test]
fn texts_are_checked_against_their_grammar() {
    assert_each(&[
        (
            in_version("scoringPath: score"),
            "8:20: spec.versions[0].scoringPath",
            "must start with `/`",
        ),
        (in_version("scoringPath: /a/../b"), "8:20: spec.versions[0].scoringPath", "`..` segments"),
        (in_version("scoringPath: /a//b"), "8:20: spec.versions[0].scoringPath", "empty"),
        (in_version("scoringPath: /a%2fb"), "8:20: spec.versions[0].scoringPath", "escaped slash"),
        (
            in_version("scoringPath: /a%2"),
            "8:20: spec.versions[0].scoringPath",
            "incomplete escape",
        ),
        (
            in_version("scoringPath: /a?b=c"),
            "8:20: spec.versions[0].scoringPath",
            "must be a path without query; the character `?`",
        ),
        (
            in_version("probe: {http: healthz}"),
            "8:21: spec.versions[0].probe.http",
            "must start with `/`",
        ),
        (
            in_version("probe: {http: /, tcp: {}}"),
            "8:14: spec.versions[0].probe",
            "keep one of `http`, `tcp`, `grpc`, `none`",
        ),
        (in_spec("stickyBy: {}"), "6:13: spec.stickyBy", "none is given"),
        (in_spec("stickyBy: {header: a, cookie: b}"), "6:13: spec.stickyBy", "both are given"),
        (
            in_spec("stickyBy: {header: x user}"),
            "6:22: spec.stickyBy.header",
            "not a valid name of a header",
        ),
        (
            in_spec("stickyBy: {cookie: \"a;b\"}"),
            "6:22: spec.stickyBy.cookie",
            "not a valid name of a cookie",
        ),
        (
            in_spec("hosts: [shop.example:8080]"),
            "6:11: spec.hosts[0]",
            "must not name a port; remove `:8080`",
        ),
        (in_spec("hosts: [\"http://shop.example\"]"), "6:11: spec.hosts[0]", "without scheme"),
        (in_spec("hosts: [\"*.example\"]"), "6:11: spec.hosts[0]", "without wildcards"),
        (in_spec("hosts: [a.example, \"\"]"), "6:22: spec.hosts[1]", "is empty"),
        (
            in_spec("hosts: [a.example, A.Example]"),
            "6:22: spec.hosts[1]",
            "host `a.example` belongs to endpoint `demo` already, at 0.yaml:6:11",
        ),
        (in_spec("hosts: [300.1.1.1]"), "6:11: spec.hosts[0]", "is not a host name"),
        (
            in_spec("forwardCredentials: true\nauth: {forwardCredentials: false}"),
            "6:23: spec.forwardCredentials",
            "is true here and false at",
        ),
    ]);
}

/// One bad field of an issuer: the document, the field, and words of the problem.
type BadIssuer = (String, &'static str, &'static str);

fn issuer(fields: &str) -> String {
    in_spec(&format!("auth:\n  mode: Token\n  token:\n    issuers:\n    - {{{fields}}}"))
}

const GOOD_ISSUER: &str = "issuer: https://a.example, audiences: [b]";

fn with_field(field: &str) -> String {
    issuer(&format!("{GOOD_ISSUER}, {field}"))
}

fn refuses(cases: &[BadIssuer]) {
    for (text, path, words) in cases {
        let problems = problems(&[text]);
        let [problem] = problems.as_slice() else { panic!("{text}: {problems:#?}") };
        let path = format!("spec.auth.token.issuers[0].{path}");
        assert!(problem.contains(&path) && problem.contains(words), "{text}: {problem}");
    }
}

#[test]
fn where_the_keys_of_an_issuer_are_is_checked() {
    let keys_at = |uri: &str| with_field(&format!("jwksUri: \"{uri}\""));
    let uri = "jwksUri";
    refuses(&[
        (
            keys_at("http://a.example/k"),
            uri,
            "`http://a.example/k` must be https, or http to this machine",
        ),
        (keys_at("http://127.0.0.1.example/k"), uri, "must be https, or http to this machine"),
        (keys_at("http://10.0.0.1/k"), uri, "must be https, or http to this machine"),
        (keys_at("ftp://a.example/k"), uri, "must be https"),
        (keys_at("https:///k"), uri, "is not a URI"),
        (keys_at("https://:443/k"), uri, "names no host"),
        (keys_at("https://a.example:/k"), uri, "names no host"),
        (keys_at("/keys"), uri, "names no host"),
        (keys_at("https://u:p@a.example/k"), uri, "must not hold a user name or password"),
        (keys_at("https://a.example/k#x"), uri, "must have no fragment"),
        (keys_at("https://ä.example/k"), uri, "is not a URI"),
        (keys_at("https://a.example/a b"), uri, "is not a URI"),
        (keys_at(""), uri, "is not a URI"),
    ]);
}

#[test]
fn issuers_are_checked() {
    let algorithm = "algorithms[0]";
    refuses(&[
        (
            issuer("issuer: accounts.example, audiences: [b]"),
            "issuer",
            "must be https, or http to this machine",
        ),
        (
            issuer("issuer: \"https://a.example?p=1\", audiences: [b]"),
            "issuer",
            "must have no query",
        ),
        (
            issuer("issuer: \"\", audiences: [b], jwksUri: \"https://a.example\""),
            "issuer",
            "is empty",
        ),
        (
            issuer("issuer: \"a\\tb\", audiences: [b], jwksUri: \"https://a.example\""),
            "issuer",
            "holds a control character",
        ),
        (
            issuer("issuer: https://a.example, audiences: []"),
            "audiences",
            "holds no audience; name what",
        ),
        (issuer("issuer: https://a.example, audiences: [\"\"]"), "audiences[0]", "is empty"),
        (with_field("algorithms: []"), "algorithms", "holds no algorithm; use `EdDSA`, `ES256`"),
        (
            with_field("algorithms: [none]"),
            algorithm,
            "`none` is no signature: anybody could make such a token; use `EdDSA`",
        ),
        (with_field("algorithms: [NONE]"), algorithm, "is no signature"),
        (with_field("algorithms: [HS256]"), algorithm, "`HS256` is a shared secret"),
        (
            with_field("algorithms: [rs256]"),
            algorithm,
            "`rs256` is not known; use `EdDSA`, `ES256`, `ES384`, `PS256`",
        ),
        (with_field("algorithms: [ES256, ES256]"), "algorithms[1]", "is listed twice"),
        (with_field("maxLifetime: 59s"), "maxLifetime", "59s is too short; use 1m to 30days"),
        (with_field("maxLifetime: 31d"), "maxLifetime", "is too long"),
        (
            with_field("requiredClaims: {iss: x}"),
            "requiredClaims.iss",
            "is checked in every token anyway",
        ),
        (with_field("requiredClaims: {tid: \"\"}"), "requiredClaims.tid", "is empty"),
        (
            with_field("requiredClaims: {\"\": x}"),
            "requiredClaims[\"\"]",
            "the name of a claim has 1 to 256 bytes",
        ),
        (with_field("requiredScopes: [a b]"), "requiredScopes[0]", "must be one scope"),
    ]);
    let twice = format!(
        "auth: {{mode: Token, token: {{issuers: [{{{GOOD_ISSUER}}}, {{{GOOD_ISSUER}}}]}}}}"
    );
    let problems = problems(&[&in_spec(&twice)]);
    assert!(
        problems[0].contains("issuers[1].issuer: `https://a.example` is listed already"),
        "{problems:?}"
    );
}

#[test]
fn targets_are_checked() {
    let addresses = |list: &str| in_target(&format!("kind: Addresses\naddresses: {list}"));
    let at = |column: usize, index: usize| {
        format!("9:{column}: spec.versions[0].targetRef.addresses[{index}]")
    };
    let cases = [
        (addresses("[a:0]"), at(21, 0), "port of `a:0` must be within 1 to 65535"),
        (addresses("[a:b]"), at(21, 0), "must be within 1 to 65535"),
        (addresses("[\"http://a\"]"), at(21, 0), "without scheme"),
        (addresses("[\"[::1\"]"), at(21, 0), "closing bracket"),
        (addresses("[\"[zz]:80\"]"), at(21, 0), "no IPv6 address"),
        (addresses("[\"a b\"]"), at(21, 0), "is not `host:port`"),
        (addresses("[a:5001, a]"), at(29, 1), "a port 5001 is a replica already, at 0.yaml:9:21"),
    ];
    let cases: Vec<_> = cases.iter().map(|(t, place, w)| (t.clone(), place.as_str(), *w)).collect();
    assert_each(&cases);
    let process = "kind: Process\ncommand: [run, \"{port}\"]\n";
    assert_each(&[
        (
            in_target("kind: Deployment\nname: blue"),
            "8:15: spec.versions[0].targetRef.kind",
            "works only in a cluster; use `Process` or `Addresses`",
        ),
        (
            in_target("kind: Pod"),
            "8:15: spec.versions[0].targetRef.kind",
            "use one of `Deployment`",
        ),
        (
            in_target(&format!("{process}addresses: []")),
            "10:20: spec.versions[0].targetRef.addresses",
            "belongs to kind `Addresses`",
        ),
        (
            in_target("kind: Addresses\naddresses: []\ncommand: [a]"),
            "10:18: spec.versions[0].targetRef.command",
            "belongs to kind `Process`",
        ),
        (
            in_target("kind: Process\ncommand: [\"\", \"{port}\"]"),
            "9:19: spec.versions[0].targetRef.command[0]",
            "name a program",
        ),
        (
            in_target("kind: Process\ncommand: [run, \"{port}\\0\"]"),
            "9:24: spec.versions[0].targetRef.command[1]",
            "NUL",
        ),
        (
            in_target(&format!("{process}env: {{A=B: c}}")),
            "10:20: spec.versions[0].targetRef.env[\"A=B\"]",
            "cannot name a variable",
        ),
        (
            in_target(&format!("{process}startDeadline: 0s")),
            "10:24: spec.versions[0].targetRef.startDeadline",
            "too short",
        ),
        (
            in_target(&format!("{process}stopGrace: 11m")),
            "10:20: spec.versions[0].targetRef.stopGrace",
            "too long",
        ),
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn secrets_are_checked_without_showing_them() {
    let cases = [
        (
            in_spec("auth: {secretRef: {name: keys}}"),
            "6:28: spec.auth.secretRef.name",
            "there is no Secret `keys` in namespace `default` in the given files",
        ),
        (
            with_secret("metadata: {name: keys}\n"),
            "6:28: spec.auth.secretRef.name",
            "has no `primaryKey`",
        ),
        (
            with_secret("metadata: {name: keys}\nstringData: {primaryKey: \"\"}\n"),
            "11:26: stringData.primaryKey",
            "is empty",
        ),
        (
            with_secret("metadata: {name: keys}\nstringData: {primaryKey: hunter2 hunter2}\n"),
            "11:26: stringData.primaryKey",
            "printable ASCII without spaces",
        ),
        (
            with_secret("metadata: {name: keys}\ndata: {primaryKey: hunter2}\n"),
            "11:20: data.primaryKey",
            "is not base64",
        ),
        // "hunter2\n", as `echo hunter2 | base64` makes it.
        (
            with_secret("metadata: {name: keys}\ndata: {primaryKey: aHVudGVyMgo=}\n"),
            "11:20: data.primaryKey",
            "line break",
        ),
        (
            with_secret("metadata: {name: keys}\nstringData: {primaryKey: 4711}\n"),
            "11:26: stringData.primaryKey",
            "write it in quotes",
        ),
        (
            with_secret("metadata: {name: keys}\nstringData: {primaryKey: !hunter2 }\n"),
            "11:35",
            "tags (`!…`) are not supported; remove it, or quote the text",
        ),
        (
            with_secret("metadata: {name: keys}\nstringData: hunter2\n"),
            "11:13: stringData",
            "must be a mapping, not a text",
        ),
        (
            with_secret(
                "metadata: {name: keys}\nprimaryKey: hunter2\nstringData: {primaryKey: abc}\n",
            ),
            "11:1: primaryKey",
            "unknown field",
        ),
        (
            with_secret("metadata: {name: keys}\nstringData: {hunter2: , primaryKey: abc}\n"),
            "11:21: stringData.…",
            "give a value",
        ),
        (
            with_secret(
                "metadata: {name: keys}\nstringData: {primaryKey: hunter2, primaryKey: hunter3}\n",
            ),
            "11:35: stringData.primaryKey",
            "is given twice",
        ),
    ];
    for (text, ..) in &cases {
        let said = problems(&[text]).concat();
        assert!(
            !said.contains("hunter") && !said.contains("4711") && !said.contains("aHV"),
            "{said}"
        );
    }
    assert_each(&cases);
}

#[test]
fn no_debug_output_holds_a_key() {
    let text = with_secret(
        "metadata: {name: keys, annotations: {last: hunter2}}\nstringData: {primaryKey: hunter2}\n",
    );
    let raw = decode::decode::<types::Secret>(&tree::parse(&text).documents[1]).value;
    let raw = raw.expect("a good Secret");
    assert_eq!(raw.string_data["primaryKey"].0, "hunter2");
    let shown = format!("{raw:?} {:?}", good(&text));
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn documents_and_yaml_are_checked() {
    let deep = format!("a: {}", "[".repeat(40));
    let good = in_spec("");
    let second = format!("{good}---\n{good}");
    assert_each(&[
        ("a: [1\nb: 2\n".to_owned(), "2:2", "invalid YAML: "),
        ("a: 'x\n".to_owned(), "1:4", "invalid YAML: "),
        (deep, "1:35", "nested deeper than 32 levels"),
        ("- a\n".to_owned(), "1:1", "must be a mapping with `apiVersion` and `kind`"),
        ("just words".to_owned(), "1:1", "must be a mapping"),
        ("? [a]\n: b\n".to_owned(), "1:3", "a key must be a plain text"),
        ("a: !include b\n".to_owned(), "1:13", "tags (`!…`) are not supported"),
        ("kind: 3\n".to_owned(), "1:7: kind", "must be `InferenceEndpoint` or `Secret`"),
        ("kind: Deployment\n".to_owned(), "1:7: kind", "use one of `InferenceEndpoint`, `Secret`"),
        (
            good.replace("kind: InferenceEndpoint", "kind: InferenceEndpiont"),
            "2:7: kind",
            "did you mean `InferenceEndpoint`?",
        ),
        (good.replace("v1alpha1", "v1"), "1:13: apiVersion", "use `modelway.dev/v1alpha1`"),
        (in_spec("hosts: []\nhosts: []"), "7:3: spec.hosts", "is given twice, first at 6:3"),
        (second, "9:18: metadata.name", "`demo` is defined twice, first at 0.yaml:3:18"),
    ]);
}
