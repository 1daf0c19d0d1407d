//! The books of clients and models side by side: what was answered was executed once, what was not
//! was executed at most once, and no replica had more than its slots.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::Path,
};

use super::ledger::{End, Outcome};

/// A reused connection that closes within this time of sending did not start the request, says
/// contract §12; a replica that is killed within it looks the same, and the request is sent again.
const REUSE_RETRY_MS: u64 = 20;
/// How far apart the clocks of a kill and of a line of the ledger may be read.
const CLOCK_MS: u64 = 150;
/// How long after a kill its last client may read of it.
const NEWS_MS: u64 = 500;

/// What the models have noted.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// By the client's name of the request.
    pub(crate) executions: HashMap<String, Vec<Execution>>,
    /// The same in the order of their starts.
    pub(crate) starts: Vec<(String, u64)>,
    /// The most executions at once, by process, with the name of its replica.
    pub(crate) highest: BTreeMap<u32, (String, usize)>,
}

/// One execution of a request.
#[derive(Debug, Clone)]
pub(crate) struct Execution {
    /// The router's name for the request.
    pub(crate) request_id: String,
    /// The process.
    pub(crate) pid: u32,
    /// Its begin.
    pub(crate) start_ms: u64,
    /// Its end; `None` when the process was killed before.
    pub(crate) end_ms: Option<u64>,
    /// Whether it was cut off.
    pub(crate) cancelled: bool,
}

/// Whether a killed process had not answered yet: the model notes the end of its work before it
/// writes the answer, and a kill can fall between the two.
fn was_unanswered(execution: &Execution, kill: &Kill) -> bool {
    execution.end_ms.is_none_or(|end_ms| end_ms.abs_diff(kill.at_ms) <= ANSWER_MS)
}

/// How long a model takes at most from the end of its work to the answer on the wire.
const ANSWER_MS: u64 = 10;

/// A replica process that the test has killed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kill {
    /// The process.
    pub(crate) pid: u32,
    /// When, just before.
    pub(crate) at_ms: u64,
}

/// The result of comparing the books.
#[derive(Debug, Default)]
pub(crate) struct Balance {
    /// Requests sent.
    pub(crate) sent: usize,
    /// Answered with 2xx.
    pub(crate) good: usize,
    /// Other answers by status.
    pub(crate) others: BTreeMap<u16, usize>,
    /// Clients that left: not executed, executed to the end, cut off.
    pub(crate) left: [usize; 3],
    /// 502 for a request in progress on a replica that was killed.
    pub(crate) killed: usize,
    /// Requests that a killed replica had begun less than 20 ms before, sent again.
    pub(crate) repeated: usize,
    /// The words of those 502, whether the model had begun, and how long after the kill.
    pub(crate) last_words: Vec<String>,
    /// Everything that must not be.
    pub(crate) faults: Vec<String>,
    highest: BTreeMap<String, usize>,
}

