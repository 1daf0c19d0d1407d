//! The grammar of paths: what is refused, and which endpoint a path names (contract §2, §12).
//!
//! How: the path is never decoded and re-encoded. Everything that a replica might read as another
//! path than we do (dot segments, slashes and backslashes in any encoding, NUL, empty segments) is
//! refused, so that routing on the raw bytes and forwarding the raw bytes cannot disagree.

/// Why a path is refused with 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// It does not begin with `/`.
    #[error("the path does not begin with '/'")]
    NotAbsolute,
    /// `.` or `..` as a segment, in any encoding, also before a `;`.
    #[error("the path has a dot segment ('.' or '..'); send the path resolved")]
    DotSegment,
    /// `//`.
    #[error("the path has an empty segment ('//')")]
    EmptySegment,
    /// `%2f`.
    #[error("the path has an encoded slash ('%2f')")]
    EncodedSlash,
    /// `\` or `%5c`.
    #[error("the path has a backslash")]
    Backslash,
    /// NUL or `%00`.
    #[error("the path has a NUL byte")]
    Nul,
    /// `%` without two hexadecimal digits.
    #[error("the path has a '%' without two hexadecimal digits")]
    BadEncoding,
}

/// A path that names an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Routed<'p> {
    /// The name as it stands in the path; it may not exist.
    pub endpoint: &'p str,
    /// What is left for the replica.
    pub rest: Rest<'p>,
}

/// The part of a path behind the endpoint's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest<'p> {
    /// `/score`: becomes the version's `scoringPath`.
    Score,
    /// Anything else, beginning with `/`, forwarded as it is.
    Path(&'p str),
}

/// Checks a whole path, before anything is routed by it.
pub fn check_path(path: &str) -> Result<(), PathFault> {
    let segments = path.strip_prefix('/').ok_or(PathFault::NotAbsolute)?;
    let bytes = segments.as_bytes();
    // One pass finds that nothing needs a closer look, which is nearly every request.
    let plain = !bytes.iter().any(|b| matches!(b, b'%' | b'\\' | b'.' | 0))
        && !bytes.windows(2).any(|pair| pair == b"//")
        && bytes.first() != Some(&b'/');
    if plain { Ok(()) } else { check_segments(bytes) }
}

fn check_segments(bytes: &[u8]) -> Result<(), PathFault> {
    let count = bytes.split(|b| *b == b'/').count();
    for (index, segment) in bytes.split(|b| *b == b'/').enumerate() {
        // The last segment is empty when the path ends with one '/', which is allowed.
        if segment.is_empty() && index + 1 < count {
            return Err(PathFault::EmptySegment);
        }
        check_segment(segment)?;
    }
    Ok(())
}

fn check_segment(segment: &[u8]) -> Result<(), PathFault> {
    // Only as much of the decoded segment as tells dots from other text: a servlet container cuts
    // a segment at ';', so `..;x` is a dot segment for it (measured for Tomcat-like servers).
    let mut dots = 0_usize;
    let mut only_dots = true;
    let mut before_semicolon = true;
    let mut rest = segment;
    while let Some((&first, tail)) = rest.split_first() {
        let (byte, tail, encoded) = if first == b'%' {
            let (byte, tail) = decode(tail).ok_or(PathFault::BadEncoding)?;
            (byte, tail, true)
        } else {
            (first, tail, false)
        };
        match byte {
            0 => return Err(PathFault::Nul),
            b'\\' => return Err(PathFault::Backslash),
            b'/' if encoded => return Err(PathFault::EncodedSlash),
            b';' => before_semicolon = false,
            b'.' if before_semicolon => dots += 1,
            _ if before_semicolon => only_dots = false,
            _ => {}
        }
        rest = tail;
    }
    if only_dots && (dots == 1 || dots == 2) { Err(PathFault::DotSegment) } else { Ok(()) }
}

