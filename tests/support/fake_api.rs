//! A scripted API server: real sockets, objects by path, LIST, WATCH, GET, POST, PUT, PATCH and
//! DELETE as the real one does them, and faults on demand that the real one has only on bad days.
//!
//! It stands alone (no other file of the tests), so that the tests inside of the crate use it too.
#![allow(dead_code, reason = "each suite uses a part of this")]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use serde_json::{Value, json};

/// The most bytes of a request's body: as the real one.
const MAX_BODY_BYTES: usize = 3 << 20;
/// The most requests that are remembered.
const MAX_SEEN: usize = 100_000;
/// How often a connection that waits looks whether the server has stopped.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// What is asked for, as RBAC calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verb {
    List,
    Watch,
    Get,
    Create,
    Update,
    Patch,
    Delete,
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The request is answered with this status.
    Status(u16, &'static str),
    /// The request is never answered; the connection stays open.
    Hang,
    /// The connection is reset instead of an answer.
    Reset,
    /// Of a LIST: the head and the first bytes, then nothing.
    HangInBody,
    /// Of a LIST: no objects, whatever there is.
    Empty,
    /// Of a LIST or GET: these bytes, with status 200.
    Body(&'static str),
    /// Of a WATCH: an ERROR event with this code at once.
    ErrorEvent(u16, &'static str),
    /// Of a WATCH: answered, and then silent for ever: no event, no end.
    Mute,
    /// Of a WATCH: a reset in the middle of the first event's line.
    ResetMidLine,
    /// Of a WATCH: this line before everything else.
    Line(&'static str),
    /// Of a WATCH: ended at once, in good order.
    EndAtOnce,
    /// Of a WATCH: the first event is left out.
    LoseOneEvent,
}

/// One request that came in.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) verb: Verb,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: String,
}

/// The server. It stops when this is dropped.
pub(crate) struct FakeApi {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: Option<Accepting>,
}

struct Accepting {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    version: u64,
    /// Versions up to this one are forgotten: a watch from there is 410.
    forgotten: u64,
    next_uid: u64,
    objects: BTreeMap<Place, Value>,
    log: Vec<Change>,
    faults: Vec<Armed>,
    seen: Vec<Seen>,
    /// Each stop is a new age; connections of an older one end.
    age: u64,
    /// How often bookmarks are sent, besides the one at the end of a watch.
    bookmark_every: Option<Duration>,
}

/// Where an object is: `/api/v1` or `/apis/GROUP/VERSION`, plural, namespace, name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    collection: Collection,
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Collection {
    group: String,
    plural: String,
    namespace: Option<String>,
}

#[derive(Clone)]
struct Change {
    version: u64,
    place: Place,
    before: Option<Value>,
    after: Option<Value>,
}

struct Armed {
    prefix: String,
    verb: Verb,
    fault: Fault,
    left: u32,
}

impl FakeApi {
    /// Starts on a free port of 127.0.0.1.
    pub(crate) fn start() -> Self {
        let shared = Arc::new(Shared::default());
        shared.state.lock().version = 1;
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let accepting = Some(accept(listener, &shared));
        Self { shared, address, accepting }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A kubeconfig for it, as YAML.
    pub(crate) fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: fake\nclusters:\n- name: fake\n  cluster: \
             {{server: \"{}\"}}\nusers:\n- name: fake\n  user: {{token: fake-token}}\ncontexts:\n- \
             name: fake\n  context: {{cluster: fake, user: fake, namespace: default}}\n",
            self.url()
        )
    }

    /// Makes or replaces the object at `/api/v1/namespaces/NS/pods/NAME` and the like.
    pub(crate) fn put(&self, path: &str, object: Value) {
        let place = Place::of(path).expect("the path of an object");
        self.shared.state.lock().write(&place, object);
        self.shared.changed.notify_all();
    }

    /// Takes an object away.
    pub(crate) fn remove(&self, path: &str) {
        let place = Place::of(path).expect("the path of an object");
        self.shared.state.lock().remove(&place);
        self.shared.changed.notify_all();
    }

    /// Takes an object away without an event: a watch never hears of it.
    pub(crate) fn remove_unheard(&self, path: &str) {
        let place = Place::of(path).expect("the path of an object");
        let mut state = self.shared.state.lock();
        state.remove(&place);
        state.log.pop();
    }

    /// The object, as it is now.
    pub(crate) fn object(&self, path: &str) -> Option<Value> {
        let place = Place::of(path).expect("the path of an object");
        self.shared.state.lock().objects.get(&place).cloned()
    }

    /// Requests of this verb whose path begins so meet the fault, so many times.
    pub(crate) fn fault(&self, verb: Verb, prefix: &str, fault: Fault, times: u32) {
        let armed = Armed { prefix: prefix.to_owned(), verb, fault, left: times };
        self.shared.state.lock().faults.push(armed);
    }

    /// No more faults.
    pub(crate) fn heal(&self) {
        self.shared.state.lock().faults.clear();
    }

    /// What was asked so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.state.lock().seen.clone()
    }

    /// How many requests of this verb had a path that begins so.
    pub(crate) fn count(&self, verb: Verb, prefix: &str) -> usize {
        let state = self.shared.state.lock();
        state.seen.iter().filter(|seen| seen.verb == verb && seen.path.starts_with(prefix)).count()
    }

    /// Forgets all versions up to now, as etcd does after five minutes: watches that begin at or
    /// before one of them get ERROR 410.
    pub(crate) fn forget_versions(&self) {
        let mut state = self.shared.state.lock();
        state.version += 1;
        state.forgotten = state.version;
        state.log.clear();
    }

    /// Sets the version back, as when etcd is restored from a backup: watches that begin behind it
    /// get ERROR 504.
    pub(crate) fn set_version_back(&self, version: u64) {
        let mut state = self.shared.state.lock();
        state.version = version;
        state.forgotten = 0;
        state.log.clear();
    }

    /// Sends bookmarks so often.
    pub(crate) fn send_bookmarks_every(&self, interval: Duration) {
        self.shared.state.lock().bookmark_every = Some(interval);
    }

    /// Ends every connection; new ones are served.
    pub(crate) fn cut_connections(&self) {
        self.shared.state.lock().age += 1;
        self.shared.changed.notify_all();
    }

    /// Stops listening and ends every connection: connecting is refused from now on.
    pub(crate) fn stop(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.stop.store(true, Ordering::Release);
            // Wakes the thread that accepts.
            drop(TcpStream::connect(self.address));
            accepting.thread.join().expect("the accepting thread ends");
        }
        self.cut_connections();
    }

    /// Listens again, on the same port.
    pub(crate) fn restart(&mut self) {
        let listener = TcpListener::bind(self.address).expect("the port is still free");
        self.accepting = Some(accept(listener, &self.shared));
    }
}

impl Drop for FakeApi {
    fn drop(&mut self) {
        self.stop();
    }
}

fn accept(listener: TcpListener, shared: &Arc<Shared>) -> Accepting {
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, shared) = (Arc::clone(&stop), Arc::clone(shared));
    let thread = thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if stopped.load(Ordering::Acquire) {
                return;
            }
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                // An error is a client that went away.
                drop(Connection::new(stream, shared).and_then(|mut connection| connection.serve()));
            });
        }
    });
    Accepting { stop, thread }
}

