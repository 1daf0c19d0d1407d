//! What an operator says about HTTPS.

use std::path::PathBuf;

/// The most pairs of certificate and key: each is a name in the metrics, and is read at each change.
pub const PAIRS_MAX: usize = 100;

/// How HTTPS is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// At least one pair, at most [`PAIRS_MAX`]. The first is for clients that name no host, or one
    /// that no pair is for.
    pub pairs: Vec<PairSource>,
    /// Whether clients show certificates of their own.
    pub client: Option<ClientCertificates>,
}

/// Where a certificate and its key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PairSource {
    /// Two files.
    Files {
        /// The certificate and those between it and the authority, in this order, in PEM.
        certificate: PathBuf,
        /// Its private key in PEM, without a pass phrase.
        key: PathBuf,
    },
    /// A folder with `tls.crt` and `tls.key`, or else `cert.pem` and `key.pem`.
    Folder(PathBuf),
}

/// What clients have to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// File with the authorities in PEM whose certificates are good.
    pub authorities: PathBuf,
    /// Whether a client without one is refused; one that is not good always is.
    pub required: bool,
}

/// The forms of a folder: certificate and key.
pub(super) const FOLDER_FORMS: [(&str, &str); 2] =
    [("tls.crt", "tls.key"), ("cert.pem", "key.pem")];

impl PairSource {
    /// Every file that may be part of it, whether it exists or not.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        match self {
            Self::Files { certificate, key } => vec![certificate.clone(), key.clone()],
            Self::Folder(folder) => FOLDER_FORMS
                .iter()
                .flat_map(|(certificate, key)| [folder.join(certificate), folder.join(key)])
                .collect(),
        }
    }

    /// Certificate and key as they are now; `None` for a folder without either form.
    pub(super) fn files(&self) -> Option<(PathBuf, PathBuf)> {
        match self {
            Self::Files { certificate, key } => Some((certificate.clone(), key.clone())),
            Self::Folder(folder) => FOLDER_FORMS
                .iter()
                .map(|(certificate, key)| (folder.join(certificate), folder.join(key)))
                .find(|(certificate, key)| certificate.exists() || key.exists()),
        }
    }
}
