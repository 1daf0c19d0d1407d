//! Certificates that change while clients come and go.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{
    client::{Hello, Line, with_h2},
    pki::{Authority, Leaf},
    site::{SCORE, SOON, Site},
    support::{
        watch::{metric, until},
        wire::{h2_ask, h2_request, request},
    },
};

const ROTATIONS: usize = 100;
/// Each so many is a bad pair.
const BAD_EACH: usize = 10;

/// Writes a pair as kubelet does: a folder of its own, and a link that is moved to it.
fn swap(mount: &Path, number: usize, leaf: &Leaf) {
    let folder = format!("..{number}");
    leaf.put(&mount.join(&folder));
    let link = mount.join("..data_tmp");
    symlink(&folder, &link).expect("a folder that is ours");
    fs::rename(&link, mount.join("..data")).expect("a folder that is ours");
    if let Some(before) = number.checked_sub(1) {
        fs::remove_dir_all(mount.join(format!("..{before}"))).expect("a folder that is ours");
    }
}

fn reloads(site: &Site, result: &str) -> f64 {
    let label = format!("result=\"{result}\"");
    metric(&site.router, "modelway_certificate_reloads_total", &[&label])
}

fn mounted(extra: &[&str]) -> (Site, tempfile::TempDir) {
    let (mount, folder) = (
        tempfile::tempdir().expect("a temporary folder"),
        tempfile::tempdir().expect("a temporary folder"),
    );
    let authority = Authority::new("authority of the test");
    let leaf = authority.sign(&["localhost"]);
    swap(mount.path(), 0, &leaf);
    for name in ["tls.crt", "tls.key"] {
        symlink(format!("..data/{name}"), mount.path().join(name)).expect("a folder that is ours");
    }
    let path = mount.path().display().to_string();
    let flags = [&["--tls-port", "0", "--tls-dir", &path], extra].concat();
    (Site::with(authority, vec![leaf], folder, &flags), mount)
}

/// What the clients of a rotation have seen.
#[derive(Default)]
struct Seen {
    handshakes: AtomicUsize,
    requests: AtomicUsize,
    failures: Mutex<Vec<String>>,
    certificates: Mutex<BTreeSet<Vec<u8>>>,
}

impl Seen {
    fn check(&self, result: Result<(), String>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = result {
            self.failures.lock().push(error);
        }
    }

    /// New connections again and again, with one request each.
    fn newcomer(&self, site: &Site, hello: &Hello, ended: &AtomicBool) {
        while !ended.load(Ordering::Relaxed) {
            self.handshakes.fetch_add(1, Ordering::Relaxed);
            self.check(Line::open(site.secure, hello).map_err(|error| error.to_string()).and_then(
                |mut line| {
                    self.certificates.lock().insert(line.shown().to_vec());
                    ask(&mut line)
                },
            ));
        }
    }
}

fn ask(line: &mut Line) -> Result<(), String> {
    line.try_send(request(SCORE, "", "abc")).map_err(|error| error.to_string())?;
    let answer = line.try_answer().map_err(|error| error.to_string())?;
    if answer.status == 200 && answer.text() == "3" { Ok(()) } else { Err(format!("{answer:?}")) }
}

#[test]
fn a_hundred_rotations_under_load_lose_nothing() {
    let (site, mount) = mounted(&[]);
    let hello = site.hello();
    let (seen, ended) = (Seen::default(), AtomicBool::new(false));
    let begun = Instant::now();
    let last = std::thread::scope(|scope| {
        let version12 = Hello { versions: vec![&rustls::version::TLS12], ..hello.clone() };
        for hello in [hello.clone(), version12] {
            let (seen, site, ended) = (&seen, &site, &ended);
            scope.spawn(move || seen.newcomer(site, &hello, ended));
        }
        scope.spawn(|| {
            let mut line = Line::open(site.secure, &hello).unwrap();
            while !ended.load(Ordering::Relaxed) {
                seen.check(ask(&mut line));
            }
        });
        scope.spawn(|| {
            with_h2(site.secure, &hello, async |sender, _task| {
                while !ended.load(Ordering::Relaxed) {
                    let asked = h2_request("POST", "/api/v1/endpoint/plain/score", &[]);
                    let answer = h2_ask(&sender, asked, b"abc").await;
                    seen.check(match answer {
                        Ok(answer) if answer.status == 200 => Ok(()),
                        other => Err(format!("{other:?}")),
                    });
                }
            });
        });
        let rotated = rotate(&site, mount.path());
        ended.store(true, Ordering::Relaxed);
        rotated
    });
    let failures = seen.failures.into_inner();
    let certificates = seen.certificates.into_inner();
    tell(&format!(
        "{ROTATIONS} rotations in {:.1} s, {} of them bad: {} handshakes, {} requests, {} \
         certificates seen, {} failures",
        begun.elapsed().as_secs_f64(),
        ROTATIONS / BAD_EACH,
        seen.handshakes.into_inner(),
        seen.requests.into_inner(),
        certificates.len(),
        failures.len()
    ));
    assert!(failures.is_empty(), "{failures:?}");
    assert!(certificates.len() > 10, "{}", certificates.len());
    let line = Line::open(site.secure, &hello).unwrap();
    assert!(line.shown() == last.der, "the last good pair is in force");
}