struct Connection {
    shared: Arc<Shared>,
    reader: BufReader<TcpStream>,
    stream: TcpStream,
    age: u64,
}

struct Request {
    verb: Verb,
    path: String,
    query: BTreeMap<String, String>,
    body: Vec<u8>,
    wants_metadata: bool,
}

/// Whether the connection goes on.
type Goes = std::io::Result<bool>;

impl Connection {
    fn new(stream: TcpStream, shared: Arc<Shared>) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LOOK_INTERVAL))?;
        let age = shared.state.lock().age;
        Ok(Self { shared, reader: BufReader::new(stream.try_clone()?), stream, age })
    }

    fn serve(&mut self) -> std::io::Result<()> {
        while let Some(request) = self.read_request()? {
            if !self.answer(&request)? {
                break;
            }
        }
        self.stream.shutdown(Shutdown::Both)
    }

    fn is_over(&self) -> bool {
        self.shared.state.lock().age != self.age
    }

    /// A line, however long it takes; `None` when the connection is over.
    fn read_line(&mut self) -> std::io::Result<Option<String>> {
        let mut line = Vec::new();
        loop {
            match self.reader.read_until(b'\n', &mut line) {
                Ok(0) => return Ok(None),
                Ok(_) if line.ends_with(b"\n") => {
                    return Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()));
                }
                Ok(_) => return Ok(None),
                Err(error) if is_timeout(&error) && !self.is_over() => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn read_request(&mut self) -> std::io::Result<Option<Request>> {
        let Some(first) = self.read_line()? else { return Ok(None) };
        let mut words = first.split(' ');
        let (method, target) =
            (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default());
        let (path, query_text) = target.split_once('?').unwrap_or((target, ""));
        let (path, query_text) = (path.to_owned(), query_text.to_owned());
        let (mut length, mut wants_metadata) = (0, false);
        loop {
            let Some(line) = self.read_line()? else { return Ok(None) };
            let Some((name, value)) = line.split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().expect("a length"),
                "accept" => wants_metadata = value.contains("as=PartialObjectMetadata"),
                _ => {}
            }
        }
        assert!(length <= MAX_BODY_BYTES, "a body of {length} bytes");
        let mut body = vec![0; length];
        self.stream.set_read_timeout(None)?;
        self.reader.read_exact(&mut body)?;
        self.stream.set_read_timeout(Some(LOOK_INTERVAL))?;
        let query = parse_query(&query_text);
        let verb = verb_of(&method, &path, &query);
        let mut state = self.shared.state.lock();
        assert!(state.seen.len() < MAX_SEEN, "more than {MAX_SEEN} requests");
        state.seen.push(Seen {
            at: Instant::now(),
            verb,
            path: path.clone(),
            query: query_text,
            body: String::from_utf8_lossy(&body).into_owned(),
        });
        Ok(Some(Request { verb, path, query, body, wants_metadata }))
    }

    fn answer(&mut self, request: &Request) -> Goes {
        let fault = self.shared.state.lock().next_fault(request.verb, &request.path);
        match fault {
            Some(Fault::Status(code, message)) => self.send(code, &status(code, "", message)),
            Some(Fault::Hang) => self.hang(),
            Some(Fault::Reset) => self.reset(),
            Some(Fault::Body(text)) => self.send_text(200, text),
            Some(Fault::HangInBody) => {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                            content-length: 100000\r\n\r\n{\"kind\":\"List\",";
                self.stream.write_all(head.as_bytes())?;
                self.hang()
            }
            fault if request.verb == Verb::Watch => self.watch(request, fault.as_ref()),
            fault => {
                let is_empty = matches!(fault, Some(Fault::Empty));
                let (code, answer) = self.shared.state.lock().handle(request, is_empty);
                self.shared.changed.notify_all();
                self.send_text(code, &answer)
            }
        }
    }

    fn send(&mut self, code: u16, answer: &Value) -> Goes {
        self.send_text(code, &answer.to_string())
    }

    fn send_text(&mut self, code: u16, text: &str) -> Goes {
        let head = format!(
            "HTTP/1.1 {code} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            text.len()
        );
        self.stream.write_all(head.as_bytes())?;
        self.stream.write_all(text.as_bytes())?;
        Ok(true)
    }

    /// Says nothing more until the client goes away or the connections are cut.
    fn hang(&mut self) -> Goes {
        let mut byte = [0];
        while !self.is_over() {
            match self.stream.read(&mut byte) {
                Ok(1..) => {}
                Ok(_) => break,
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    fn reset(&mut self) -> Goes {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?;
        // Closing the last handle sends RST; `serve` would send FIN.
        Err(std::io::ErrorKind::ConnectionReset.into())
    }

    fn chunk(&mut self, text: &str) -> std::io::Result<()> {
        write!(self.stream, "{:x}\r\n{text}\r\n", text.len())
    }

    fn event(&mut self, kind: &str, object: &Value) -> std::io::Result<()> {
        self.chunk(&format!("{}\n", json!({ "type": kind, "object": object })))
    }

    fn end_of_watch(&mut self) -> Goes {
        self.stream.write_all(b"0\r\n\r\n")?;
        Ok(true)
    }

    fn watch(&mut self, request: &Request, fault: Option<&Fault>) -> Goes {
        self.stream.write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
        )?;
        let mut is_losing = false;
        match fault {
            Some(Fault::ErrorEvent(code, message)) => {
                self.event("ERROR", &status(*code, "", message))?;
                return self.end_of_watch();
            }
            Some(Fault::Mute) => return self.hang(),
            Some(Fault::ResetMidLine) => {
                self.chunk("{\"type\":\"ADDED\",\"object\":{\"metada")?;
                return self.reset();
            }
            Some(Fault::Line(line)) => self.chunk(&format!("{line}\n"))?,
            Some(Fault::EndAtOnce) => return self.end_of_watch(),
            Some(Fault::LoseOneEvent) => is_losing = true,
            _ => {}
        }
        self.follow(request, is_losing)
    }

    /// Sends events until the agreed time is over.
    fn follow(&mut self, request: &Request, mut is_losing: bool) -> Goes {
        let collection = Collection::of(&request.path).expect("the path of a collection");
        let mut position: u64 = request.number("resourceVersion").unwrap_or(0);
        let lasts = request.number("timeoutSeconds").unwrap_or(1800);
        let end = Instant::now() + Duration::from_secs(lasts);
        let mut bookmark_at = self.next_bookmark();
        loop {
            let shared = Arc::clone(&self.shared);
            let mut state = shared.state.lock();
            if state.age != self.age {
                return Ok(false);
            }
            if let Some(trouble) = state.out_of_step(position) {
                drop(state);
                self.event("ERROR", &trouble)?;
                return self.end_of_watch();
            }
            let changes = state.changes_since(position);
            let version = state.version;
            if changes.is_empty() && Instant::now() < end {
                let wake = bookmark_at.map_or(end, |at| at.min(end));
                shared.changed.wait_until(&mut state, wake);
            }
            drop(state);
            for change in &changes {
                position = change.version;
                if let Some((kind, object)) = event_of(change, &collection, request)
                    && !std::mem::take(&mut is_losing)
                {
                    self.event(kind, &object)?;
                }
            }
            let is_over = Instant::now() >= end;
            if changes.is_empty() && (is_over || bookmark_at.is_some_and(|at| at <= Instant::now()))
            {
                position = position.max(version);
                let meta = json!({ "resourceVersion": position.to_string() });
                self.event(
                    "BOOKMARK",
                    &json!({ "kind": "X", "apiVersion": "v1", "metadata": meta }),
                )?;
                bookmark_at = self.next_bookmark();
            }
            if is_over {
                return self.end_of_watch();
            }
        }
    }

    fn next_bookmark(&self) -> Option<Instant> {
        self.shared.state.lock().bookmark_every.map(|every| Instant::now() + every)
    }
}

impl State {
    fn next_fault(&mut self, verb: Verb, path: &str) -> Option<Fault> {
        let armed = self.faults.iter_mut().find(|armed| {
            armed.verb == verb && armed.left > 0 && path.starts_with(&armed.prefix)
        })?;
        armed.left -= 1;
        Some(armed.fault.clone())
    }

    fn write(&mut self, place: &Place, mut object: Value) -> Value {
        self.version += 1;
        let before = self.objects.get(place).cloned();
        let uid = match before.as_ref().and_then(|before| before["metadata"]["uid"].as_str()) {
            Some(uid) => uid.to_owned(),
            None => {
                self.next_uid += 1;
                format!("00000000-0000-4000-8000-{:012}", self.next_uid)
            }
        };
        let created = before.as_ref().map(|before| before["metadata"]["creationTimestamp"].clone());
        let meta = &mut object["metadata"];
        meta["name"] = place.name.clone().into();
        if let Some(namespace) = &place.collection.namespace {
            meta["namespace"] = namespace.clone().into();
        }
        if meta["uid"].is_null() || before.is_some() {
            meta["uid"] = uid.into();
        }
        if meta["creationTimestamp"].is_null() {
            let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            meta["creationTimestamp"] = created.unwrap_or(now.into());
        }
        let spec_changed = before.as_ref().is_none_or(|before| before["spec"] != object["spec"]);
        let generation = before
            .as_ref()
            .and_then(|before| before["metadata"]["generation"].as_i64())
            .unwrap_or(0);
        object["metadata"]["generation"] = (generation + i64::from(spec_changed)).into();
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.insert(place.clone(), object.clone());
        self.log(place, before, Some(object.clone()));
        object
    }

    fn remove(&mut self, place: &Place) -> Option<Value> {
        let mut gone = self.objects.remove(place)?;
        self.version += 1;
        gone["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.log(place, Some(gone.clone()), None);
        Some(gone)
    }

    fn log(&mut self, place: &Place, before: Option<Value>, after: Option<Value>) {
        self.log.push(Change { version: self.version, place: place.clone(), before, after });
    }

    fn changes_since(&self, position: u64) -> Vec<Change> {
        let from = self.log.partition_point(|change| change.version <= position);
        self.log.get(from..).unwrap_or_default().to_vec()
    }

    fn out_of_step(&self, position: u64) -> Option<Value> {
        if position < self.forgotten {
            let message = format!("too old resource version: {position} ({})", self.forgotten);
            return Some(status(410, "Expired", &message));
        }
        if position > self.version {
            let message =
                format!("Too large resource version: {position}, current: {}", self.version);
            return Some(status(504, "Timeout", &message));
        }
        None
    }

    /// The status and the text of the answer.
    fn handle(&mut self, request: &Request, is_empty: bool) -> (u16, String) {
        let (code, answer) = match (request.path.as_str(), request.verb) {
            ("/version", _) => {
                (200, json!({ "major": "1", "minor": "34", "gitVersion": "v1.34.4" }))
            }
            ("/livez" | "/readyz" | "/healthz", _) => (200, json!("ok")),
            (_, Verb::List) => return self.list(request, is_empty),
            (_, Verb::Create) => self.create(request),
            (_, Verb::Watch) => (500, status(500, "", "a watch is no call")),
            (_, Verb::Get | Verb::Update | Verb::Patch | Verb::Delete) => {
                self.handle_object(request)
            }
        };
        (code, answer.to_string())
    }

    /// Written object by object: a list of ten thousand is not copied first.
    fn list(&self, request: &Request, is_empty: bool) -> (u16, String) {
        let Some(collection) = Collection::of(&request.path) else {
            let (code, answer) = not_found(&request.path);
            return (code, answer.to_string());
        };
        let meta = json!({ "resourceVersion": self.version.to_string() });
        let mut text =
            format!("{{\"kind\":\"List\",\"apiVersion\":\"v1\",\"metadata\":{meta},\"items\":[");
        let mut comma = "";
        for (place, object) in &self.objects {
            if is_empty || !collection.holds(&place.collection) || !selects(request, object) {
                continue;
            }
            let object = if request.wants_metadata { &trimmed(request, object) } else { object };
            write!(text, "{comma}{object}").expect("a string takes all");
            comma = ",";
        }
        text.push_str("]}");
        (200, text)
    }

    fn create(&mut self, request: &Request) -> (u16, Value) {
        let Some(collection) = Collection::of(&request.path) else {
            return not_found(&request.path);
        };
        let Ok(mut object) = serde_json::from_slice::<Value>(&request.body) else {
            return (400, status(400, "BadRequest", "the body is no JSON"));
        };
        if object["metadata"]["name"].is_null() {
            let prefix = object["metadata"]["generateName"].as_str().unwrap_or_default();
            object["metadata"]["name"] = format!("{prefix}{}", self.version).into();
        }
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let place = Place { collection, name };
        if self.objects.contains_key(&place) {
            let message = format!("{} \"{}\" already exists", place.collection.plural, place.name);
            return (409, status(409, "AlreadyExists", &message));
        }
        (201, self.write(&place, object))
    }

    fn handle_object(&mut self, request: &Request) -> (u16, Value) {
        let (path, part) = split_subresource(&request.path);
        let Some(place) = Place::of(path) else { return not_found(path) };
        let Some(now) = self.objects.get(&place).cloned() else { return not_found(path) };
        match request.verb {
            Verb::Get if part == Some("scale") => return (200, scale_of(&now)),
            Verb::Get => return (200, trimmed(request, &now)),
            Verb::Delete => return (200, self.remove(&place).unwrap_or_default()),
            _ => {}
        }
        let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
            return (400, status(400, "BadRequest", "the body is no JSON"));
        };
        let asked = body["metadata"]["resourceVersion"].as_str();
        if asked.is_some_and(|asked| now["metadata"]["resourceVersion"] != asked) {
            let message = format!(
                "Operation cannot be fulfilled on {}: the object has been modified",
                place.name
            );
            return (409, status(409, "Conflict", &message));
        }
        let mut next = if request.verb == Verb::Patch { now.clone() } else { body.clone() };
        match (request.verb, part) {
            (_, Some("scale")) => {
                next = now.clone();
                next["spec"]["replicas"] = body["spec"]["replicas"].clone();
            }
            (Verb::Patch, Some("status")) => merge(&mut next["status"], &body["status"]),
            (Verb::Patch, _) => merge(&mut next, &body),
            (_, Some("status")) => {
                next = now.clone();
                next["status"] = body["status"].clone();
            }
            _ => {}
        }
        let written = if next == now { now } else { self.write(&place, next) };
        (200, if part == Some("scale") { scale_of(&written) } else { written })
    }
}

impl Request {
    fn number(&self, key: &str) -> Option<u64> {
        self.query.get(key)?.parse().ok()
    }
}

impl Collection {
    /// Out of `/api/v1/pods`, `/apis/apps/v1/namespaces/NS/deployments`.
    fn of(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let group_length = if parts.first() == Some(&"api") { 2 } else { 3 };
        let (group, rest) = parts.split_at_checked(group_length)?;
        let group = format!("/{}", group.join("/"));
        let (namespace, plural) = match rest {
            [plural] => (None, *plural),
            ["namespaces", namespace, plural] => (Some((*namespace).to_owned()), *plural),
            _ => return None,
        };
        Some(Self { group, plural: plural.to_owned(), namespace })
    }

    /// Whether objects of `other` belong to this collection, which may be that of all namespaces.
    fn holds(&self, other: &Self) -> bool {
        self.group == other.group
            && self.plural == other.plural
            && (self.namespace.is_none() || self.namespace == other.namespace)
    }
}

impl Place {
    fn of(path: &str) -> Option<Self> {
        let (collection, name) = path.rsplit_once('/')?;
        Some(Self { collection: Collection::of(collection)?, name: name.to_owned() })
    }
}

/// What a watch of the collection hears of a change, with the words of the real one: an object that
/// the selector no longer takes is DELETED.
fn event_of(
    change: &Change,
    collection: &Collection,
    request: &Request,
) -> Option<(&'static str, Value)> {
    if !collection.holds(&change.place.collection) {
        return None;
    }
    let is_selected =
        |object: &Option<Value>| object.as_ref().is_some_and(|object| selects(request, object));
    let (was, is) = (is_selected(&change.before), is_selected(&change.after));
    let kind = match (was, is) {
        (false, true) => "ADDED",
        (true, true) => "MODIFIED",
        (true, false) => "DELETED",
        (false, false) => return None,
    };
    let mut object = if is { change.after.clone()? } else { change.before.clone()? };
    object["metadata"]["resourceVersion"] = change.version.to_string().into();
    Some((kind, trimmed(request, &object)))
}

fn trimmed(request: &Request, object: &Value) -> Value {
    if !request.wants_metadata {
        return object.clone();
    }
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"],
    })
}

