//! The keys as they are kept: JSON with the time at which each was made and its private half.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::schedule::KEYS_MAX;
use crate::{auth::SigningKey, domain::ClearText};

/// The longest document in bytes: [`KEYS_MAX`] keys of 300 bytes, and room.
pub const DOCUMENT_BYTES_MAX: usize = 64 * 1024;

/// One key and when it was made, in seconds since 1970.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) made: u64,
    /// PKCS#8 in PEM.
    pub(super) private: ClearText,
}

/// Why a document is not usable. Never holds a byte of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DocumentFault {
    #[error("it has {0} bytes, more than {DOCUMENT_BYTES_MAX}")]
    TooLarge(usize),
    #[error("it is not JSON of the form {{\"keys\": [{{\"made\": …, \"privateKey\": …}}]}}")]
    Form,
    #[error("it has {0} keys; 1 to {KEYS_MAX} are allowed")]
    Count(usize),
    #[error("key {0} of it: {1}")]
    Key(usize, String),
    #[error("key {0} of it is there twice")]
    Twice(usize),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    keys: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    made: Timestamp,
    private_key: String,
}

/// The keys of a document, oldest first.
pub(super) fn read(text: &str) -> Result<Vec<(Kept, SigningKey)>, DocumentFault> {
    if text.len() > DOCUMENT_BYTES_MAX {
        return Err(DocumentFault::TooLarge(text.len()));
    }
    // serde's own words may quote the text.
    let document: Document = serde_json::from_str(text).map_err(|_| DocumentFault::Form)?;
    if !(1..=KEYS_MAX).contains(&document.keys.len()) {
        return Err(DocumentFault::Count(document.keys.len()));
    }
    let mut keys: Vec<(Kept, SigningKey)> = Vec::new();
    for (number, entry) in (1..).zip(document.keys) {
        let wrong = |why: String| DocumentFault::Key(number, why);
        let key = SigningKey::from_pem(&entry.private_key).map_err(|why| wrong(why.to_string()))?;
        let made = u64::try_from(entry.made.as_second())
            .map_err(|_| wrong("it was made before 1970".to_owned()))?;
        if keys.iter().any(|(_, other)| other.kid() == key.kid()) {
            return Err(DocumentFault::Twice(number));
        }
        keys.push((Kept { made, private: ClearText::new(entry.private_key) }, key));
    }
    keys.sort_by_key(|(kept, _)| kept.made);
    Ok(keys)
}

/// The document of these keys.
pub(super) fn write(keys: &[Kept]) -> ClearText {
    let entry = |kept: &Kept| Entry {
        made: i64::try_from(kept.made)
            .ok()
            .and_then(|made| Timestamp::from_second(made).ok())
            .unwrap_or(Timestamp::MAX),
        private_key: kept.private.reveal().to_owned(),
    };
    let document = Document { keys: keys.iter().map(entry).collect() };
    let text = serde_json::to_string_pretty(&document).expect("texts and times are JSON");
    ClearText::new(text + "\n")
}
