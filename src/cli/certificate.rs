//! `modelway certificate`: a certificate for development, and the authority that it is good by.
#![expect(clippy::print_stdout, reason = "what a person at the terminal should read")]

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use clap::Args;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// What a certificate is for when nothing is said.
const LOCAL_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// The most hosts of one certificate.
const HOSTS_MAX: usize = 100;
/// How long it is valid when nothing is said.
const DAYS_DEFAULT: u32 = 90;
/// The longest; some clients refuse more (825 days, since 2019).
const DAYS_MAX: u32 = 825;
/// It is valid since so long, for clients whose clocks are behind.
const BEFORE: Duration = Duration::from_secs(3600);
/// Only who has made them may read them.
const MODE: u32 = 0o600;

/// `modelway certificate`.
#[derive(Debug, Clone, Args)]
pub(super) struct CertificateArgs {
    /// Host or address that it is for; may be given several times [default: localhost, 127.0.0.1
    /// and ::1]
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Folder for tls.crt, tls.key and ca.crt; made if it is not there
    #[arg(long, value_name = "DIR", default_value = "certificate")]
    out: PathBuf,
    /// How many days it is valid
    #[arg(long, value_name = "N", default_value_t = DAYS_DEFAULT, value_parser = clap::value_parser!(u32).range(1..=i64::from(DAYS_MAX)))]
    days: u32,
}

/// Makes the files and says how they are used.
pub(super) fn run(args: &CertificateArgs) -> anyhow::Result<()> {
    let hosts = match args.host.as_slice() {
        [] => LOCAL_HOSTS.map(str::to_owned).to_vec(),
        hosts => hosts.to_vec(),
    };
    if hosts.len() > HOSTS_MAX {
        anyhow::bail!("at most {HOSTS_MAX} hosts can be in one certificate, not {}", hosts.len());
    }
    let made = make(&hosts, args.days, SystemTime::now())?;
    write(&args.out, &made)?;
    let first = hosts.first().map_or("localhost", String::as_str);
    println!("{}", words(&args.out, &hosts, first, args.days));
    Ok(())
}

/// The files by their names.
type Made = [(&'static str, String); 3];

/// A certificate signed by an authority whose key is thrown away: whoever trusts the authority
/// trusts this one certificate and never another. A certificate signed by itself would do for some
/// clients only: others do not take an authority for a server (RFC 5280 §4.2.1.9).
fn make(hosts: &[String], days: u32, now: SystemTime) -> anyhow::Result<Made> {
    let since = now.duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    let not_before = date_time_ymd(1970, 1, 1) + since.saturating_sub(BEFORE);
    let not_after =
        date_time_ymd(1970, 1, 1) + since + Duration::from_secs(u64::from(days) * 24 * 3600);

    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "Modelway development authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (authority.not_before, authority.not_after) = (not_before, not_after);
    let authority_key = KeyPair::generate().context("cannot make a key")?;
    let authority_certificate =
        authority.self_signed(&authority_key).context("cannot make the authority")?;

    let mut server = CertificateParams::new(hosts.to_vec())
        .with_context(|| format!("not a host or an address: {}", hosts.join(", ")))?;
    let name = hosts.first().map_or("localhost", String::as_str);
    server.distinguished_name.push(DnType::CommonName, name);
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    (server.not_before, server.not_after) = (not_before, not_after);
    let key = KeyPair::generate().context("cannot make a key")?;
    let issuer = Issuer::new(authority, authority_key);
    let certificate = server.signed_by(&key, &issuer).context("cannot make the certificate")?;
    Ok([
        ("tls.crt", certificate.pem()),
        ("tls.key", key.serialize_pem()),
        ("ca.crt", authority_certificate.pem()),
    ])
}

/// All of them or none, and nothing that is there is replaced.
fn write(folder: &Path, made: &Made) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let taken = made.iter().map(|(name, _)| folder.join(name)).find(|path| path.exists());
    if let Some(taken) = taken {
        anyhow::bail!("{} is there already; choose another folder with --out", taken.display());
    }
    for (name, text) in made {
        let path = folder.join(name);
        let opened = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&path);
        opened.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| {
            let why = match error.kind() {
                ErrorKind::AlreadyExists => "is there already".to_owned(),
                _ => error.to_string(),
            };
            anyhow::anyhow!("cannot write {}: {why}", path.display())
        })?;
    }
    Ok(())
}

fn words(folder: &Path, hosts: &[String], first: &str, days: u32) -> String {
    let folder = folder.display();
    let host = match first.parse() {
        Ok(IpAddr::V6(_)) => format!("[{first}]"),
        _ => first.replacen('*', "any", 1),
    };
    format!(
        "a certificate for {}, valid for {days} days\n\
         \x20 {folder}/tls.crt  the certificate\n\
         \x20 {folder}/tls.key  its key: keep it to yourself\n\
         \x20 {folder}/ca.crt   the authority that clients have to trust; its key is gone\n\
         modelway dev --tls-dir {folder}\n\
         curl --cacert {folder}/ca.crt https://{host}:8443/api/v1/endpoint/demo/score",
        hosts.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn args(out: &Path, hosts: &[&str]) -> CertificateArgs {
        let host = hosts.iter().map(|host| (*host).to_owned()).collect();
        CertificateArgs { host, out: out.to_path_buf(), days: 7 }
    }

    #[test]
    fn the_files_are_private_and_are_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("new");
        run(&args(&out, &[])).unwrap();
        for name in ["tls.crt", "tls.key", "ca.crt"] {
            let mode = std::fs::metadata(out.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, MODE, "{name}");
        }
        let before = std::fs::read(out.join("tls.key")).unwrap();
        std::fs::remove_file(out.join("tls.crt")).unwrap();
        let error = run(&args(&out, &[])).unwrap_err().to_string();
        assert!(error.contains("tls.key is there already"), "{error}");
        assert!(!out.join("tls.crt").exists(), "all of them or none");
        assert_eq!(std::fs::read(out.join("tls.key")).unwrap(), before);
    }

    #[test]
    fn what_is_no_host_is_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let error = run(&args(folder.path(), &["m\u{f6}del"])).unwrap_err().to_string();
        assert!(error.contains("not a host or an address: m\u{f6}del"), "{error}");
    }
}
