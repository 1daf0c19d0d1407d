//! A certificate and its key: read from files, and found good or refused in words.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{
    Error, InconsistentKeys,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::settings::PairSource;

/// The largest file that is read; a chain of sixteen large certificates has some 50 KiB.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 20;
/// The most certificates of a chain; more is a bundle of authorities by mistake.
const CHAIN_MAX: usize = 16;
/// How often a pair that changes while it is read is read anew.
const READS_MAX: usize = 3;
/// The longest name in a metric or a page: that of a host (RFC 1035 §2.3.4).
const NAME_CHARS_MAX: usize = 253;

/// Why a pair cannot be used: which file, what is wrong with it, what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum PairFault {
    #[error("{}: there is neither tls.crt with tls.key nor cert.pem with key.pem", .0.display())]
    Folder(PathBuf),
    #[error("{}: no such file", .0.display())]
    Missing(PathBuf),
    #[error("{}: the router's user may not read it (permission denied)", .0.display())]
    Permission(PathBuf),
    #[error("{}: cannot be read: {why}", path.display())]
    Unreadable { path: PathBuf, why: io::Error },
    #[error("{}: more than {FILE_BYTES_MAX} bytes, which no certificate needs", .0.display())]
    TooLarge(PathBuf),
    #[error(
        "{}: no certificate in PEM; it has to begin with -----BEGIN CERTIFICATE----- (from DER: openssl x509 -inform der)",
        .0.display()
    )]
    NoCertificate(PathBuf),
    #[error("{}: more than {CHAIN_MAX} certificates; only the chain of one is wanted", .0.display())]
    ChainTooLong(PathBuf),
    #[error("{}: certificate {number} cannot be read: {why}", path.display())]
    BadCertificate { path: PathBuf, number: usize, why: String },
    #[error(
        "{}: no private key in PEM; it has to begin with -----BEGIN PRIVATE KEY----- (or RSA or EC PRIVATE KEY)",
        .0.display()
    )]
    NoKey(PathBuf),
    #[error(
        "{}: the key is encrypted with a pass phrase; take that off (openssl pkey -in FILE -out NEW)",
        .0.display()
    )]
    EncryptedKey(PathBuf),
    #[error("{}: the private key cannot be used: {why}", path.display())]
    BadKey { path: PathBuf, why: String },
    #[error("{}: is not the key of the certificate in {}", key.display(), certificate.display())]
    Mismatch { certificate: PathBuf, key: PathBuf },
}

/// The bytes of both files, read at one moment.
pub(super) struct Pem {
    certificate: (PathBuf, Vec<u8>),
    key: (PathBuf, Vec<u8>),
}

/// A pair that can be used.
#[derive(Debug)]
pub(super) struct Pair {
    /// The chain with its key.
    pub(super) certified: Arc<CertifiedKey>,
    /// The hosts it is for, in lower case.
    pub(super) hosts: Vec<Box<str>>,
    /// What it is called in metrics and pages: its first host, or its common name.
    pub(super) name: Box<str>,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
    /// Tells one content of the files from another.
    pub(super) print: [u8; 32],
}

impl Pem {
    /// Reads both files. When the certificate has changed by the time the key is read, the two may
    /// not belong together, and both are read again.
    pub(super) fn read(source: &PairSource) -> Result<Self, PairFault> {
        let folder = || match source {
            PairSource::Folder(folder) => folder.clone(),
            PairSource::Files { certificate, .. } => certificate.clone(),
        };
        let (certificate_path, key_path) =
            source.files().ok_or_else(|| PairFault::Folder(folder()))?;
        let mut certificate = read(&certificate_path)?;
        let mut key = read(&key_path)?;
        for _ in 1..READS_MAX {
            let again = read(&certificate_path)?;
            if again == certificate {
                break;
            }
            certificate = again;
            key = read(&key_path)?;
        }
        Ok(Self { certificate: (certificate_path, certificate), key: (key_path, key) })
    }

    /// Tells one content of the files from another.
    pub(super) fn print(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update((self.certificate.1.len() as u64).to_be_bytes());
        digest.update(&self.certificate.1);
        digest.update(&self.key.1);
        digest.finalize().into()
    }

