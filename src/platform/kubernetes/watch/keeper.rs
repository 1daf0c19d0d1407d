//! The loop of one watch: LIST, WATCH, and what follows from each fault.

use std::{collections::HashSet, marker::PhantomData, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};

use super::{
    super::{
        client::ApiServer,
        objects::{Object, ObjectKey},
    },
    News, Rhythm, Subject,
    book::Book,
    event::{self, Event, ListMeta, Unread},
    fault::Fault,
    known::{Known, Verdict},
    rhythm::Allowance,
    split::{LineCutter, ListCutter, MAX_OBJECT_BYTES, Piece},
    subject::Freshness,
    wire,
};

/// The most objects of one watch: the most pods that Kubernetes supports in a cluster (150 000),
/// and some room. A LIST with more is refused before it fills the memory.
const MAX_OBJECTS: usize = 200_000;

/// Where a watch begins that shall tell all there is.
const FROM_THE_BEGINNING: &str = "0";

/// How much earlier than agreed a watch may end and count as one that ran its time: the API server
/// counts whole seconds from when it read the request.
const EARLY_END: Duration = Duration::from_millis(500);

/// Warnings about unreadable objects in one LIST; the rest is counted.
const MAX_WARNINGS: usize = 5;

/// Who hears the news.
pub(super) struct Listener<T, F, W> {
    out: mpsc::Sender<F>,
    wrap: W,
    kind: PhantomData<fn(T)>,
}

/// Why a step did not come to its end.
enum Stop {
    /// Nobody listens any more.
    Unheard,
    Fault(Fault),
}

/// What a LIST brought.
struct Listed<T> {
    objects: Vec<T>,
    keys: HashSet<ObjectKey>,
    meta: ListMeta,
    unread: usize,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        let (objects, keys) = (Vec::new(), HashSet::new());
        Self { objects, keys, meta: ListMeta::default(), unread: 0 }
    }
}

/// One watch at work.
pub(super) struct Keeper<T, F, W> {
    server: ApiServer,
    subject: Subject,
    rhythm: Rhythm,
    book: Arc<Book>,
    listener: Listener<T, F, W>,
    allowance: Allowance,
    known: Known,
    /// Where the next watch begins; `None` until a LIST says it.
    position: Option<String>,
    /// The position may be what is wrong.
    is_doubted: bool,
    /// Failures since a watch last worked.
    failures: u32,
    look_over_at: Instant,
}

impl<T: Object, F: Send, W: Fn(News<T>) -> F> Listener<T, F, W> {
    pub(super) fn new(out: mpsc::Sender<F>, wrap: W) -> Self {
        Self { out, wrap, kind: PhantomData }
    }