fn selects(request: &Request, object: &Value) -> bool {
    let by_field = request.query.get("fieldSelector").is_none_or(|selector| {
        selector.split(',').all(|term| {
            let (field, value) = term.split_once('=').expect("FIELD=VALUE");
            let pointer = format!("/{}", field.replace('.', "/"));
            object.pointer(&pointer).and_then(Value::as_str) == Some(value.trim_start_matches('='))
        })
    });
    let labels = &object["metadata"]["labels"];
    let by_label =
        request.query.get("labelSelector").is_none_or(|selector| selects_labels(selector, labels));
    by_field && by_label
}

/// `a=b`, `a!=b`, `a`, `!a`, `a in (b,c)`, `a notin (b,c)`, joined with commas.
fn selects_labels(selector: &str, labels: &Value) -> bool {
    let mut depth = 0;
    let terms = selector.split(|sign| {
        depth += i32::from(sign == '(') - i32::from(sign == ')');
        sign == ',' && depth == 0
    });
    terms.map(str::trim).filter(|term| !term.is_empty()).all(|term| {
        let label = |key: &str| labels[key.trim()].as_str();
        let is_in = |values: &str, value: &str| {
            values.trim_matches(['(', ')', ' ']).split(',').any(|one| one.trim() == value)
        };
        if let Some((key, values)) = term.split_once(" notin ") {
            label(key).is_none_or(|value| !is_in(values, value))
        } else if let Some((key, values)) = term.split_once(" in ") {
            label(key).is_some_and(|value| is_in(values, value))
        } else if let Some((key, value)) = term.split_once("!=") {
            label(key) != Some(value.trim())
        } else if let Some((key, value)) = term.split_once('=') {
            label(key) == Some(value.trim_start_matches('=').trim())
        } else if let Some(key) = term.strip_prefix('!') {
            label(key).is_none()
        } else {
            label(term).is_some()
        }
    })
}