    /// Checks everything that can be checked without a client.
    pub(super) fn parse(self, provider: &CryptoProvider) -> Result<Pair, PairFault> {
        let print = self.print();
        let (certificate, bytes) = self.certificate;
        let chain = certificates(&certificate, &bytes)?;
        if chain.len() > CHAIN_MAX {
            return Err(PairFault::ChainTooLong(certificate));
        }
        let leaf = leaf(&certificate, &chain)?;
        let (path, bytes) = self.key;
        let key = private_key(&path, &bytes)?;
        let certified =
            CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
                Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    PairFault::Mismatch { certificate: certificate.clone(), key: path }
                }
                Error::InvalidCertificate(why) => PairFault::BadCertificate {
                    path: certificate.clone(),
                    number: 1,
                    why: why.to_string(),
                },
                other => PairFault::BadKey { path, why: other.to_string() },
            })?;
        let Leaf { hosts, name, not_before, not_after } = leaf;
        let certified = Arc::new(certified);
        Ok(Pair { certified, hosts, name, not_before, not_after, print })
    }
}

/// Every certificate of a file, at least one.
pub(super) fn certificates(
    path: &Path,
    bytes: &[u8],
) -> Result<Vec<CertificateDer<'static>>, PairFault> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let found = found.map_err(|error| PairFault::BadCertificate {
        path: path.to_path_buf(),
        number: 1,
        why: error.to_string(),
    })?;
    if found.is_empty() { Err(PairFault::NoCertificate(path.to_path_buf())) } else { Ok(found) }
}

/// Reads a file of bounded size.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, PairFault> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => PairFault::Missing(path.to_path_buf()),
        io::ErrorKind::PermissionDenied => PairFault::Permission(path.to_path_buf()),
        _ => PairFault::Unreadable { path: path.to_path_buf(), why: error },
    };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(PairFault::TooLarge(path.to_path_buf()));
    }
    Ok(bytes)
}

fn private_key(path: &Path, bytes: &[u8]) -> Result<PrivateKeyDer<'static>, PairFault> {
    let text = String::from_utf8_lossy(bytes);
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(PairFault::EncryptedKey(path.to_path_buf()));
    }
    PrivateKeyDer::from_pem_slice(bytes).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => PairFault::NoKey(path.to_path_buf()),
        other => PairFault::BadKey { path: path.to_path_buf(), why: other.to_string() },
    })
}

struct Leaf {
    hosts: Vec<Box<str>>,
    name: Box<str>,
    not_before: SystemTime,
    not_after: SystemTime,
}

/// What the first certificate says; all of the chain have to be readable.
fn leaf(path: &Path, chain: &[CertificateDer<'_>]) -> Result<Leaf, PairFault> {
    let mut parsed = Vec::with_capacity(chain.len());
    for (number, der) in (1..).zip(chain) {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|error| {
            PairFault::BadCertificate { path: path.to_path_buf(), number, why: error.to_string() }
        })?;
        if !rest.is_empty() {
            let why = "bytes follow it".to_owned();
            return Err(PairFault::BadCertificate { path: path.to_path_buf(), number, why });
        }
        parsed.push(certificate);
    }
    let leaf = parsed.first().ok_or_else(|| PairFault::NoCertificate(path.to_path_buf()))?;
    let hosts = hosts(leaf);
    let common = leaf.subject().iter_common_name().find_map(|name| name.as_str().ok());
    let named = hosts.first().map(|host| &**host).or(common).unwrap_or("unnamed");
    Ok(Leaf {
        name: shown(named),
        not_before: time(leaf.validity().not_before.timestamp()),
        not_after: time(leaf.validity().not_after.timestamp()),
        hosts,
    })
}

/// The DNS names among its subject alternative names; clients have not looked at the common name
/// for many years (RFC 9525 §2).
fn hosts(leaf: &X509Certificate<'_>) -> Vec<Box<str>> {
    let Ok(Some(names)) = leaf.subject_alternative_name() else { return Vec::new() };
    let dns = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(host) => Some(host.to_ascii_lowercase().into_boxed_str()),
        _ => None,
    });
    dns.collect()
}

/// A name without characters that mean something in metrics and logs.
fn shown(name: &str) -> Box<str> {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "*.-_ ".contains(c) { c } else { '?' };
    name.chars().take(NAME_CHARS_MAX).map(plain).collect::<String>().into()
}

fn time(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    };
    time.unwrap_or(UNIX_EPOCH)
}