    async fn tell(&mut self, news: News<T>) -> Result<(), Stop> {
        let message = (self.wrap)(news);
        self.out.send(message).await.map_err(|_closed| Stop::Unheard)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl<T, F, W> Keeper<T, F, W>
where
    T: Object,
    F: Send,
    W: Fn(News<T>) -> F + Send,
{
    pub(super) fn new(
        server: ApiServer,
        subject: Subject,
        rhythm: Rhythm,
        book: Arc<Book>,
        listener: Listener<T, F, W>,
    ) -> Self {
        Self {
            server,
            subject,
            book,
            listener,
            allowance: Allowance::new(&rhythm),
            known: Known::default(),
            position: None,
            is_doubted: false,
            failures: 0,
            look_over_at: rhythm.next_look_over(),
            rhythm,
        }
    }

    /// Watches until nobody listens any more.
    pub(super) async fn run(mut self) {
        loop {
            let step = match self.position.clone() {
                Some(position) if !self.wants_list() => self.watch(&position).await,
                _ => self.list().await,
            };
            match step {
                Ok(()) => {}
                Err(Stop::Unheard) => return,
                Err(Stop::Fault(fault)) => sleep(self.weigh(&fault)).await,
            }
        }
    }

    /// Whether a LIST is due, and allowed, although a watch could go on.
    fn wants_list(&self) -> bool {
        let now = Instant::now();
        let is_due = self.is_doubted
            || self.look_over_at <= now
            || self.confirm_at().is_some_and(|confirm_at| confirm_at <= now);
        is_due && self.allowance.next() <= now
    }

    fn confirm_at(&self) -> Option<Instant> {
        self.known.confirm_at(self.rhythm.confirm_after)
    }

    /// Counts the fault, decides what follows from it, and says how long to wait before that.
    fn weigh(&mut self, fault: &Fault) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.book.failed(fault);
        // Each doubling is said again; the book has the rest.
        if self.failures.is_power_of_two() {
            tracing::warn!(
                subject = %self.subject, failures = self.failures, trouble = %fault,
                "the watch is out of step; what was known stays in force"
            );
        }
        match fault {
            Fault::Unreachable(_) => return self.rhythm.retry_pause(),
            Fault::OutOfStep { .. } => self.position = None,
            _ => self.is_doubted |= self.failures.is_multiple_of(self.rhythm.relist_after.max(1)),
        }
        if self.position.is_none() {
            // How often a LIST is tried is bounded by the allowance already.
            return self.rhythm.retry_pause();
        }
        self.rhythm.backoff_pause(self.failures)
    }

    /// The watch works.
    fn prove(&mut self) {
        if self.failures > 0 {
            tracing::info!(subject = %self.subject, "the watch is in step again");
        }
        self.failures = 0;
        self.is_doubted = false;
        self.book.proven(self.known.len());
    }

    async fn list(&mut self) -> Result<(), Stop> {
        sleep_until(self.allowance.next()).await;
        self.allowance.take();
        self.book.listing();
        let freshness = self.freshness();
        // Whatever comes of it, the watch has its turn next if it can.
        self.is_doubted = false;
        self.look_over_at = self.rhythm.next_look_over();
        let listed = match self.fetch(&freshness).await {
            Ok(listed) => listed,
            Err(fault) => {
                if matches!(fault, Fault::Unreachable(_)) {
                    self.allowance.give_back();
                    self.book.not_listing();
                }
                return Err(fault.into());
            }
        };
        self.position = Some(listed.meta.resource_version);
        if listed.unread > MAX_WARNINGS {
            tracing::warn!(
                subject = %self.subject, unread = listed.unread,
                "objects of the LIST are not understood and left out"
            );
        }
        match self.known.judge(listed.keys, self.rhythm.confirm_after) {
            Verdict::Believed => {
                self.listener.tell(News::All(listed.objects)).await?;
                self.book.listed();
                // Not the end of the failures: that LIST works says nothing of the watch.
                self.book.proven(self.known.len());
            }
            Verdict::Doubted { lost, of } => self.doubt(lost, of),
        }
        Ok(())
    }

    fn doubt(&self, lost: usize, of: usize) {
        let words = format!("a LIST has lost {lost} of {of} objects at once; it is asked again");
        tracing::warn!(subject = %self.subject, "{words}; until then what was known stays in force");
        self.book.doubts(words);
    }

    fn freshness(&self) -> Freshness {
        match &self.position {
            _ if self.confirm_at().is_some() => Freshness::Latest,
            Some(version) if !self.is_doubted => Freshness::NotOlderThan(version.as_str().into()),
            _ => Freshness::Any,
        }
    }

    /// The one object, where only one is watched.
    async fn fetch_one(&mut self, request: Request<Vec<u8>>) -> Result<Listed<T>, Fault> {
        let rhythm = &self.rhythm;
        let until = Instant::now() + rhythm.list_answer;
        let mut listed = Listed::default();
        let mut body = match wire::open(&self.server, request, "GET", rhythm.list_answer).await {
            Ok(body) => body,
            // There is none; a watch from the beginning tells when there is.
            Err(Fault::Refused { code: 404, .. }) => {
                FROM_THE_BEGINNING.clone_into(&mut listed.meta.resource_version);
                return Ok(listed);
            }
            Err(fault) => return Err(fault),
        };
        let mut text = Vec::new();
        while let Some(chunk) = wire::next(&mut body, until)
            .await
            .map_err(|fault| fault.unwrap_or(Fault::Stalled("GET", rhythm.list_answer)))?
        {
            text.extend_from_slice(&chunk);
            if text.len() > MAX_OBJECT_BYTES {
                let words = format!("an object of more than {MAX_OBJECT_BYTES} bytes");
                return Err(Fault::TooLarge(words));
            }
        }
        self.take_piece(&Piece::Object(&text), &mut listed)?;
        let version = listed.objects.first().map(|object| object.meta().resource_version.clone());
        listed.meta.resource_version =
            version.map_or_else(|| FROM_THE_BEGINNING.to_owned(), String::from);
        Ok(listed)
    }

    async fn fetch(&mut self, freshness: &Freshness) -> Result<Listed<T>, Fault> {
        if let Some(request) = self.subject.get() {
            return self.fetch_one(request?).await;
        }
        let rhythm = &self.rhythm;
        let whole = Instant::now() + rhythm.list_whole;
        let request = self.subject.list(freshness)?;
        let mut body = wire::open(&self.server, request, "LIST", rhythm.list_answer).await?;
        let mut cutter = ListCutter::default();
        let mut listed = Listed::default();
        loop {
            let until = whole.min(Instant::now() + rhythm.list_stall);
            let chunk = wire::next(&mut body, until)
                .await
                .map_err(|fault| fault.unwrap_or(Fault::Stalled("LIST", rhythm.list_stall)))?;
            let Some(chunk) = chunk else { break };
            cutter.push(&chunk, |piece| self.take_piece(&piece, &mut listed))?;
        }
        cutter.finish()?;
        if !listed.meta.r#continue.is_empty() {
            return Err(Fault::Garbled("a page of the list instead of the whole".to_owned()));
        }
        if listed.meta.resource_version.is_empty() {
            return Err(Fault::Garbled("a list without a resourceVersion".to_owned()));
        }
        Ok(listed)
    }

