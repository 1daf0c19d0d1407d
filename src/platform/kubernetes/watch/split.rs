//! Cuts what the API server sends into objects while it comes in, so that a LIST of 10 000 pods
//! never lies in memory as a whole: forty megabytes of text become a few of trimmed objects.

use super::fault::Fault;

/// The most bytes of one object. etcd takes 1.5 MiB and the API server 3 MiB of one request; as
/// JSON an object may be somewhat longer.
pub(super) const MAX_OBJECT_BYTES: usize = 8 << 20;

/// A piece of a LIST.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// One object of `items`.
    Object(&'a [u8]),
    /// The `metadata` of the list itself.
    ListMeta(&'a [u8]),
}

/// Cuts the answer to a LIST. It does not check that it is JSON: whoever parses the pieces does.
#[derive(Debug, Default)]
pub(super) struct ListCutter {
    depth: u32,
    text: Text,
    /// Whether the next string at the top is a value and not a key.
    is_value: bool,
    key: Vec<u8>,
    taking: Option<Taking>,
    /// The beginning of the piece that is being taken, from earlier chunks.
    begun: Vec<u8>,
    has_ended: bool,
}

/// Where in a string the scan is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Text {
    #[default]
    Outside,
    Inside,
    Escaped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taking {
    Object,
    ListMeta,
}

/// Keys longer than this are none that matter.
const MAX_KEY_BYTES: usize = 16;

impl ListCutter {
    /// Takes the next bytes in; `piece` gets every piece that is complete with them.
    pub(super) fn push(
        &mut self,
        chunk: &[u8],
        mut piece: impl FnMut(Piece<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut from = 0;
        let mut at = 0;
        while let Some(&byte) = chunk.get(at) {
            if self.text != Text::Outside {
                at = self.string(chunk, at);
                continue;
            }
            match byte {
                b'"' => self.open_string(),
                b'{' | b'[' => from = if self.open(byte)? { at } else { from },
                b'}' | b']' => {
                    if let Some(taken) = self.close() {
                        let tail = chunk.get(from..=at).unwrap_or_default();
                        self.hand_over(taken, tail, &mut piece)?;
                    }
                }
                b':' if self.depth == 1 => self.is_value = true,
                b',' if self.depth == 1 => self.is_value = false,
                _ if self.depth == 0 && !byte.is_ascii_whitespace() => return Err(not_a_list()),
                _ => {}
            }
            at += 1;
        }
        if self.taking.is_some() {
            self.keep(chunk.get(from..).unwrap_or_default())?;
        }
        Ok(())
    }

    /// Says whether the list came to its end.
    pub(super) fn finish(&self) -> Result<(), Fault> {
        if self.has_ended {
            return Ok(());
        }
        Err(Fault::Broken("the LIST ends in its middle".to_owned()))
    }

    /// Scans on inside of a string; where to go on.
    fn string(&mut self, chunk: &[u8], at: usize) -> usize {
        if self.text == Text::Escaped {
            self.text = Text::Inside;
            return at + 1;
        }
        let rest = chunk.get(at..).unwrap_or_default();
        let Some(found) = memchr::memchr2(b'"', b'\\', rest) else {
            self.keep_key(rest);
            return chunk.len();
        };
        self.keep_key(rest.get(..found).unwrap_or_default());
        let is_end = rest.get(found) == Some(&b'"');
        self.text = if is_end { Text::Outside } else { Text::Escaped };
        at + found + 1
    }

    fn open_string(&mut self) {
        self.text = Text::Inside;
        if self.depth == 1 && !self.is_value {
            self.key.clear();
        }
    }

    fn keep_key(&mut self, bytes: &[u8]) {
        if self.depth == 1 && !self.is_value && self.key.len() <= MAX_KEY_BYTES {
            self.key.extend(bytes.iter().take(MAX_KEY_BYTES + 1));
        }
    }

    /// Goes one level down; whether a piece begins here.
    fn open(&mut self, byte: u8) -> Result<bool, Fault> {
        if self.depth == 0 && (byte == b'[' || self.has_ended) {
            return Err(not_a_list());
        }
        let taking = match (self.depth, self.key.as_slice()) {
            (1, b"metadata") => Some(Taking::ListMeta),
            (2, b"items") if byte == b'{' => Some(Taking::Object),
            _ => None,
        };
        self.depth = self.depth.saturating_add(1);
        let begins = self.taking.is_none() && taking.is_some();
        if begins {
            self.taking = taking;
        }
        Ok(begins)
    }

    /// Goes one level up; what piece ends here.
    fn close(&mut self) -> Option<Taking> {
        self.depth = self.depth.saturating_sub(1);
        self.has_ended |= self.depth == 0;
        match (self.taking, self.depth) {
            (Some(Taking::ListMeta), 1) | (Some(Taking::Object), 2) => self.taking.take(),
            _ => None,
        }
    }

    fn hand_over(
        &mut self,
        taken: Taking,
        tail: &[u8],
        piece: &mut impl FnMut(Piece<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let whole = if self.begun.is_empty() {
            tail
        } else {
            self.keep(tail)?;
            &self.begun
        };
        let done = match taken {
            Taking::Object => piece(Piece::Object(whole)),
            Taking::ListMeta => piece(Piece::ListMeta(whole)),
        };
        self.begun.clear();
        done
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        keep(&mut self.begun, bytes)
    }
}

/// Cuts a watch into lines.
#[derive(Debug, Default)]
pub(super) struct LineCutter {
    begun: Vec<u8>,
}

impl LineCutter {
    /// The next line that is complete with `chunk`, which is left with what is behind it.
    pub(super) fn next(&mut self, chunk: &mut &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let Some(end) = memchr::memchr(b'\n', chunk) else {
            keep(&mut self.begun, chunk)?;
            *chunk = &[];
            return Ok(None);
        };
        let (head, rest) = chunk.split_at(end);
        *chunk = rest.get(1..).unwrap_or_default();
        keep(&mut self.begun, head)?;
        Ok(Some(std::mem::take(&mut self.begun)))
    }

    /// Whether a line has begun that did not end.
    pub(super) fn is_cut(&self) -> bool {
        !self.begun.trim_ascii().is_empty()
    }
}

fn keep(begun: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Fault> {
    if begun.len() + bytes.len() > MAX_OBJECT_BYTES {
        return Err(Fault::TooLarge(format!(
            "one object has more than {MAX_OBJECT_BYTES} bytes; the API server takes none so large"
        )));
    }
    begun.extend_from_slice(bytes);
    Ok(())
}

fn not_a_list() -> Fault {
    Fault::Garbled("not a list".to_owned())
}
