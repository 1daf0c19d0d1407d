//! The certificates in force: read at the start, and again whenever their files change.

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{ProducesTickets, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};
use sha2::{Digest, Sha256};

use super::{
    choice::Choice,
    pair::{self, Pair, PairFault, Pem},
    settings::{ClientCertificates, PairSource, TlsSettings},
};
use crate::telemetry::{Metrics, ReloadResult};

/// The protocols above TLS, the better one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why HTTPS cannot be served: the file, what is wrong with it, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TlsFault(String);

/// One certificate as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateStatus {
    /// The first host it is for.
    pub name: Box<str>,
    /// When it expires.
    pub expires: SystemTime,
    /// Why the files, as they are now, are not in force; those before are.
    pub refused: Option<String>,
}

/// The certificates of this router. New handshakes get what is in force.
#[derive(Debug)]
pub struct Tls {
    settings: TlsSettings,
    provider: Arc<CryptoProvider>,
    config: ArcSwap<ServerConfig>,
    state: Mutex<State>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct State {
    /// One for each of the settings, in their order.
    pairs: Vec<Loaded<PairSource, Pair>>,
    client: Option<Loaded<ClientCertificates, Authorities>>,
    /// Makes session tickets. A new one for new authorities: a ticket stands for a client that was
    /// found good by the old ones.
    tickets: Arc<dyn ProducesTickets>,
}

/// Something in force, and what is wrong with what should take its place.
#[derive(Debug)]
struct Loaded<S, T> {
    source: S,
    now: T,
    refused: Option<String>,
}

/// Whose certificates of clients are good.
#[derive(Debug)]
struct Authorities {
    verifier: Arc<dyn ClientCertVerifier>,
    print: [u8; 32],
}

impl Tls {
    /// Reads everything; all of it has to be good. An expired certificate is taken, with a warning:
    /// a router that does not start would be worse for every client that does not check.
    pub fn open(settings: TlsSettings, metrics: &Arc<Metrics>) -> Result<Arc<Self>, TlsFault> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let words = |fault: PairFault| TlsFault(fault.to_string());
        let mut pairs = Vec::with_capacity(settings.pairs.len());
        for source in &settings.pairs {
            let now = Pem::read(source).and_then(|pem| pem.parse(&provider)).map_err(words)?;
            pairs.push(Loaded { source: source.clone(), now, refused: None });
        }
        let client = match &settings.client {
            Some(client) => {
                let bytes = pair::read(&client.authorities).map_err(words)?;
                let now = Authorities::parse(client, &bytes, &provider).map_err(TlsFault)?;
                Some(Loaded { source: client.clone(), now, refused: None })
            }
            None => None,
        };
        let state = State { pairs, client, tickets: tickets()? };
        let config = state.config(&provider)?;
        state.show(metrics);
        Ok(Arc::new(Self {
            settings,
            provider,
            config: ArcSwap::from(config),
            state: Mutex::new(state),
            metrics: Arc::clone(metrics),
        }))
    }

    /// Every file that may be part of it, to be watched.
    pub fn paths(&self) -> Vec<PathBuf> {
        let pairs = self.settings.pairs.iter().flat_map(PairSource::paths);
        pairs.chain(self.settings.client.iter().map(|client| client.authorities.clone())).collect()
    }

    /// Looks at the files again. What has changed and is good is in force for handshakes from now
    /// on; what is not good changes nothing, and is told once.
    pub fn reload(&self) {
        let mut state = self.state.lock();
        let mut changed = false;
        let now = SystemTime::now();
        for loaded in &mut state.pairs {
            let outcome = reread_pair(loaded, &self.provider, now);
            changed |= self.tell(outcome, &mut loaded.refused);
        }
        if let Some(loaded) = &mut state.client {
            let outcome = reread_authorities(loaded, &self.provider);
            if self.tell(outcome, &mut loaded.refused) {
                match tickets() {
                    Ok(fresh) => state.tickets = fresh,
                    Err(error) => {
                        // With the old ones, clients of the old authorities would come back.
                        tracing::error!(%error, "the authorities stay as they were");
                        return;
                    }
                }
                changed = true;
            }
        }
        if changed {
            match state.config(&self.provider) {
                Ok(config) => self.config.store(config),
                Err(error) => tracing::error!(%error, "the certificates stay as they were"),
            }
            state.show(&self.metrics);
        }
    }

    /// Whether some file is not in force because it is not good; it may be good later without being
    /// touched, when its time has come.
    pub fn is_refused(&self) -> bool {
        let state = self.state.lock();
        state.pairs.iter().any(|loaded| loaded.refused.is_some())
            || state.client.as_ref().is_some_and(|loaded| loaded.refused.is_some())
    }

