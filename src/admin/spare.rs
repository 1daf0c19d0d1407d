//! Files that the admin port keeps for the moment when no other is free.
//!
//! Probes and metrics are wanted most when the process is in trouble, and a process without a free
//! file descriptor cannot even accept a connection. So some are held open on nothing, and given up
//! when they are needed.

use std::{fs::File, io, path::Path};

use rustix::io::Errno;

/// What is opened to have a file: it is always there and costs nothing.
const NOTHING: &str = "/dev/null";
/// Held files: for two connections at once.
const HELD: usize = 2 * FOR_ONE;
/// Given up for one connection: its socket, and a file that is read to answer (the metrics of the
/// process are read from `/proc`).
const FOR_ONE: usize = 2;

/// The held files.
#[derive(Debug, Default)]
pub(super) struct Spare(Vec<File>);

impl Spare {
    /// Holds as many as can be had.
    pub(super) fn refill(&mut self) {
        while self.0.len() < HELD {
            match File::open(Path::new(NOTHING)) {
                Ok(file) => self.0.push(file),
                // There will be some when a connection has ended.
                Err(_) => return,
            }
        }
    }

    /// Gives up what one connection needs, if that is what this error is about and there is some.
    pub(super) fn give_up(&mut self, error: &io::Error) -> bool {
        let short = [Some(Errno::MFILE), Some(Errno::NFILE)];
        if !short.contains(&Errno::from_io_error(error)) || self.0.is_empty() {
            return false;
        }
        self.0.truncate(self.0.len().saturating_sub(FOR_ONE));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_given_up_for_connections_and_had_again() {
        let mut spare = Spare::default();
        let short = io::Error::from(Errno::MFILE);
        assert!(!spare.give_up(&short), "nothing is held yet");
        spare.refill();
        assert!(!spare.give_up(&io::ErrorKind::ConnectionAborted.into()));
        assert!(spare.give_up(&short) && spare.give_up(&short));
        assert!(!spare.give_up(&short), "all is given");
        spare.refill();
        assert_eq!(spare.0.len(), HELD);
    }
}
