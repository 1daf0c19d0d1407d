//! Files in, a certificate for each host out; and everything that is wrong with files, in words.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::crypto::aws_lc_rs;

use super::{
    ClientCertificates, PairSource, Tls, TlsSettings,
    pair::{FILE_BYTES_MAX, Pem},
};
use crate::telemetry::Metrics;

/// Certificate and key in PEM, valid from 2020 to this year.
fn made(hosts: &[&str], until: i32) -> (String, String) {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn put(folder: &Path, pair: &(String, String)) {
    fs::write(folder.join("tls.crt"), &pair.0).unwrap();
    fs::write(folder.join("tls.key"), &pair.1).unwrap();
}

fn settings(folder: &Path) -> TlsSettings {
    TlsSettings { pairs: vec![PairSource::Folder(folder.to_path_buf())], client: None }
}

fn fault(folder: &Path) -> String {
    Tls::open(settings(folder), &Metrics::new()).unwrap_err().to_string()
}

#[test]
fn what_is_wrong_is_said_with_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (good, other) = (made(&["a.example"], 2100), made(&["b.example"], 2100));
    assert!(fault(folder).contains("neither tls.crt with tls.key nor cert.pem with key.pem"));
    let long = good.0.repeat(17);
    let huge = "x".repeat(usize::try_from(FILE_BYTES_MAX).unwrap() + 1);
    let cut = good.0.replace("-----END CERTIFICATE-----", "");
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let junk = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let table: &[(&str, &str, &str, &str)] = &[
        ("", &good.1, "tls.crt", "no certificate in PEM"),
        ("0\u{82}\u{1}\u{2}", &good.1, "tls.crt", "from DER: openssl x509"),
        (&cut, &good.1, "tls.crt", "cannot be read"),
        (broken, &good.1, "tls.crt", "certificate 1 cannot be read"),
        (&long, &good.1, "tls.crt", "more than 16 certificates"),
        (&huge, &good.1, "tls.crt", "more than 1048576 bytes"),
        (&good.1, &good.1, "tls.crt", "no certificate in PEM"),
        (&good.0, &good.0, "tls.key", "no private key in PEM"),
        (&good.0, "", "tls.key", "no private key in PEM"),
        (&good.0, encrypted, "tls.key", "encrypted with a pass phrase"),
        (&good.0, old, "tls.key", "encrypted with a pass phrase"),
        (&good.0, junk, "tls.key", "cannot be used"),
        (&good.0, &other.1, "tls.key", "is not the key of the certificate in"),
    ];
    for (certificate, key, file, words) in table {
        put(folder, &((*certificate).to_owned(), (*key).to_owned()));
        let fault = fault(folder);
        assert!(fault.contains(words) && fault.contains(file), "{words}: {fault}");
        assert!(!fault.contains("PRIVATE KEY-----\nA"), "{fault}");
    }
    put(folder, &good);
    fs::remove_file(folder.join("tls.key")).unwrap();
    assert!(fault(folder).ends_with("tls.key: no such file"), "{}", fault(folder));
    fs::create_dir(folder.join("tls.key")).unwrap();
    assert!(fault(folder).contains("tls.key: cannot be read"), "{}", fault(folder));
}

#[test]
fn a_file_that_may_not_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &made(&["a.example"], 2100));
    let key = folder.path().join("tls.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o000)).unwrap();
    // The superuser may read everything; there the file is as good as any.
    match (Tls::open(settings(folder.path()), &Metrics::new()), fs::read(&key)) {
        (Ok(_), Ok(_)) => {}
        (Err(fault), Err(_)) => {
            let fault = fault.to_string();
            assert!(fault.contains("tls.key: the router's user may not read it"), "{fault}");
        }
        (opened, read) => panic!("{opened:?} although {read:?}"),
    }
}

#[test]
fn the_hosts_of_a_certificate_are_its_alternative_names() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &made(&["A.Example", "*.b.example", "192.0.2.1"], 2100));
    let source = PairSource::Folder(folder.path().to_path_buf());
    let pair = Pem::read(&source).unwrap().parse(&aws_lc_rs::default_provider()).unwrap();
    assert_eq!(pair.hosts, ["a.example".into(), Box::<str>::from("*.b.example")]);
    assert_eq!(&*pair.name, "a.example");
    assert_eq!(pair.not_after, UNIX_EPOCH + Duration::from_secs(4_102_444_800));
}