    /// What is in force.
    pub fn certificates(&self) -> Vec<CertificateStatus> {
        let state = self.state.lock();
        let status = |loaded: &Loaded<PairSource, Pair>| CertificateStatus {
            name: loaded.now.name.clone(),
            expires: loaded.now.not_after,
            refused: loaded.refused.clone(),
        };
        state.pairs.iter().map(status).collect()
    }

    /// The configuration for the next handshake.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    /// Counts and logs what became of a look at files; whether something new is in force.
    fn tell(&self, outcome: Outcome, refused: &mut Option<String>) -> bool {
        match outcome {
            Outcome::AsBefore => {
                *refused = None;
                false
            }
            Outcome::New(what) => {
                *refused = None;
                self.metrics.tls.reload(ReloadResult::Ok);
                tracing::info!("{what}");
                true
            }
            Outcome::Refused(why) => {
                if refused.as_ref() != Some(&why) {
                    self.metrics.tls.reload(ReloadResult::Refused);
                    tracing::warn!(%why, "changed certificate files are not used, those before stay");
                    *refused = Some(why);
                }
                false
            }
        }
    }
}

/// What a look at files has found.
enum Outcome {
    /// What is in force.
    AsBefore,
    /// Something new, in words.
    New(String),
    /// Nothing that can be used, and why.
    Refused(String),
}

fn reread_pair(
    loaded: &mut Loaded<PairSource, Pair>,
    provider: &CryptoProvider,
    now: SystemTime,
) -> Outcome {
    let pem = match Pem::read(&loaded.source) {
        Ok(pem) if pem.print() == loaded.now.print => return Outcome::AsBefore,
        Ok(pem) => pem,
        Err(fault) => return Outcome::Refused(fault.to_string()),
    };
    match pem.parse(provider) {
        Err(fault) => Outcome::Refused(fault.to_string()),
        Ok(new) if is_valid(&loaded.now, now) && !is_valid(&new, now) => {
            let when = if now < new.not_before { "not valid yet" } else { "expired" };
            Outcome::Refused(format!(
                "the new certificate {} is {when}, the one in force is valid",
                new.name
            ))
        }
        Ok(new) => {
            let until = super::expiry::date(new.not_after);
            let what = format!("certificate {} is in force, valid until {until}", new.name);
            loaded.now = new;
            Outcome::New(what)
        }
    }
}

fn is_valid(pair: &Pair, now: SystemTime) -> bool {
    (pair.not_before..=pair.not_after).contains(&now)
}

fn reread_authorities(
    loaded: &mut Loaded<ClientCertificates, Authorities>,
    provider: &Arc<CryptoProvider>,
) -> Outcome {
    let bytes = match pair::read(&loaded.source.authorities) {
        Ok(bytes) => bytes,
        Err(fault) => return Outcome::Refused(fault.to_string()),
    };
    if print(&bytes) == loaded.now.print {
        return Outcome::AsBefore;
    }
    match Authorities::parse(&loaded.source, &bytes, provider) {
        Ok(new) => {
            loaded.now = new;
            let path = loaded.source.authorities.display();
            Outcome::New(format!("the authorities of clients in {path} are in force"))
        }
        Err(why) => Outcome::Refused(why),
    }
}

impl Authorities {
    fn parse(
        client: &ClientCertificates,
        bytes: &[u8],
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let path = &client.authorities;
        let mut roots = RootCertStore::empty();
        let found = pair::certificates(path, bytes).map_err(|fault| fault.to_string())?;
        for (number, authority) in (1..).zip(found) {
            roots.add(authority).map_err(|error| {
                format!("{}: certificate {number} is no authority: {error}", path.display())
            })?;
        }
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let builder = if client.required { builder } else { builder.allow_unauthenticated() };
        let verifier = builder.build().map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { verifier, print: print(bytes) })
    }
}

impl State {
    fn config(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<ServerConfig>, TlsFault> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| TlsFault(error.to_string()))?;
        let builder = match &self.client {
            Some(client) => builder.with_client_cert_verifier(Arc::clone(&client.now.verifier)),
            None => builder.with_no_client_auth(),
        };
        let choice = Choice::new(self.pairs.iter().map(|loaded| &loaded.now));
        let mut config = builder.with_cert_resolver(Arc::new(choice));
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        config.ticketer = Arc::clone(&self.tickets);
        Ok(Arc::new(config))
    }

    fn show(&self, metrics: &Metrics) {
        let pairs = self.pairs.iter().map(|loaded| &loaded.now);
        metrics.tls.set_expiry(pairs.map(|pair| (&*pair.name, pair.not_after)));
    }
}

fn tickets() -> Result<Arc<dyn ProducesTickets>, TlsFault> {
    aws_lc_rs::Ticketer::new().map_err(|error| TlsFault(format!("no session tickets: {error}")))
}

fn print(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
