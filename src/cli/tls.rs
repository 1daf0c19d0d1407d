//! The flags of `dev` and `serve` that are about HTTPS.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::{
    config::{HttpsConfig, RouterFile, TLS_PORT},
    proxy::{ClientCertificates, PAIRS_MAX, PairSource, Plain, TlsSettings},
};

/// Where HTTPS is served, with what, and what becomes of plain HTTP.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct TlsArgs {
    /// Port for clients by HTTPS, once there is a certificate; 0 finds a free one [default: 8443]
    #[arg(long, env = "MODELWAY_TLS_PORT")]
    tls_port: Option<u16>,
    /// File with the certificate and its chain in PEM
    #[arg(long, env = "MODELWAY_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// File with its private key in PEM
    #[arg(long, env = "MODELWAY_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Folder with tls.crt and tls.key, or cert.pem and key.pem; may be given several times, and
    /// clients get the one for the host they name
    #[arg(long, env = "MODELWAY_TLS_DIR", value_name = "DIR", value_delimiter = ',')]
    tls_dir: Vec<PathBuf>,
    /// File with the authorities in PEM that clients have their certificates from
    #[arg(long, env = "MODELWAY_TLS_CLIENT_CA", value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// Whether clients without a certificate are refused [default: require]
    #[arg(long, env = "MODELWAY_TLS_CLIENT_AUTH", value_enum)]
    tls_client_auth: Option<ClientAuth>,
    /// What becomes of requests without TLS when HTTPS is served [default: serve]
    #[arg(long, env = "MODELWAY_PLAIN", value_enum)]
    plain: Option<PlainWord>,
    /// The port of HTTPS in redirects, as clients see it [default: that of --tls-port]
    #[arg(long, env = "MODELWAY_REDIRECT_PORT")]
    redirect_port: Option<u16>,
}

/// What clients have to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ClientAuth {
    /// A certificate that is good
    Require,
    /// Nothing, or a certificate that is good
    Optional,
}

/// What becomes of plain HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum PlainWord {
    /// Answered
    Serve,
    /// Sent to HTTPS (308), those with a credential refused
    Redirect,
    /// Refused (403)
    Refuse,
}

impl TlsArgs {
    /// How HTTPS is served, if it is: flags and variables, then the file, then the defaults.
    pub(super) fn settings(
        self,
        file: &RouterFile,
        address: IpAddr,
    ) -> anyhow::Result<Option<HttpsConfig>> {
        let pairs = self.pairs(file)?;
        let port = self.tls_port.or(file.tls_port);
        let plain = word(self.plain, file.plain.as_deref(), "plain")?;
        let redirect_port = self.redirect_port.or(file.redirect_port);
        let client = self.client(file)?;
        if pairs.is_empty() {
            if port.is_some() || plain.is_some() || redirect_port.is_some() || client.is_some() {
                anyhow::bail!(
                    "HTTPS needs a certificate: give --tls-cert and --tls-key, or --tls-dir \
                     (modelway certificate makes one for development)"
                );
            }
            return Ok(None);
        }
        if pairs.len() > PAIRS_MAX {
            anyhow::bail!("at most {PAIRS_MAX} certificates can be served, not {}", pairs.len());
        }
        let port = port.unwrap_or(TLS_PORT);
        let plain = plain.unwrap_or(PlainWord::Serve);
        if redirect_port.is_some() && plain != PlainWord::Redirect {
            anyhow::bail!("--redirect-port is for --plain redirect");
        }
        Ok(Some(HttpsConfig {
            address: SocketAddr::new(address, port),
            tls: TlsSettings { pairs, client },
            plain: match plain {
                PlainWord::Serve => Plain::Serve,
                PlainWord::Redirect => Plain::Redirect { port: redirect_port.unwrap_or(port) },
                PlainWord::Refuse => Plain::Refuse,
            },
        }))
    }

    /// The single pair first, then the folders in their order.
    fn pairs(&self, file: &RouterFile) -> anyhow::Result<Vec<PairSource>> {
        let certificate = self.tls_cert.clone().or_else(|| file.tls_cert.clone());
        let key = self.tls_key.clone().or_else(|| file.tls_key.clone());
        let single = match (certificate, key) {
            (Some(certificate), Some(key)) => Some(PairSource::Files { certificate, key }),
            (None, None) => None,
            _ => anyhow::bail!("--tls-cert and --tls-key belong together: give both"),
        };
        let folders = if self.tls_dir.is_empty() { &file.tls_dirs } else { &self.tls_dir };
        Ok(single.into_iter().chain(folders.iter().cloned().map(PairSource::Folder)).collect())
    }

    fn client(&self, file: &RouterFile) -> anyhow::Result<Option<ClientCertificates>> {
        let authorities = self.tls_client_ca.clone().or_else(|| file.tls_client_ca.clone());
        let auth = word(self.tls_client_auth, file.tls_client_auth.as_deref(), "tlsClientAuth")?;
        match (authorities, auth) {
            (Some(authorities), auth) => Ok(Some(ClientCertificates {
                authorities,
                required: auth != Some(ClientAuth::Optional),
            })),
            (None, None) => Ok(None),
            (None, Some(_)) => anyhow::bail!(
                "--tls-client-auth needs the authorities that certificates are good from: \
                 --tls-client-ca"
            ),
        }
    }
}

/// A word of the flag or the variable, or else of the file.
fn word<T: ValueEnum>(
    said: Option<T>,
    written: Option<&str>,
    field: &str,
) -> anyhow::Result<Option<T>> {
    let read = |text| T::from_str(text, false).map_err(|error| anyhow::anyhow!("{error}"));
    match said {
        Some(said) => Ok(Some(said)),
        None => written.map(read).transpose().with_context(|| field.to_owned()),
    }
}