struct World {
    folder: tempfile::TempDir,
    metrics: Arc<Metrics>,
    tls: Arc<Tls>,
}

impl World {
    fn with(pair: &(String, String)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), pair);
        let metrics = Metrics::new();
        let tls = Tls::open(settings(folder.path()), &metrics).unwrap();
        Self { folder, metrics, tls }
    }

    /// What is in force, what is refused, and how often each happened.
    fn now(&self) -> (String, Option<String>, u32, u32) {
        let status = self.tls.certificates().remove(0);
        let text = self.metrics.encode();
        let count = |result: &str| {
            let series = format!("modelway_certificate_reloads_total{{result=\"{result}\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&series)).unwrap().parse().unwrap()
        };
        (status.name.into(), status.refused, count("ok"), count("refused"))
    }
}

#[test]
fn a_changed_pair_is_in_force_and_a_bad_one_changes_nothing_and_is_counted_once() {
    let world = World::with(&made(&["one.example"], 2100));
    let before = world.tls.config();
    world.tls.reload();
    assert!(Arc::ptr_eq(&before, &world.tls.config()), "nothing has changed");
    assert_eq!(world.now(), ("one.example".to_owned(), None, 0, 0));

    put(world.folder.path(), &made(&["two.example"], 2100));
    world.tls.reload();
    assert!(!Arc::ptr_eq(&before, &world.tls.config()));
    assert_eq!(world.now(), ("two.example".to_owned(), None, 1, 0));

    let good = fs::read(world.folder.path().join("tls.key")).unwrap();
    fs::write(world.folder.path().join("tls.key"), "nonsense").unwrap();
    let before = world.tls.config();
    for _ in 0..3 {
        world.tls.reload();
        let (name, refused, ok, bad) = world.now();
        assert_eq!((name.as_str(), ok, bad), ("two.example", 1, 1));
        assert!(refused.unwrap().contains("no private key in PEM"));
        assert!(world.tls.is_refused());
    }
    assert!(Arc::ptr_eq(&before, &world.tls.config()), "nothing has changed");

    fs::write(world.folder.path().join("tls.key"), good).unwrap();
    world.tls.reload();
    assert_eq!(world.now(), ("two.example".to_owned(), None, 1, 1));
    assert!(!world.tls.is_refused());
}

#[test]
fn an_expired_certificate_takes_the_place_of_an_expired_one_and_never_of_a_valid_one() {
    let world = World::with(&made(&["old.example"], 2021));
    put(world.folder.path(), &made(&["older.example"], 2022));
    world.tls.reload();
    assert_eq!(world.now(), ("older.example".to_owned(), None, 1, 0));
    put(world.folder.path(), &made(&["good.example"], 2100));
    world.tls.reload();
    assert_eq!(world.now(), ("good.example".to_owned(), None, 2, 0));
    put(world.folder.path(), &made(&["expired.example"], 2022));
    world.tls.reload();
    let (name, refused, ok, bad) = world.now();
    assert_eq!((name.as_str(), ok, bad), ("good.example", 2, 1));
    let why = refused.unwrap();
    assert_eq!(why, "the new certificate expired.example is expired, the one in force is valid");
}

#[test]
fn authorities_are_read_again_too_and_nonsense_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &made(&["one.example"], 2100));
    let authorities = folder.path().join("ca.crt");
    let client = Some(ClientCertificates { authorities: authorities.clone(), required: true });
    let open = || {
        let client = client.clone();
        Tls::open(TlsSettings { client, ..settings(folder.path()) }, &Metrics::new())
    };
    let fault = open().unwrap_err().to_string();
    assert!(fault.ends_with("ca.crt: no such file"), "{fault}");
    fs::write(&authorities, "nonsense").unwrap();
    let fault = open().unwrap_err().to_string();
    assert!(fault.contains("ca.crt: no certificate in PEM"), "{fault}");
    fs::write(&authorities, made(&["authority"], 2100).0).unwrap();
    let tls = open().unwrap();
    let before = tls.config();
    fs::write(&authorities, "nonsense").unwrap();
    tls.reload();
    assert!(Arc::ptr_eq(&before, &tls.config()) && tls.is_refused());
    fs::write(&authorities, made(&["another"], 2100).0).unwrap();
    tls.reload();
    assert!(!Arc::ptr_eq(&before, &tls.config()) && !tls.is_refused());
    assert!(tls.paths().contains(&authorities));
}
