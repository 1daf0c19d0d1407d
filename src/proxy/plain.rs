//! Requests without TLS where HTTPS is served too: answered, sent there, or refused.

use http::{HeaderValue, header, request::Parts};

use super::{error::ProxyError, head::Kind};
use crate::auth::API_KEY;

/// The port that an address with `https://` means when it names none.
const HTTPS_PORT: u16 = 443;

/// What becomes of requests without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plain {
    /// They are answered.
    Serve,
    /// They are sent to HTTPS at the host that they name. Those with a credential are refused: it
    /// has been sent in the clear, and a client that follows would do so each time.
    Redirect {
        /// The port of HTTPS as clients see it.
        port: u16,
    },
    /// They are refused.
    Refuse,
}

impl Plain {
    /// Whether a request may go on. `authority` is the checked one of the request itself, so nobody
    /// is sent to a host that he has not named.
    pub(super) fn admit(
        self,
        parts: &Parts,
        authority: &str,
        kind: Kind,
    ) -> Result<(), ProxyError> {
        let port = match self {
            Self::Serve => return Ok(()),
            Self::Redirect { port } => Some(port),
            Self::Refuse => None,
        };
        let exposed = [header::AUTHORIZATION, API_KEY]
            .iter()
            .any(|credential| parts.headers.contains_key(credential));
        let location = port
            // gRPC and WebSocket clients do not follow.
            .filter(|_| !exposed && kind == Kind::Plain)
            .and_then(|port| location(parts, authority, port));
        Err(match location {
            Some(location) => ProxyError::Redirected(location),
            None => ProxyError::HttpsRequired { exposed },
        })
    }
}

/// The same target with `https://`; `None` where there is no path or no host to go to.
fn location(parts: &Parts, authority: &str, port: u16) -> Option<HeaderValue> {
    let target = parts.uri.path_and_query()?.as_str();
    if !target.starts_with('/') || !names_host(parts) {
        return None;
    }
    let host = match authority.rsplit_once(':') {
        Some((host, digits)) if digits.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    let port = if port == HTTPS_PORT { String::new() } else { format!(":{port}") };
    HeaderValue::from_str(&format!("https://{host}{port}{target}")).ok()
}

/// HTTP/1.0 may leave the host out.
fn names_host(parts: &Parts) -> bool {
    parts.uri.authority().is_some() || parts.headers.contains_key(header::HOST)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::proxy::head::authority;

    fn told(plain: Plain, uri: &str, fields: &[(&str, &str)], kind: Kind) -> String {
        let request = fields.iter().fold(Request::builder().uri(uri), |r, (n, v)| r.header(*n, *v));
        let parts = request.body(()).unwrap().into_parts().0;
        match plain.admit(&parts, &authority(&parts).unwrap(), kind) {
            Ok(()) => "ok".to_owned(),
            Err(ProxyError::Redirected(location)) => location.to_str().unwrap().to_owned(),
            Err(ProxyError::HttpsRequired { exposed: true }) => "exposed".to_owned(),
            Err(ProxyError::HttpsRequired { exposed: false }) => "refused".to_owned(),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_redirect_goes_to_the_host_that_was_named_and_nowhere_else() {
        let redirect = Plain::Redirect { port: 8443 };
        let table = [
            ("/a?b=c", vec![("host", "m.example")], "https://m.example:8443/a?b=c"),
            ("/a", vec![("host", "m.example:8080")], "https://m.example:8443/a"),
            ("/a", vec![("host", "[::1]:8080")], "https://[::1]:8443/a"),
            ("/a", vec![("host", "[::1]")], "https://[::1]:8443/a"),
            ("http://real/a", vec![("host", "other")], "https://real:8443/a"),
            ("/a", vec![("host", "m"), ("authorization", "Bearer x")], "exposed"),
            ("/a", vec![("host", "m"), ("api-key", "x")], "exposed"),
            ("*", vec![("host", "m")], "refused"),
            ("//evil.example/a", vec![("host", "m")], "https://m:8443//evil.example/a"),
        ];
        for (uri, fields, expected) in table {
            assert_eq!(told(redirect, uri, &fields, Kind::Plain), expected, "{uri} {fields:?}");
        }
        let usual = Plain::Redirect { port: 443 };
        assert_eq!(told(usual, "/a", &[("host", "m:80")], Kind::Plain), "https://m/a");
        for kind in [Kind::Grpc, Kind::WebSocket] {
            assert_eq!(told(usual, "/a", &[("host", "m")], kind), "refused");
        }
    }

    #[test]
    fn refused_means_all_and_served_means_all() {
        let host = ("host", "m");
        assert_eq!(told(Plain::Refuse, "/a", &[host], Kind::Plain), "refused");
        assert_eq!(told(Plain::Refuse, "/a", &[host, ("api-key", "x")], Kind::Plain), "exposed");
        assert_eq!(told(Plain::Serve, "/a", &[host, ("api-key", "x")], Kind::Plain), "ok");
    }
}
