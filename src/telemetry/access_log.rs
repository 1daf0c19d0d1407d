//! The access log: a bounded queue to one writer thread.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use prometheus::IntCounter;

use super::{AccessRecord, Metrics};

/// How many records may wait for the writer; what comes on top is dropped and counted.
pub const ACCESS_QUEUE_MAX: usize = 8_192;
/// The writer hands over to the output when this many bytes are ready.
const BATCH_BYTES_MAX: usize = 64 * 1024;
/// How long a record may lie in the queue while requests keep coming. Within this time the writer
/// sleeps instead of waiting: waking a thread costs a request about 30 µs of CPU, this costs none.
const NAP: Duration = Duration::from_millis(20);
/// Without a record for so long, the writer waits to be woken instead of napping.
const IDLE_AFTER: Duration = Duration::from_secs(1);
/// How long dropping the last handle waits for the writer.
const DROP_WAIT_MAX: Duration = Duration::from_secs(1);

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

/// A text that is not a [`LogFormat`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("log format {0:?} is not one of auto, json, text")]
pub struct UnknownLogFormat(String);

impl LogFormat {
    /// `Auto` decided by whether the output is a terminal.
    pub fn resolved(self, terminal: bool) -> Self {
        match (self, terminal) {
            (Self::Auto, true) => Self::Text,
            (Self::Auto, false) => Self::Json,
            (chosen, _) => chosen,
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Json => "json",
            Self::Text => "text",
        })
    }
}

impl FromStr for LogFormat {
    type Err = UnknownLogFormat;

    fn from_str(text: &str) -> Result<Self, UnknownLogFormat> {
        match text {
            "auto" => Ok(Self::Auto),
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            other => Err(UnknownLogFormat(other.chars().take(64).collect())),
        }
    }
}

/// Where the data plane leaves a record of each request. Clones write to the same log.
#[derive(Debug, Clone, Default)]
pub struct AccessLog(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    /// `None` wakes a writer that waits; `closing` says why.
    queue: SyncSender<Option<AccessRecord>>,
    closing: Arc<AtomicBool>,
    /// Disconnected when the writer has ended.
    ended: Mutex<Receiver<()>>,
    dropped: IntCounter,
}

impl AccessLog {
    /// A log that takes nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// Starts the writer thread. `Auto` looks at whether standard output is a terminal. Fails when
    /// no thread can be started.
    pub fn start(
        format: LogFormat,
        output: Box<dyn Write + Send>,
        metrics: &Metrics,
    ) -> io::Result<Self> {
        let (queue, records) = sync_channel(ACCESS_QUEUE_MAX);
        let (end, ended) = sync_channel(0);
        let closing = Arc::new(AtomicBool::new(false));
        let mut writer = Writer {
            records,
            output,
            format: format.resolved(io::stdout().is_terminal()),
            closing: Arc::clone(&closing),
            dropped: metrics.access_log_dropped.clone(),
            batch: Vec::with_capacity(BATCH_BYTES_MAX),
            batch_records: 0,
            failing: false,
        };
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            writer.run();
            drop(end);
        })?;
        let dropped = metrics.access_log_dropped.clone();
        Ok(Self(Some(Arc::new(Inner { queue, closing, ended: Mutex::new(ended), dropped }))))
    }

    /// Whether records are wanted: when not, none need be made.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Leaves a record for the writer. Never blocks: when the queue is full or the log is closed,
    /// the record is dropped and counted.
    pub fn write(&self, record: AccessRecord) {
        let Some(inner) = &self.0 else { return };
        if inner.closing.load(Ordering::Acquire) || inner.queue.try_send(Some(record)).is_err() {
            inner.dropped.inc();
        }
    }

    /// Takes no more records and waits until those in the queue are written, at most `limit`.
    /// Blocks the calling thread; says whether all were written.
    pub fn close(&self, limit: Duration) -> bool {
        self.0.as_ref().is_none_or(|inner| inner.close(limit))
    }
}

impl Inner {
    fn close(&self, limit: Duration) -> bool {
        self.closing.store(true, Ordering::Release);
        // A full queue means a writer that is awake and will see `closing`.
        drop(self.queue.try_send(None));
        self.ended.lock().recv_timeout(limit) == Err(RecvTimeoutError::Disconnected)
    }
}

/// A blocked output (a full pipe) does not hold up the end of the process for longer than a bound.
impl Drop for Inner {
    fn drop(&mut self) {
        self.close(DROP_WAIT_MAX);
    }
}

/// The writer thread's own things.
struct Writer {
    records: Receiver<Option<AccessRecord>>,
    output: Box<dyn Write + Send>,
    format: LogFormat,
    closing: Arc<AtomicBool>,
    dropped: IntCounter,
    batch: Vec<u8>,
    batch_records: u64,
    /// Whether the last write failed: a broken output is reported once, not per batch.
    failing: bool,
}

