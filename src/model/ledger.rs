//! The ledger: a file with one line per start and end of an execution, readable after a SIGKILL.
//!
//! A line is `ID TAB MILLISECONDS TAB start|end|cancelled TAB REPLICA TAB PID TAB CLIENT-ID`, time
//! since the Unix epoch. Several replicas may append to one file; the process id tells a replica
//! from the one that took its name after a crash. CLIENT-ID is `x-ms-client-request-id`, by which a
//! client finds a request whose answer it has never seen; empty where there is none.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

/// An open ledger. Every line is one `write` to a file opened for appending, so lines of several
/// processes do not mix and nothing is held back in a buffer that a SIGKILL would lose.
#[derive(Debug)]
pub(super) struct Ledger {
    file: File,
    replica: String,
}

/// What happened to an execution.
#[derive(Debug, Clone, Copy)]
pub(super) enum Entry {
    Start,
    End,
    Cancelled,
}

impl Ledger {
    pub(super) fn open(path: &Path, replica: &str) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { file, replica: replica.replace(|char: char| char.is_control(), "_") })
    }

    /// Appends one line. The ids hold no control characters. A line that cannot be written is
    /// reported; the count in memory stays right.
    pub(super) fn note(&self, id: &str, client_id: &str, entry: Entry) {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let word = match entry {
            Entry::Start => "start",
            Entry::End => "end",
            Entry::Cancelled => "cancelled",
        };
        let (replica, pid) = (&self.replica, std::process::id());
        let line = format!("{id}\t{now_ms}\t{word}\t{replica}\t{pid}\t{client_id}\n");
        if let Err(error) = (&self.file).write_all(line.as_bytes()) {
            tracing::error!(%error, "could not append to the ledger");
        }
    }
}
