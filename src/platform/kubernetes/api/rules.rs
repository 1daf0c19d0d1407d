//! The rules that a schema alone cannot say, in CEL.
//!
//! The API server bounds the cost of rules before it takes them, so every list and text here has a
//! bound in the schema. What only the router can see, because it needs more than one object or more
//! than CEL: names and hosts that another endpoint has, hosts and paths in every detail, sizes
//! written as texts, targets that do not exist, and what this release does not serve yet.

use std::{ops::RangeInclusive, time::Duration};

use serde_json::{Value, json};

use super::schema::at;
use crate::platform::spec::limits;

/// A rule and what is said when it is broken.
struct Rule {
    /// The field whose value is `self`.
    at: &'static str,
    /// What holds, in CEL.
    holds: &'static str,
    /// What is said. Without the values: the API server takes a text made from a number for one of
    /// any length, and refuses the expression for its cost.
    message: &'static str,
    /// The field that is blamed, below `at`; `at` itself without one.
    field: Option<&'static str>,
}

const RULES: &[Rule] = &[
    Rule {
        at: "/",
        holds: "self.metadata.name.matches('^[a-z][-a-z0-9]{1,30}[a-z0-9]$')",
        message: "metadata.name must be 3 to 32 characters of a-z, 0-9 and '-', start with a letter \
                  and not end with '-'",
        field: None,
    },
    Rule {
        at: "/spec",
        holds: "self.versions.map(v, v.trafficPercentile).sum() <= 100",
        message: "the percentiles of all versions add up to more than 100; lower some",
        field: Some(".versions"),
    },
    Rule {
        at: "/spec",
        holds: "self.versions.filter(v, v.isDefault).size() <= 1",
        message: "at most one version is the default; keep one isDefault: true",
        field: Some(".versions"),
    },
    Rule {
        at: "/spec",
        holds: "self.versions.filter(v, v.type == 'Control').size() <= 1",
        message: "at most one version is Control, the others are Treatment",
        field: Some(".versions"),
    },
    Rule {
        at: "/spec",
        holds: "self.versions.all(v, self.versions.exists_one(w, \
               w.targetRef.kind == v.targetRef.kind && w.targetRef.name == v.targetRef.name))",
        message: "two versions have the same target; give each version its own Deployment or \
                  StatefulSet",
        field: Some(".versions"),
    },
    Rule {
        at: "/spec",
        // Where none says so, the first one was the default.
        holds: "oldSelf.versions.size() < 2 || self.versions.exists(v, v.isDefault) || \
               self.versions.exists(v, v.name == (oldSelf.versions.exists(o, o.isDefault) \
               ? oldSelf.versions.filter(o, o.isDefault)[0].name : oldSelf.versions[0].name))",
        message: "the default version cannot be removed while others exist; set isDefault: true on \
                  another one in the same change",
        field: Some(".versions"),
    },
    Rule {
        at: "/spec",
        holds: "!has(self.forwardCredentials) || !has(self.auth.forwardCredentials) || \
               self.forwardCredentials == self.auth.forwardCredentials",
        message: "forwardCredentials and auth.forwardCredentials differ; remove one of the two",
        field: Some(".forwardCredentials"),
    },
    Rule {
        at: "/spec/auth/token/issuers/[]",
        holds: "has(self.jwksUri) || (self.issuer.startsWith('https://') && \
               !self.issuer.contains('#') && !self.issuer.contains('?') && !self.issuer.contains('@'))",
        message: "must be an https URI without user, query and fragment, or jwksUri has to be given",
        field: Some(".issuer"),
    },
    Rule {
        at: "/spec/auth/token/issuers/[]/requiredClaims",
        holds: "!['aud', 'exp', 'iat', 'iss', 'nbf'].exists(name, name in self)",
        message: "aud, exp, iat, iss and nbf are checked in every token anyway; remove them here",
        field: None,
    },
    Rule {
        at: "/spec/stickyBy",
        holds: "has(self.header) != has(self.cookie)",
        message: "needs exactly one of header and cookie",
        field: None,
    },
    Rule {
        at: "/spec/versions/[]",
        holds: "self.mirrorPercentile == 0 || self.trafficPercentile == 0",
        message: "mirrorPercentile is only allowed with trafficPercentile 0; set one of the two to 0",
        field: Some(".mirrorPercentile"),
    },
    Rule {
        at: "/spec/versions/[]/autoscale",
        holds: "self.minReplicas <= self.maxReplicas",
        message: "minReplicas is above maxReplicas; lower it or raise maxReplicas",
        field: Some(".minReplicas"),
    },
    Rule {
        at: "/spec/versions/[]/probe",
        holds: "[has(self.http), has(self.tcp), has(self.grpc), has(self.none)]\
               .filter(given, given).size() <= 1",
        message: "asks for several; keep one of http, tcp, grpc and none",
        field: None,
    },
];

