//! The form of a row: what the replica does, and what must come of it.

/// One thing that the replica does.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Reads the request to its end. Before it everything is done to a connection, not to a request.
    Read,
    /// Reads the head of the request and nothing else.
    ReadHead,
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends them again and again, until so many are sent or the router closes.
    Flood(Vec<u8>, usize),
    /// Lets a moment pass, so that what came before is read by itself.
    Pause,
    /// Sends these bytes one by one with a pause behind each, for longer than any time limit.
    Drip(Vec<u8>),
    /// Says nothing until the router closes.
    Silence,
    /// Reads nothing either, for longer than any time limit of such rows.
    Deaf,
    /// Closes with FIN.
    Close,
    /// Closes with RST.
    Reset,
}

/// What the client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// POST with a body of two bytes.
    Post,
    /// HEAD.
    Head,
    /// POST with a body that no socket buffer holds.
    Upload,
    /// A WebSocket handshake; HTTP/1 only.
    Upgrade,
}

/// What the client must see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sight {
    /// The model's answer, complete.
    Answer(u16, &'static str),
    /// The router's own answer, with this code.
    Refused(u16, &'static str),
    /// The model's status, and an answer that visibly breaks off.
    CutOff(u16),
    /// Which of these depends on what arrives first, and any is right.
    OneOf(Vec<Sight>),
}

/// One row.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Its name, also the name of its script.
    pub(crate) name: &'static str,
    /// The section that says what is wrong, or right, with it.
    pub(crate) rule: &'static str,
    /// What the replica does.
    pub(crate) acts: Vec<Act>,
    /// What the client sends.
    pub(crate) ask: Ask,
    /// What the client must see.
    pub(crate) sight: Sight,
    /// Whether the connection to the replica may serve another request.
    pub(crate) is_reusable: bool,
}

impl Row {
    /// Bytes of an answer, sent when the request was read.
    pub(crate) fn answer(
        name: &'static str,
        rule: &'static str,
        bytes: impl Into<Vec<u8>>,
        sight: Sight,
    ) -> Self {
        Self::of(name, rule, vec![Act::Read, Act::Send(bytes.into())], sight)
    }

    /// Any acts.
    pub(crate) fn of(name: &'static str, rule: &'static str, acts: Vec<Act>, sight: Sight) -> Self {
        Self { name, rule, acts, ask: Ask::Post, sight, is_reusable: false }
    }

    /// Something comes behind the bytes.
    pub(crate) fn then(mut self, act: Act) -> Self {
        self.acts.push(act);
        self
    }

    /// Another kind of request.
    pub(crate) fn asked(mut self, ask: Ask) -> Self {
        self.ask = ask;
        self
    }

    /// Nothing is wrong with the connection afterwards.
    pub(crate) fn reusable(mut self) -> Self {
        self.is_reusable = true;
        self
    }

    /// Whether it ends only with a time limit.
    pub(crate) fn is_slow(&self) -> bool {
        self.acts.iter().any(|act| matches!(act, Act::Silence | Act::Deaf | Act::Drip(_)))
    }
}

/// The answer that is no answer.
pub(crate) const INVALID: Sight = Sight::Refused(502, "replica_invalid");
/// The connection that ended without a byte.
pub(crate) const CLOSED: Sight = Sight::Refused(502, "replica_closed");
/// The replica that says nothing in time.
pub(crate) const LATE: Sight = Sight::Refused(504, "request_timeout");