impl Book {
    /// Reads what all replicas have appended to one file.
    pub(crate) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("the models have written their ledger");
        let mut book = Self::default();
        let mut running: HashMap<u32, usize> = HashMap::new();
        for line in text.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let fields: [&str; 6] = fields.try_into().expect("a line of six fields");
            let [request_id, time, word, replica, pid, client_id] = fields;
            let time_ms = time.parse().expect("milliseconds");
            let pid = pid.parse().expect("a process id");
            let of_client = book.executions.entry(client_id.to_owned()).or_default();
            let now = running.entry(pid).or_default();
            if word == "start" {
                *now += 1;
                of_client.push(Execution {
                    request_id: request_id.to_owned(),
                    pid,
                    start_ms: time_ms,
                    end_ms: None,
                    cancelled: false,
                });
                book.starts.push((client_id.to_owned(), time_ms));
            } else {
                *now -= 1;
                let open = of_client.iter_mut().rev().find(|execution| {
                    execution.end_ms.is_none()
                        && execution.pid == pid
                        && execution.request_id == request_id
                });
                let open = open.expect("an end follows its start");
                open.end_ms = Some(time_ms);
                open.cancelled = word == "cancelled";
            }
            let highest = book.highest.entry(pid).or_insert_with(|| (replica.to_owned(), 0));
            highest.1 = highest.1.max(*now);
        }
        book
    }

    /// The executions of one request.
    pub(crate) fn of(&self, client_id: &str) -> &[Execution] {
        self.executions.get(client_id).map_or(&[], Vec::as_slice)
    }

    /// Compares. `slots` by the name of a replica.
    pub(crate) fn balance(
        &self,
        outcomes: &[Outcome],
        kills: &[Kill],
        slots: impl Fn(&str) -> usize,
    ) -> Balance {
        let mut balance = Balance { sent: outcomes.len(), ..Balance::default() };
        for (pid, (replica, highest)) in &self.highest {
            if *highest > slots(replica) {
                let fault = format!("{replica} (process {pid}) had {highest} at once");
                balance.faults.push(fault);
            }
            let seen = balance.highest.entry(replica.clone()).or_default();
            *seen = (*seen).max(*highest);
        }
        let mut lost_by_kill: BTreeMap<u32, usize> = BTreeMap::new();
        for outcome in outcomes {
            self.judge(outcome, kills, &mut balance, &mut lost_by_kill);
        }
        for (pid, lost) in lost_by_kill {
            let most = self.highest.get(&pid).map_or(0, |(replica, _)| slots(replica));
            if lost > most {
                balance.faults.push(format!("{lost} requests were lost with process {pid}"));
            }
        }
        let sent: std::collections::HashSet<&str> =
            outcomes.iter().map(|outcome| outcome.client_id.as_str()).collect();
        let strange = self.executions.keys().filter(|id| !sent.contains(id.as_str()));
        balance.faults.extend(strange.map(|id| format!("nobody has sent {id:?}")));
        balance
    }

    fn judge(
        &self,
        outcome: &Outcome,
        kills: &[Kill],
        balance: &mut Balance,
        lost_by_kill: &mut BTreeMap<u32, usize>,
    ) {
        let executions = self.of(&outcome.client_id);
        let kill_of =
            |execution: &Execution| kills.iter().find(|kill| kill.pid == execution.pid).copied();
        // The first of two is excused when its process was killed within the time of a retry.
        let counted = match executions {
            [first, rest @ ..] if !rest.is_empty() => {
                let excused = first.end_ms.is_none()
                    && kill_of(first).is_some_and(|kill| {
                        first.start_ms + REUSE_RETRY_MS + CLOCK_MS >= kill.at_ms
                    });
                balance.repeated += usize::from(excused);
                if excused { rest } else { executions }
            }
            all => all,
        };
        let tell = |what: &str| format!("{what}: {outcome:?} {executions:?}");
        if counted.len() > 1 {
            balance.faults.push(tell("executed more than once"));
        }
        match &outcome.end {
            End::Answered { status, request_id, .. } if (200..300).contains(status) => {
                balance.good += 1;
                let whole = counted.first().is_some_and(|execution| {
                    execution.end_ms.is_some()
                        && !execution.cancelled
                        && execution.request_id == *request_id
                });
                if !whole {
                    balance.faults.push(tell("answered without being executed"));
                }
            }
            End::Answered { status: 502, body, .. } => {
                *balance.others.entry(502).or_default() += 1;
                // Without a line of the model it was killed before it had read the request.
                let kill = match counted.first() {
                    Some(execution) => {
                        kill_of(execution).filter(|kill| was_unanswered(execution, kill))
                    }
                    None => kills.iter().copied().find(|kill| {
                        let since = outcome.ended_ms.checked_sub(kill.at_ms);
                        since.is_some_and(|since| since < NEWS_MS)
                    }),
                };
                if let Some(kill) = kill {
                    balance.killed += 1;
                    let after_ms = outcome.ended_ms.saturating_sub(kill.at_ms);
                    let begun = counted.len();
                    let id = &outcome.client_id;
                    let words = format!("{id} begun {begun}, {after_ms} ms after the kill: {body}");
                    balance.last_words.push(words);
                    *lost_by_kill.entry(kill.pid).or_default() += 1;
                } else {
                    balance.faults.push(tell("failed, but not on a killed replica"));
                }
            }
            End::Answered { status, .. } => {
                *balance.others.entry(*status).or_default() += 1;
                balance.faults.push(tell("refused"));
            }
            End::Broken(_) => balance.faults.push(tell("no answer")),
            End::Left(_) => {
                let finished = |e: &Execution| e.end_ms.is_some() || kill_of(e).is_some();
                if !counted.iter().all(finished) {
                    balance.faults.push(tell("never finished"));
                }
                balance.count_left(counted.first());
            }
        }
    }
}

impl Balance {
    fn count_left(&mut self, execution: Option<&Execution>) {
        let [waited, finished, cut] = &mut self.left;
        match execution {
            None => *waited += 1,
            Some(execution) if execution.cancelled => *cut += 1,
            Some(_) => *finished += 1,
        }
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [waited, finished, cut] = self.left;
        writeln!(f, "requests sent                        {:>7}", self.sent)?;
        writeln!(f, "  2xx, executed once                 {:>7}", self.good)?;
        for (status, count) in &self.others {
            writeln!(f, "  {status}                                {count:>7}")?;
        }
        writeln!(f, "  client left, never executed        {waited:>7}")?;
        writeln!(f, "  client left, executed to the end   {finished:>7}")?;
        writeln!(f, "  client left, cut off               {cut:>7}")?;
        writeln!(f, "502 in progress on a killed replica  {:>7}", self.killed)?;
        for words in &self.last_words {
            writeln!(f, "  {words}")?;
        }
        writeln!(f, "begun < 20 ms before a kill, repeated{:>7}", self.repeated)?;
        let highest: Vec<_> = self.highest.iter().map(|(name, n)| format!("{name} {n}")).collect();
        writeln!(f, "most at once: {}", highest.join(", "))?;
        writeln!(f, "faults                               {:>7}", self.faults.len())?;
        for fault in self.faults.iter().take(20) {
            writeln!(f, "  {fault}")?;
        }
        Ok(())
    }
}
