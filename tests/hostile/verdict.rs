//! What must come of a case: answers, the end of the connection, and what the replica may have seen.

use crate::{recorder::Recorded, support::wire::Answer, text};

/// What ends a stream or answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// An answer with this status.
    Status(u16),
    /// `RST_STREAM` with this code.
    Reset(u32),
    /// GOAWAY with this code, or the end of the connection before an answer (`None`).
    Goaway(Option<u32>),
}

/// What came of a case.
pub(crate) struct Outcome {
    /// The answers in order, of HTTP/2 by stream.
    pub(crate) said: Vec<Said>,
    /// The last of them.
    pub(crate) last: Answer,
}

/// One alternative of what may be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Status(u16),
    Reset,
    Goaway,
}

/// How the connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It stays open, and the next request on it is clean.
    Open,
    /// The router closes it.
    Closes,
    /// The client closes its side behind the bytes, then the router closes.
    Fin,
}

/// The verdict of a case (`README.md`).
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    answers: Vec<Vec<Wanted>>,
    /// How the connection ends.
    pub(crate) end: End,
    /// Whether the request is HEAD, whose answer has no body.
    pub(crate) is_head: bool,
    /// How often the case runs.
    pub(crate) repeat: usize,
    sees: Option<usize>,
    part: bool,
    checks: Vec<Check>,
}

#[derive(Debug, Clone)]
enum Check {
    Method(String),
    Target(String),
    Has(String, String),
    Lacks(String),
    Body(String),
    Length(usize),
    Code(String),
    Grpc(String),
}

impl Verdict {
    /// Reads the words of a verdict; further predicates follow behind `;`.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let mut parts = text.split(';').map(str::trim);
        let mut verdict = Self {
            answers: Vec::new(),
            end: End::Open,
            is_head: false,
            repeat: 1,
            sees: None,
            part: false,
            checks: Vec::new(),
        };
        let mut end = None;
        for word in parts.next().unwrap_or_default().split_whitespace() {
            match word {
                "open" => end = Some(End::Open),
                "closes" => end = Some(End::Closes),
                "fin" => end = Some(End::Fin),
                "head" => verdict.is_head = true,
                "part" => verdict.part = true,
                "none" => {}
                statuses => {
                    let any = statuses.split('/').map(wanted).collect::<Result<_, _>>()?;
                    verdict.answers.push(any);
                }
            }
        }
        verdict.end = end.ok_or_else(|| format!("say open, closes or fin: {text}"))?;
        for part in parts {
            let (name, value) = part.split_once('=').ok_or_else(|| format!("no value: {part}"))?;
            verdict.predicate(name, value)?;
        }
        Ok(verdict)
    }

    fn predicate(&mut self, name: &str, value: &str) -> Result<(), String> {
        let text = value.to_owned();
        let number = || value.parse::<usize>().map_err(|_| format!("no number: {value}"));
        let check = match name {
            "sees" => {
                self.sees = Some(number()?);
                return Ok(());
            }
            "repeat" => {
                self.repeat = number()?;
                return Ok(());
            }
            "method" => Check::Method(text),
            "target" => Check::Target(text),
            "lacks" => Check::Lacks(text),
            "body" => Check::Body(text),
            "length" => Check::Length(number()?),
            "code" => Check::Code(text),
            "grpc" => Check::Grpc(text),
            "has" => {
                let (name, value) = value.split_once(": ").ok_or("write has=name: value")?;
                Check::Has(name.to_owned(), value.to_owned())
            }
            other => return Err(format!("unknown predicate {other}")),
        };
        self.checks.push(check);
        Ok(())
    }

    /// How many answers must come.
    pub(crate) fn count(&self) -> usize {
        self.answers.len()
    }

    /// Whether these are the answers.
    pub(crate) fn accepts(&self, said: &[Said]) -> Result<(), String> {
        let fit = said.len() == self.answers.len()
            && said.iter().zip(&self.answers).all(|(said, any)| any.iter().any(|w| w.is(*said)));
        if fit { Ok(()) } else { Err(format!("answers {said:?}, wanted {:?}", self.answers)) }
    }

    /// How many whole requests the replica must see: one for each answer of the model.
    pub(crate) fn whole(&self) -> usize {
        let good = |any: &Vec<Wanted>| any.iter().all(|w| matches!(w, Wanted::Status(200..300)));
        self.sees.unwrap_or_else(|| self.answers.iter().filter(|any| good(any)).count())
    }

    /// Whether the replica may have seen this.
    pub(crate) fn allows(&self, seen: &[Recorded], names: &text::Names) -> Result<(), String> {
        let expected = self.whole();
        let complete: Vec<_> = seen.iter().filter(|seen| seen.complete).collect();
        let parts = seen.len() - complete.len();
        if complete.len() != expected || (parts > 0 && !self.part) {
            return Err(format!(
                "the replica saw {} whole requests and {parts} parts, allowed are {expected} and {}: {seen:?}",
                complete.len(),
                u8::from(self.part)
            ));
        }
        match complete.first() {
            Some(first) => self.checks.iter().try_for_each(|check| check.of_request(first, names)),
            None => Ok(()),
        }
    }

    /// Whether the body and the fields of the last answer are as they must be.
    pub(crate) fn agrees(&self, last: &Answer) -> Result<(), String> {
        let (found, grpc_status) = (last.code(), last.all("grpc-status").first().copied());
        self.checks.iter().try_for_each(|check| match check {
            Check::Code(code) if *code != found => Err(format!("code {found:?}, wanted {code:?}")),
            Check::Grpc(status) if grpc_status != Some(status.as_str()) => {
                Err(format!("grpc-status {grpc_status:?}, wanted {status}"))
            }
            _ => Ok(()),
        })
    }
}