impl Writer {
    fn run(&mut self) {
        let mut last_record = Instant::now();
        loop {
            // Read before the queue is emptied: what was sent before closing is still written.
            let closing = self.closing.load(Ordering::Acquire);
            if self.drain() {
                last_record = Instant::now();
            }
            if closing {
                return;
            }
            if last_record.elapsed() < IDLE_AFTER {
                std::thread::sleep(NAP);
                continue;
            }
            match self.records.recv() {
                Ok(message) => self.take(message),
                Err(_disconnected) => return,
            }
            last_record = Instant::now();
        }
    }

    /// Writes everything that is in the queue; says whether there was anything.
    fn drain(&mut self) -> bool {
        while let Ok(message) = self.records.try_recv() {
            self.take(message);
        }
        let any = self.batch_records > 0;
        self.hand_over();
        any
    }

    fn take(&mut self, message: Option<AccessRecord>) {
        let Some(record) = message else { return };
        match self.format {
            LogFormat::Text => record.write_text(&mut self.batch),
            LogFormat::Json | LogFormat::Auto => record.write_json(&mut self.batch),
        }
        self.batch_records += 1;
        if self.batch.len() >= BATCH_BYTES_MAX {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        if self.batch_records == 0 {
            return;
        }
        let written = self.output.write_all(&self.batch).and_then(|()| self.output.flush());
        if let Err(error) = &written {
            self.dropped.inc_by(self.batch_records);
            if !self.failing {
                tracing::error!(%error, "the access log cannot be written");
            }
        }
        self.failing = written.is_err();
        self.batch.clear();
        self.batch_records = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::access_record::tests::record;

    const LONG: Duration = Duration::from_secs(20);

    /// Passes each write on; blocks while the other end does not take it.
    struct Pipe(SyncSender<Vec<u8>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(pipe: &Receiver<Vec<u8>>) -> usize {
        pipe.iter().map(|batch| batch.split(|byte| *byte == b'\n').count() - 1).sum()
    }

    #[test]
    fn every_record_written_before_closing_is_one_line_in_order() {
        let metrics = Metrics::new();
        let (send, pipe) = sync_channel(1_000);
        let log = AccessLog::start(LogFormat::Json, Box::new(Pipe(send)), &metrics).unwrap();
        assert!(log.is_on());
        for size in 0..5_000 {
            log.clone().write(AccessRecord { request_bytes: size, ..record() });
        }
        assert!(log.close(LONG));
        let text: Vec<u8> = pipe.iter().flatten().collect();
        let sizes: Vec<u64> = String::from_utf8(text)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|line| line["RequestPayloadSize"].as_u64().unwrap())
            .collect();
        assert_eq!(sizes, (0..5_000).collect::<Vec<_>>());
        assert_eq!(metrics.access_log_dropped.get(), 0);
    }

    #[test]
    fn a_blocked_output_blocks_nobody_and_what_is_lost_is_counted() {
        let metrics = Metrics::new();
        let (send, pipe) = sync_channel(0);
        let log = AccessLog::start(LogFormat::Text, Box::new(Pipe(send)), &metrics).unwrap();
        let sent = 4 * ACCESS_QUEUE_MAX;
        for _ in 0..sent {
            log.write(record());
        }
        let lost = usize::try_from(metrics.access_log_dropped.get()).unwrap();
        assert!(lost > 0);
        assert!(!log.close(Duration::from_millis(1)), "nobody reads the pipe");
        log.write(record());
        assert_eq!(metrics.access_log_dropped.get(), lost as u64 + 1, "closed");
        assert_eq!(lines(&pipe), sent - lost);
    }

    #[test]
    fn records_come_out_without_closing_also_after_an_idle_time() {
        let metrics = Metrics::new();
        let (send, pipe) = sync_channel(10);
        let log = AccessLog::start(LogFormat::Text, Box::new(Pipe(send)), &metrics).unwrap();
        log.write(record());
        pipe.recv_timeout(LONG).expect("the writer naps and finds it");
        // The writer is only then waiting to be woken; the assertion holds either way.
        std::thread::sleep(IDLE_AFTER + 5 * NAP);
        log.write(record());
        pipe.recv_timeout(LONG).expect("the writer is woken by it");
    }

    #[test]
    fn an_output_that_fails_costs_its_records_and_nothing_else() {
        let metrics = Metrics::new();
        let (send, pipe) = sync_channel(1);
        drop(pipe);
        let log = AccessLog::start(LogFormat::Text, Box::new(Pipe(send)), &metrics).unwrap();
        log.write(record());
        log.write(record());
        assert!(log.close(LONG));
        assert_eq!(metrics.access_log_dropped.get(), 2);
    }

    #[test]
    fn a_log_that_is_off_takes_nothing() {
        let log = AccessLog::off();
        assert!(!log.is_on());
        log.write(record());
        assert!(log.close(Duration::ZERO));
    }

    #[test]
    fn formats_are_read_as_they_are_shown_and_auto_follows_the_terminal() {
        for format in [LogFormat::Auto, LogFormat::Json, LogFormat::Text] {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert!("xml".parse::<LogFormat>().is_err());
        assert_eq!(LogFormat::Auto.resolved(true), LogFormat::Text);
        assert_eq!(LogFormat::Auto.resolved(false), LogFormat::Json);
        assert_eq!(LogFormat::Json.resolved(true), LogFormat::Json);
    }
}
