//! As much of HTTP/1.1 as the load and the stub need: where a head ends and how long its body is.

/// A head at the beginning of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// Where the body begins.
    pub(crate) body: usize,
    /// How long the body is.
    pub(crate) length: usize,
    /// Whether it is an answer with status 200.
    pub(crate) is_ok: bool,
}

/// The head that a buffer begins with, once it is complete.
pub(crate) fn head(buffer: &[u8]) -> Option<Head> {
    let end = buffer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let fields = buffer.get(..end)?;
    let name = b"content-length:";
    let length = fields.split(|byte| *byte == b'\n').find_map(|line| {
        let (start, value) = line.split_at_checked(name.len())?;
        let value = start.eq_ignore_ascii_case(name).then(|| value.trim_ascii())?;
        std::str::from_utf8(value).ok()?.parse().ok()
    });
    let is_ok = fields.starts_with(b"HTTP/1.1 200");
    Some(Head { body: end + 4, length: length.unwrap_or(0), is_ok })
}