    fn take_piece(&self, piece: &Piece<'_>, listed: &mut Listed<T>) -> Result<(), Fault> {
        match piece {
            Piece::ListMeta(metadata) => listed.meta = event::read_list_meta(metadata)?,
            Piece::Object(object) => match event::read_object::<T>(object) {
                Ok(object) => {
                    listed.keys.insert(object.key());
                    listed.objects.push(object);
                }
                Err(unread) => {
                    listed.unread += 1;
                    self.leave_out(&unread, listed.unread <= MAX_WARNINGS);
                }
            },
        }
        if listed.objects.len() > MAX_OBJECTS {
            return Err(Fault::TooLarge(format!(
                "more than {MAX_OBJECTS} {}; watch fewer namespaces",
                self.subject.plural
            )));
        }
        Ok(())
    }

    fn leave_out(&self, unread: &Unread, is_said: bool) {
        self.book.unread();
        if is_said {
            tracing::warn!(
                subject = %self.subject, object = %unread.key, why = unread.why,
                "an object is not understood and left out"
            );
        }
    }

    /// One watch, until it ends or a LIST is due.
    async fn watch(&mut self, position: &str) -> Result<(), Stop> {
        let agreed = self.rhythm.draw_watch_seconds();
        let lasts = Duration::from_secs(agreed.into());
        let request = self.subject.watch(position, agreed).map_err(Fault::from)?;
        self.book.watching();
        let mut body = wire::open(&self.server, request, "WATCH", self.rhythm.watch_answer).await?;
        let begun = Instant::now();
        let dead_at = begun + lasts + self.rhythm.watch_grace;
        let mut cutter = LineCutter::default();
        loop {
            let list_at = self.confirm_at().map(|at| at.max(self.allowance.next()));
            if list_at.is_some_and(|at| at <= Instant::now()) {
                return Ok(());
            }
            let until = list_at.map_or(dead_at, |at| at.min(dead_at));
            match wire::next(&mut body, until).await {
                Ok(Some(chunk)) => self.take_lines(&chunk, &mut cutter).await?,
                Ok(None) => break,
                Err(Some(fault)) => return Err(fault.into()),
                Err(None) if until < dead_at => return Ok(()),
                Err(None) => {
                    return Err(Fault::Stalled("WATCH", lasts + self.rhythm.watch_grace).into());
                }
            }
        }
        if cutter.is_cut() {
            return Err(Fault::Broken("the watch ends in the middle of a line".to_owned()).into());
        }
        if begun.elapsed() + EARLY_END < lasts {
            return Err(Fault::Short(begun.elapsed()).into());
        }
        if self.confirm_at().is_none() {
            self.prove();
        }
        Ok(())
    }

    async fn take_lines(&mut self, chunk: &Bytes, cutter: &mut LineCutter) -> Result<(), Stop> {
        let mut rest: &[u8] = chunk;
        while let Some(line) = cutter.next(&mut rest)? {
            if !line.trim_ascii().is_empty() {
                self.take_event(event::read_line(&line)?).await?;
            }
        }
        Ok(())
    }

    async fn take_event(&mut self, event: Event<T>) -> Result<(), Stop> {
        match event {
            Event::Changed(object) => {
                self.go_to(&object.meta().resource_version);
                self.known.insert(object.key());
                self.listener.tell(News::Changed(object)).await?;
            }
            Event::Gone(object) => {
                self.go_to(&object.meta().resource_version);
                self.known.remove(&object.key());
                self.listener.tell(News::Gone(object)).await?;
            }
            Event::Bookmark(version) => self.go_to(&version),
            Event::Error(status) => return Err(Fault::of_event(&status).into()),
            Event::Unread(unread) => {
                self.go_to(&unread.resource_version);
                self.leave_out(&unread, true);
            }
        }
        if self.confirm_at().is_none() {
            self.prove();
        }
        Ok(())
    }

    /// The next watch begins behind this version.
    fn go_to(&mut self, version: &str) {
        if !version.is_empty() {
            self.position = Some(version.to_owned());
        }
    }
}