/// Swaps pairs, each as soon as the one before was noticed; the last good one.
fn rotate(site: &Site, mount: &Path) -> Leaf {
    let mut last = site.leaves[0].clone();
    let (mut good, mut bad) = (0.0, 0.0);
    for number in 1..=ROTATIONS {
        let mut leaf = site.authority.sign(&["localhost"]);
        let is_bad = number % BAD_EACH == 0;
        if is_bad {
            leaf.key = site.authority.sign(&["localhost"]).key;
            bad += 1.0;
        } else {
            last = leaf.clone();
            good += 1.0;
        }
        swap(mount, number, &leaf);
        until(SOON, "the change is noticed", || {
            let counts = (reloads(site, "ok"), reloads(site, "refused"));
            (counts.0 > good - 0.5 && counts.1 > bad - 0.5).then_some(())
        });
    }
    let counts = (reloads(site, "ok"), reloads(site, "refused"));
    assert!((counts.0 - good).abs() < 0.5 && (counts.1 - bad).abs() < 0.5, "{counts:?}");
    last
}

#[test]
fn a_bad_pair_is_shown_and_what_is_in_force_goes_on() {
    let (site, mount) = mounted(&[]);
    let (_, page) = site.router.admin_get("/readyz?verbose");
    assert!(page.contains("[+]certificate localhost valid until 4096-01-01T00:00:00Z\n"), "{page}");
    let mut bad = site.authority.sign(&["localhost"]);
    bad.key = "nonsense".to_owned();
    swap(mount.path(), 1, &bad);
    let page = until(SOON, "the fault is shown", || {
        let (status, page) = site.router.admin_get("/readyz?verbose");
        assert_eq!(status, 200, "a bad pair does not make a router unready: {page}");
        page.contains("[!]certificate localhost valid until").then_some(page)
    });
    assert!(page.contains("tls.key: no private key in PEM"), "{page}");
    let logged = || {
        let errors = site.router.errors();
        errors.iter().filter(|line| line.contains("no private key in PEM")).count()
    };
    until(SOON, "the fault is logged", || (logged() == 1).then_some(()));
    let line = Line::open(site.secure, &site.hello()).unwrap();
    assert!(line.shown() == site.leaves[0].der);
    // Touched again and as bad as before: it is not said twice.
    fs::write(mount.path().join("..1/tls.key"), "nonsense, still").unwrap();
    let good = site.authority.sign(&["localhost", "new.example"]);
    swap(mount.path(), 2, &good);
    until(SOON, "the good pair is in force", || {
        let line = Line::open(site.secure, &site.hello()).unwrap();
        (line.shown() == good.der).then_some(())
    });
    assert_eq!(logged(), 1, "{:#?}", site.router.errors());
    let series = "modelway_certificate_expiry_timestamp_seconds";
    let expires = metric(&site.router, series, &["name=\"localhost\""]);
    assert!((expires - 67_090_118_400.0).abs() < 1.0, "{expires}");
}

#[test]
fn connections_from_before_a_rotation_go_on() {
    let (site, mount) = mounted(&[]);
    let mut old = Line::open(site.secure, &site.hello()).unwrap();
    assert_eq!(ask(&mut old), Ok(()));
    let next = site.authority.sign(&["localhost"]);
    swap(mount.path(), 1, &next);
    until(SOON, "the new pair is in force", || {
        let line = Line::open(site.secure, &site.hello()).unwrap();
        (line.shown() == next.der).then_some(())
    });
    assert_eq!(ask(&mut old), Ok(()));
    assert!(!old.ends_in_order(Duration::from_millis(1)), "it is kept");
}

/// Says something for whoever reads the output of the test.
#[expect(clippy::print_stderr, reason = "a figure of this run")]
fn tell(words: &str) {
    eprintln!("{words}");
}