/// Fields that are paths of a replica, beside their pattern.
const PATHS: [&str; 2] = ["/spec/versions/[]/scoringPath", "/spec/versions/[]/probe/http"];

const PATH_RULES: [(&str, &str); 2] = [
    (
        "!self.contains('//') && !self.matches('/[.][.]?(/|$)')",
        "must not hold empty, '.' or '..' segments",
    ),
    (
        "!self.matches('%(00|2[eEfF]|5[cC])')",
        "holds an escaped slash, backslash, dot or NUL; remove it",
    ),
];

/// Every duration with its bounds.
const DURATIONS: [(&str, &RangeInclusive<Duration>); 8] = [
    ("/spec/auth/token/lifetime", &limits::TOKEN_LIFETIME),
    ("/spec/auth/token/issuers/[]/maxLifetime", &limits::MAX_LIFETIME),
    ("/spec/versions/[]/maxQueueWait", &limits::QUEUE_WAIT),
    ("/spec/versions/[]/requestTimeout", &limits::REQUEST_TIMEOUT),
    ("/spec/versions/[]/streamIdleTimeout", &limits::STREAM_IDLE),
    ("/spec/versions/[]/autoscale/scaleDownWindow", &limits::SCALE_DOWN_WINDOW),
    ("/spec/versions/[]/probe/period", &limits::PROBE_PERIOD),
    ("/spec/versions/[]/probe/timeout", &limits::PROBE_TIMEOUT),
];

/// Adds every rule to the schema of the kind.
pub(super) fn add(root: &mut Value) {
    for rule in RULES {
        let value = match rule.field {
            Some(field) => {
                json!({"rule": rule.holds, "message": rule.message, "fieldPath": field})
            }
            None => json!({"rule": rule.holds, "message": rule.message}),
        };
        push(root, rule.at, value);
    }
    for path in PATHS {
        for (rule, message) in PATH_RULES {
            push(root, path, json!({"rule": rule, "message": message}));
        }
    }
    for (path, range) in DURATIONS {
        let (low, high) = (written(*range.start()), written(*range.end()));
        let rule =
            format!("duration(self) >= duration('{low}') && duration(self) <= duration('{high}')");
        push(
            root,
            path,
            json!({"rule": rule, "message": format!("must be {low} to {high}, written like 500ms, 60s or 1m30s")}),
        );
    }
}

fn push(root: &mut Value, path: &str, rule: Value) {
    let rules = at(root, path).entry("x-kubernetes-validations").or_insert_with(|| json!([]));
    rules.as_array_mut().expect("the keyword holds a list").push(rule);
}

/// As Go and people read it: `24h` and not `1day`.
fn written(duration: Duration) -> String {
    let ms = duration.as_millis();
    let units = [("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    match units.iter().find(|(_, unit)| ms != 0 && ms.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{}{name}", ms / unit),
        None if ms == 0 => "0s".to_owned(),
        None => format!("{ms}ms"),
    }
}