fn decode(tail: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, tail) = tail.split_at_checked(2)?;
    let text = std::str::from_utf8(digits).ok()?;
    // `from_str_radix` alone would accept "+f".
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    Some((u8::from_str_radix(text, 16).ok()?, tail))
}

/// The endpoint that a checked path names: `/api/v1/service/{endpoint}…` or
/// `/api/v1/endpoint/{endpoint}…`. `None` for anything outside these addresses.
pub fn route(path: &str) -> Option<Routed<'_>> {
    let space = path.strip_prefix("/api/v1/")?;
    let named = space.strip_prefix("service/").or_else(|| space.strip_prefix("endpoint/"))?;
    let (endpoint, rest) = match named.find('/') {
        Some(at) => named.split_at_checked(at)?,
        None => (named, "/"),
    };
    if endpoint.is_empty() {
        return None;
    }
    let rest = if rest == "/score" { Rest::Score } else { Rest::Path(rest) };
    Some(Routed { endpoint, rest })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refused_paths_say_why() {
        let cases = [
            ("x", PathFault::NotAbsolute),
            ("*", PathFault::NotAbsolute),
            ("/a/../b", PathFault::DotSegment),
            ("/a/.", PathFault::DotSegment),
            ("/..", PathFault::DotSegment),
            ("/a/%2e%2E/b", PathFault::DotSegment),
            ("/a/.%2e/b", PathFault::DotSegment),
            ("/a/..;x=1/b", PathFault::DotSegment),
            ("//a", PathFault::EmptySegment),
            ("/a//b", PathFault::EmptySegment),
            ("/a//", PathFault::EmptySegment),
            ("/a%2fb", PathFault::EncodedSlash),
            ("/a%2Fb", PathFault::EncodedSlash),
            ("/a\\b", PathFault::Backslash),
            ("/a%5cb", PathFault::Backslash),
            ("/a%00", PathFault::Nul),
            ("/a%0", PathFault::BadEncoding),
            ("/a%zz", PathFault::BadEncoding),
            ("/a%+f", PathFault::BadEncoding),
        ];
        for (path, fault) in cases {
            assert_eq!(check_path(path), Err(fault), "{path}");
        }
    }

    #[test]
    fn ordinary_paths_pass() {
        for path in
            ["/", "/a", "/a/", "/a;v=1/b", "/...", "/a.b", "/.well-known", "/a%20b", "/%252e"]
        {
            assert_eq!(check_path(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn addresses_name_their_endpoint() {
        let routed = |path| route(path).map(|r| (r.endpoint, r.rest));
        assert_eq!(routed("/api/v1/service/demo/score"), Some(("demo", Rest::Score)));
        assert_eq!(routed("/api/v1/endpoint/demo/score"), Some(("demo", Rest::Score)));
        assert_eq!(routed("/api/v1/service/demo"), Some(("demo", Rest::Path("/"))));
        assert_eq!(routed("/api/v1/service/demo/"), Some(("demo", Rest::Path("/"))));
        assert_eq!(
            routed("/api/v1/service/demo/v2/models/m/infer"),
            Some(("demo", Rest::Path("/v2/models/m/infer")))
        );
        assert_eq!(routed("/api/v1/service/demo/score/"), Some(("demo", Rest::Path("/score/"))));
        for nowhere in ["/", "/metrics", "/api/v1/", "/api/v1/service/", "/api/v1/services/demo"] {
            assert_eq!(routed(nowhere), None, "{nowhere}");
        }
    }

    proptest! {
        #[test]
        fn a_path_that_passes_holds_nothing_ambiguous(path in "/[a-z%./;\\\\0-9]{0,24}") {
            if check_path(&path).is_ok() {
                let lower = path.to_ascii_lowercase();
                prop_assert!(!lower.contains("%2f") && !lower.contains("%5c"));
                prop_assert!(!lower.contains('\\') && !lower.contains("//"));
                let dotted = lower.replace("%2e", ".");
                prop_assert!(dotted.split('/').all(|s| s != "." && s != ".."));
            }
        }
    }
}
