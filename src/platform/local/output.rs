//! What replica processes print: shown line by line with the replica's name in front, or kept in
//! files. A replica never waits for its output to be read: what comes too fast is counted, not shown.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::Instant,
};

/// The longest line shown, in bytes; the rest of it is dropped.
const LINE_BYTES_MAX: usize = 4096;
/// The most lines shown per replica, stream and second; more are counted and dropped. A person
/// cannot read more, and a model that logs each request must not slow the router.
const LINES_PER_SECOND_MAX: u32 = 200;
/// How many lines of all replicas wait for standard error. When it is blocked they are dropped.
const LINES_WAITING_MAX: usize = 1024;

/// Where the output of replica processes goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Each line to standard error, after the replica's name; bounded in length and rate.
    Prefixed,
    /// Appended to `{replica}.log` in this folder, without a bound: the kernel writes it.
    Files(PathBuf),
    /// Nowhere.
    Discard,
}

/// The open end of an [`Output`].
#[derive(Debug, Clone)]
pub(super) enum Outlet {
    Lines(SyncSender<String>),
    Files(PathBuf),
    Discard,
}

/// The standard output and standard error for one process.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) stdout: Stdio,
    pub(super) stderr: Stdio,
}

impl Outlet {
    /// Opens the output. Lines are written by a thread of their own, because standard error may
    /// block for as long as its reader likes.
    pub(super) fn open(output: Output) -> Self {
        match output {
            Output::Prefixed => {
                let (lines, waiting) = sync_channel(LINES_WAITING_MAX);
                let writer = std::thread::Builder::new().name("replica-output".to_owned());
                match writer.spawn(move || write_lines(&waiting)) {
                    Ok(_detached) => Self::Lines(lines),
                    Err(error) => {
                        tracing::warn!(%error, "no thread for the output of replicas, which is not shown");
                        Self::Discard
                    }
                }
            }
            Output::Files(folder) => Self::Files(folder),
            Output::Discard => Self::Discard,
        }
    }

    /// The streams of a new process of this name.
    pub(super) fn streams(&self, replica: &str) -> io::Result<Streams> {
        match self {
            Self::Lines(_) => Ok(Streams { stdout: Stdio::piped(), stderr: Stdio::piped() }),
            Self::Discard => Ok(Streams { stdout: Stdio::null(), stderr: Stdio::null() }),
            Self::Files(folder) => {
                let path = folder.join(format!("{replica}.log"));
                let open = || -> io::Result<(File, File)> {
                    std::fs::create_dir_all(folder)?;
                    let file = OpenOptions::new().create(true).append(true).open(&path)?;
                    Ok((file.try_clone()?, file))
                };
                let (stdout, stderr) = open().map_err(|error| {
                    io::Error::new(error.kind(), format!("cannot open {}: {error}", path.display()))
                })?;
                Ok(Streams { stdout: stdout.into(), stderr: stderr.into() })
            }
        }
    }
}

/// Ends when every sender is gone. Standard error that fails is nothing to report to.
fn write_lines(waiting: &Receiver<String>) {
    while let Ok(line) = waiting.recv() {
        if io::stderr().write_all(line.as_bytes()).is_err() {
            return;
        }
    }
}

/// Passes on what a process prints, until it closes the stream.
pub(super) async fn copy(stream: impl AsyncRead, replica: Arc<str>, lines: SyncSender<String>) {
    tokio::pin!(stream);
    let mut cutter = Cutter::default();
    let mut gate = Gate::new(Instant::now());
    let mut show = |line: &str| lines.try_send(format!("{replica} | {line}\n")).is_ok();
    let mut chunk = [0; 8192];
    while let Ok(length @ 1..) = stream.read(&mut chunk).await {
        let now = Instant::now();
        cutter
            .feed(chunk.get(..length).unwrap_or_default(), |line| gate.pass(now, line, &mut show));
    }
    cutter.finish(|line| gate.pass(Instant::now(), line, &mut show));
    gate.finish(&mut show);
}

/// Cuts bytes into lines of bounded length.
#[derive(Debug, Default)]
struct Cutter {
    line: Vec<u8>,
    cut: bool,
}

impl Cutter {
    fn feed(&mut self, bytes: &[u8], mut emit: impl FnMut(&str)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            let room = LINE_BYTES_MAX - self.line.len();
            self.line.extend(text.iter().take(room));
            self.cut |= text.len() > room;
            if ended {
                self.end(&mut emit);
            }
        }
    }

    fn finish(mut self, mut emit: impl FnMut(&str)) {
        if !self.line.is_empty() {
            self.end(&mut emit);
        }
    }

    fn end(&mut self, emit: &mut impl FnMut(&str)) {
        let line = String::from_utf8_lossy(&self.line);
        let line = line.trim_end_matches('\r');
        if self.cut {
            emit(&format!("{line}…"));
        } else {
            emit(line);
        }
        self.line.clear();
        self.cut = false;
    }
}

/// Lets a bounded number of lines pass in each second, and says how many it did not.
#[derive(Debug)]
struct Gate {
    second: Instant,
    passed: u32,
    dropped: u64,
}

impl Gate {
    fn new(now: Instant) -> Self {
        Self { second: now, passed: 0, dropped: 0 }
    }

    fn pass(&mut self, now: Instant, line: &str, show: &mut impl FnMut(&str) -> bool) {
        if now.duration_since(self.second) >= Duration::from_secs(1) {
            self.second = now;
            self.passed = 0;
            self.finish(show);
        }
        if self.passed < LINES_PER_SECOND_MAX && show(line) {
            self.passed += 1;
        } else {
            self.dropped += 1;
        }
    }

    fn finish(&mut self, show: &mut impl FnMut(&str) -> bool) {
        if self.dropped > 0 && show(&format!("… {} lines not shown", self.dropped)) {
            self.dropped = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shown(printed: &[u8]) -> Vec<String> {
        let (lines, waiting) = sync_channel(4096);
        copy(printed, "demo-blue-1".into(), lines).await;
        waiting.try_iter().collect()
    }

    #[tokio::test]
    async fn each_line_is_shown_after_the_name_also_the_last_without_an_end() {
        let lines = shown(b"one\r\n\ntwo \xff\nthree").await;
        let expected = ["one", "", "two \u{fffd}", "three"];
        assert_eq!(lines, expected.map(|line| format!("demo-blue-1 | {line}\n")));
    }

    #[tokio::test]
    async fn a_long_line_is_cut_and_the_next_one_is_whole() {
        let printed = ["x".repeat(LINE_BYTES_MAX + 1).as_bytes(), b"\nnext\n"].concat();
        let lines = shown(&printed).await;
        let expected = [
            format!("demo-blue-1 | {}…\n", "x".repeat(LINE_BYTES_MAX)),
            "demo-blue-1 | next\n".to_owned(),
        ];
        assert_eq!(lines, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn lines_that_come_too_fast_are_counted() {
        let lines = shown("x\n".repeat(1000).as_bytes()).await;
        assert_eq!(lines.len(), 201);
        assert_eq!(lines[200], "demo-blue-1 | … 800 lines not shown\n");
    }

    #[tokio::test]
    async fn a_blocked_reader_does_not_stop_the_copy() {
        let (lines, waiting) = sync_channel(1);
        copy(&b"one\ntwo\n"[..], "demo-blue-1".into(), lines).await;
        assert_eq!(waiting.try_iter().count(), 1);
    }
}
