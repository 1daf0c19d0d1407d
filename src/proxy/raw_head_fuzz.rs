//! What [`RawHeads`] makes of the bytes of a connection, message by message, for the fuzz targets.

use super::{Place, RawFault, RawHeads, Where};

/// A message as its framing shows it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(in crate::proxy) struct Message {
    /// Where its first line begins.
    pub(in crate::proxy) at: usize,
    /// The first line.
    pub(in crate::proxy) line: Vec<u8>,
    /// The payload so far.
    pub(in crate::proxy) payload: Vec<u8>,
    /// Whether its last byte has come.
    pub(in crate::proxy) complete: bool,
    /// Whether its framing was left to hyper to refuse.
    pub(in crate::proxy) unknown: bool,
}

/// A whole connection.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Trace {
    /// The messages whose head is complete.
    pub(in crate::proxy) messages: Vec<Message>,
    /// The first fault.
    pub(in crate::proxy) fault: Option<(Where, RawFault)>,
    /// How many bytes stand before the byte that showed the fault; all without one.
    pub(in crate::proxy) good: usize,
}

/// Follows the bytes one by one.
pub(in crate::proxy) fn trace(bytes: &[u8]) -> Trace {
    let mut heads = RawHeads::default();
    let mut trace = Trace::default();
    let mut line = Vec::new();
    let mut at = 0;
    for (index, byte) in bytes.iter().enumerate() {
        let (place, in_head) = (heads.place, heads.seen_line);
        if place == Place::Head && !in_head {
            if line.is_empty() {
                at = index;
            }
            line.push(*byte);
        }
        if let Err((place, fault)) = heads.follow(std::slice::from_ref(byte)) {
            trace.fault = Some((anywhere(place), fault));
            break;
        }
        trace.good += 1;
        if matches!(place, Place::Body(_) | Place::Chunk(_))
            && let Some(message) = trace.messages.last_mut()
        {
            message.payload.push(*byte);
        }
        if place == Place::Head && line.ends_with(b"\r\n") && !heads.seen_line && !in_head {
            // An empty line before the first line of a head.
            line.clear();
        }
        if in_head && !heads.seen_line {
            let line = std::mem::take(&mut line);
            let unknown = heads.place == Place::Unknown;
            trace.messages.push(Message { at, line, unknown, ..Message::default() });
        }
        if place != Place::Unknown && heads.place == Place::Unknown {
            let open = trace.messages.last_mut().filter(|message| !message.complete);
            if let Some(message) = open {
                message.unknown = true;
            }
        }
        let is_behind = heads.place == Place::Head && !heads.seen_line && heads.carry.is_empty();
        if is_behind && let Some(message) = trace.messages.last_mut() {
            message.complete = true;
        }
    }
    trace
}

/// The fault that is found when the bytes come in one piece, in the terms of [`trace`].
pub(in crate::proxy) fn fault_in_one_piece(bytes: &[u8]) -> Option<(Where, RawFault)> {
    let (place, fault) = RawHeads::default().follow(bytes).err()?;
    Some((anywhere(place), fault))
}

/// Where it begins depends on the cut.
fn anywhere(place: Where) -> Where {
    match place {
        Where::Head(_) => Where::Head(0),
        Where::Body(_) => Where::Body(0),
    }
}
