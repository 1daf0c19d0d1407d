//! HTTP/1.1 read strictly and plainly, by RFC 9112 alone: the second opinion of the fuzz targets.

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    None,
    /// So many bytes.
    Length(usize),
    /// Until the last chunk.
    Chunked,
    /// Until the connection closes; only an answer.
    Close,
}

/// A first line with its fields.
#[derive(Debug, Clone)]
pub(super) struct Head {
    /// Without its line end.
    pub(super) line: Vec<u8>,
    /// Names in lower case, values without white space around them.
    pub(super) fields: Vec<(String, Vec<u8>)>,
}

impl Head {
    /// Every value of a field.
    pub(super) fn all(&self, name: &str) -> Vec<&[u8]> {
        self.fields.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_slice()).collect()
    }

    /// The framing that a request's fields say; `Err` where they are not clear (RFC 9112 §6.3).
    pub(super) fn request_framing(&self) -> Result<Framing, &'static str> {
        match (self.all("transfer-encoding").as_slice(), self.all("content-length").as_slice()) {
            ([], []) => Ok(Framing::None),
            ([], [length]) => Ok(Framing::Length(digits(length)?)),
            ([coding], []) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
            _ => Err("the framing is not clear"),
        }
    }
}

/// Reads bytes from the front.
#[derive(Debug)]
pub(super) struct Reader<'b>(pub(super) &'b [u8]);

impl<'b> Reader<'b> {
    /// A line up to CR LF, without it; `None` where no whole line is there.
    pub(super) fn line(&mut self) -> Option<&'b [u8]> {
        let end = self.0.windows(2).position(|pair| pair == b"\r\n")?;
        let (line, rest) = self.0.split_at_checked(end)?;
        self.0 = rest.get(2..)?;
        Some(line)
    }

    /// So many bytes, or all there are and `false`.
    fn take(&mut self, count: usize) -> (&'b [u8], bool) {
        match self.0.split_at_checked(count) {
            Some((taken, rest)) => {
                self.0 = rest;
                (taken, true)
            }
            None => (std::mem::take(&mut self.0), false),
        }
    }

    /// First line and fields up to the empty line. `Ok(None)`: not all of it is there.
    pub(super) fn head(&mut self) -> Result<Option<Head>, &'static str> {
        let mut ahead = Reader(self.0);
        let Some(line) = ahead.line() else { return Ok(None) };
        let mut fields = Vec::new();
        loop {
            let Some(text) = ahead.line() else { return Ok(None) };
            if text.is_empty() {
                break;
            }
            fields.push(field(text)?);
        }
        self.0 = ahead.0;
        Ok(Some(Head { line: line.to_vec(), fields }))
    }

    /// A body, and whether all of it is there.
    pub(super) fn body(&mut self, framing: Framing) -> Result<(Vec<u8>, bool), &'static str> {
        match framing {
            Framing::None => Ok((Vec::new(), true)),
            Framing::Length(length) => {
                let (taken, complete) = self.take(length);
                Ok((taken.to_vec(), complete))
            }
            Framing::Close => Ok((std::mem::take(&mut self.0).to_vec(), true)),
            Framing::Chunked => self.chunks(),
        }
    }

    fn chunks(&mut self) -> Result<(Vec<u8>, bool), &'static str> {
        let mut body = Vec::new();
        loop {
            let Some(line) = self.line() else { return Ok((body, false)) };
            let size = line.split(|b| *b == b';').next().unwrap_or_default();
            let size = std::str::from_utf8(size).unwrap_or_default().trim_end_matches([' ', '\t']);
            let is_hex = !size.is_empty() && size.bytes().all(|b| b.is_ascii_hexdigit());
            let size = usize::from_str_radix(size, 16).ok().filter(|_| is_hex);
            let size = size.ok_or("the size of a chunk is not hexadecimal")?;
            if size == 0 {
                break;
            }
            let (taken, complete) = self.take(size);
            body.extend_from_slice(taken);
            if !complete {
                return Ok((body, false));
            }
            match self.take(2) {
                (b"\r\n", _) => {}
                (_, false) => return Ok((body, false)),
                _ => return Err("a chunk does not end where its size says"),
            }
        }
        loop {
            match self.line() {
                None => return Ok((body, false)),
                Some(b"") => return Ok((body, true)),
                Some(trailer) => drop(field(trailer)?),
            }
        }
    }
}

/// 1*DIGIT (RFC 9110 §8.6).
pub(super) fn digits(text: &[u8]) -> Result<usize, &'static str> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.filter(|_| is_number).ok_or("a length is not a number")
}

/// `token ":" OWS value OWS` (RFC 9112 §5).
fn field(line: &[u8]) -> Result<(String, Vec<u8>), &'static str> {
    let colon = line.iter().position(|b| *b == b':').ok_or("a field has no colon")?;
    let (name, value) = line.split_at(colon);
    if name.is_empty() || !name.iter().copied().all(is_token) {
        return Err("the name of a field is not a token");
    }
    let value = value.get(1..).unwrap_or_default();
    if value.iter().any(|b| (*b < b' ' && *b != b'\t') || *b == 0x7f) {
        return Err("the value of a field has a control character");
    }
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    Ok((name, trim(value).to_vec()))
}

/// `tchar` (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// OWS is space and tab only.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// A short name for a body, so that one can be told from another.
pub(super) fn print(body: &[u8]) -> String {
    // FNV-1a, 64 bit.
    let sum = body.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{}:{sum:016x}", body.len())
}