fn scale_of(object: &Value) -> Value {
    let meta = &object["metadata"];
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"],
        },
        "spec": { "replicas": object["spec"]["replicas"].as_i64().unwrap_or(1) },
        "status": { "replicas": object["status"]["replicas"].as_i64().unwrap_or(0) },
    })
}

/// RFC 7386: what is null is taken out, objects are merged, the rest is replaced.
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            into.as_object_mut().expect("an object").remove(key);
        } else {
            merge(&mut into[key], value);
        }
    }
}

fn split_subresource(path: &str) -> (&str, Option<&str>) {
    match path.rsplit_once('/') {
        Some((object, part @ ("status" | "scale"))) => (object, Some(part)),
        _ => (path, None),
    }
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
        "reason": reason, "message": message,
    })
}

fn not_found(path: &str) -> (u16, Value) {
    (404, status(404, "NotFound", &format!("{path} not found")))
}

fn verb_of(method: &str, path: &str, query: &BTreeMap<String, String>) -> Verb {
    match method {
        "POST" => Verb::Create,
        "PUT" => Verb::Update,
        "PATCH" => Verb::Patch,
        "DELETE" => Verb::Delete,
        _ if Collection::of(path).is_none() => Verb::Get,
        _ if query.get("watch").is_some_and(|watch| watch == "true" || watch == "1") => Verb::Watch,
        _ => Verb::List,
    }
}

fn parse_query(query: &str) -> BTreeMap<String, String> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), decode(value)))
        .collect()
}

/// Percent and plus, as in a form.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'%', [high, low, ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).expect("two digits");
                bytes.push(u8::from_str_radix(digits, 16).expect("two digits"));
                rest = &tail[2..];
            }
            (b'+', _) => bytes.push(b' '),
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}