fn wanted(word: &str) -> Result<Wanted, String> {
    Ok(match word {
        "reset" => Wanted::Reset,
        "goaway" => Wanted::Goaway,
        status => Wanted::Status(status.parse().map_err(|_| format!("unknown word {status}"))?),
    })
}

impl Wanted {
    fn is(self, said: Said) -> bool {
        match (self, said) {
            (Self::Status(wanted), Said::Status(status)) => wanted == status,
            (Self::Reset, Said::Reset(_)) | (Self::Goaway, Said::Goaway(_)) => true,
            _ => false,
        }
    }
}

impl Check {
    fn of_request(&self, seen: &Recorded, names: &text::Names) -> Result<(), String> {
        let resolved = |text: &str| {
            let bytes = text::expanded(text, names)?;
            Ok::<_, String>(bytes)
        };
        let (what, fits) = match self {
            Self::Method(method) => ("method", seen.method == *method),
            Self::Target(target) => ("target", seen.target.as_bytes() == resolved(target)?),
            Self::Lacks(name) => ("lacks", seen.all(name).is_empty()),
            Self::Body(body) => ("body", seen.body == resolved(body)?),
            Self::Length(length) => ("length", seen.body.len() == *length),
            Self::Has(name, value) => {
                let name = String::from_utf8_lossy(&resolved(name)?).into_owned();
                ("has", seen.all(&name) == [&resolved(value)?[..]])
            }
            Self::Code(_) | Self::Grpc(_) => return Ok(()),
        };
        if fits {
            Ok(())
        } else {
            Err(format!("{what}: wanted {self:?}, the replica saw {seen:?}"))
        }
    }
}

#[test]
fn a_verdict_is_read_as_it_is_written() {
    let verdict = Verdict::read("100 400/413 closes part; code=x; repeat=3; has=a: b").unwrap();
    assert!(verdict.accepts(&[Said::Status(100), Said::Status(413)]).is_ok());
    assert!(verdict.accepts(&[Said::Status(100)]).is_err());
    assert!(verdict.accepts(&[Said::Status(100), Said::Status(200)]).is_err());
    assert_eq!((verdict.end, verdict.repeat, verdict.count()), (End::Closes, 3, 2));
    let body = br#"{"error":{"code":"x"}}"#.to_vec();
    assert!(verdict.agrees(&Answer { body, ..Answer::default() }).is_ok());
    assert!(verdict.agrees(&Answer::default()).is_err());
    for bad in ["400", "400 open; x", "maybe open", "400 open; sees=many", "400 open; has=a"] {
        assert!(Verdict::read(bad).is_err(), "{bad}");
    }
    let names = text::Names::new();
    let whole = Recorded { complete: true, ..Recorded::default() };
    assert!(
        Verdict::read("400 closes").unwrap().allows(std::slice::from_ref(&whole), &names).is_err()
    );
    assert!(Verdict::read("200 open").unwrap().allows(&[], &names).is_err());
    assert!(Verdict::read("400 closes").unwrap().allows(&[Recorded::default()], &names).is_err());
    assert!(
        Verdict::read("400 closes part").unwrap().allows(&[Recorded::default()], &names).is_ok()
    );
}
