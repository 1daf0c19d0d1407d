//! A scripted issuer: a TLS server that answers each path as a test says, or does not.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::{Value, json};

use crate::{signer::Signer, support::watch};

/// A connection of a client that is left alone ends after this.
const SILENCE_LIMIT: Duration = Duration::from_secs(20);

/// An authority that vouches for issuers.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).expect("no names");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = parameters.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(parameters, key), pem }
    }

    /// Writes the certificate of the authority.
    pub(crate) fn write(&self, file: &Path) {
        std::fs::write(file, &self.pem).expect("a file in a temporary folder");
    }

    fn server(&self) -> Arc<ServerConfig> {
        let key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new(vec!["localhost".to_owned()])
            .and_then(|parameters| parameters.signed_by(&key, &self.issuer))
            .expect("a certificate");
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], private)
            .expect("a pair");
        Arc::new(config)
    }
}

/// What happens to a request.
#[derive(Clone)]
pub(crate) enum Act {
    /// These bytes.
    Send(Vec<u8>),
    /// The same, a byte at a time with a pause before each.
    Drip(Vec<u8>, Duration),
    /// This head, and then bytes without end.
    Endless(String),
    /// Nothing, and the connection stays open.
    Hang,
    /// The connection is closed.
    Close,
}

/// 200 with this body.
pub(crate) fn ok(body: &str) -> Act {
    answer("200 OK", "", body)
}

/// An answer with further fields, each with its line end.
pub(crate) fn answer(status: &str, fields: &str, body: &str) -> Act {
    let length = body.len();
    Act::Send(
        format!("HTTP/1.1 {status}\r\n{fields}content-length: {length}\r\n\r\n{body}").into_bytes(),
    )
}

/// The issuers of one server, each below a path of its own. Dropping it closes the port.
pub(crate) struct Idp {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    acts: Mutex<BTreeMap<String, Act>>,
    asked: Mutex<BTreeMap<String, usize>>,
    tls: Option<Arc<ServerConfig>>,
    ended: AtomicBool,
}

impl Idp {
    /// A server with a certificate of this authority, or without TLS.
    pub(crate) fn start(authority: Option<&Authority>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            acts: Mutex::default(),
            asked: Mutex::default(),
            tls: authority.map(Authority::server),
            ended: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if serving.ended.load(Ordering::Acquire) {
                    return;
                }
                let serving = Arc::clone(&serving);
                std::thread::spawn(move || serving.serve(stream));
            }
        });
        Self { address, shared }
    }

    /// The address of an issuer, or of anything below one.
    pub(crate) fn uri(&self, path: &str) -> String {
        let scheme = if self.shared.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://localhost:{}/{path}", self.address.port())
    }

    /// What happens to requests for this path from now on.
    pub(crate) fn act(&self, path: &str, act: Act) {
        self.shared.acts.lock().insert(format!("/{path}"), act);
    }

    /// An issuer with its configuration, publishing these keys from now on.
    pub(crate) fn publish(&self, issuer: &str, signers: &[&Signer]) {
        self.configure(issuer, &self.uri(issuer), &self.uri(&format!("{issuer}/keys")));
        self.act(&format!("{issuer}/keys"), ok(&keys(signers).to_string()));
    }

    /// A configuration that says this.
    pub(crate) fn configure(&self, at: &str, issuer: &str, jwks_uri: &str) {
        let configuration = json!({"issuer": issuer, "jwks_uri": jwks_uri, "scopes_supported": []});
        self.act(&format!("{at}/.well-known/openid-configuration"), ok(&configuration.to_string()));
    }

    /// How often a path was asked for.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.shared.asked.lock().get(&format!("/{path}")).copied().unwrap_or_default()
    }
}

/// The JWK Set of these keys.
pub(crate) fn keys(signers: &[&Signer]) -> Value {
    json!({"keys": signers.iter().map(|signer| signer.jwk.clone()).collect::<Vec<_>>()})
}

impl Drop for Idp {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    /// Errors end the connection, which is what a client does that has enough.
    fn serve(&self, stream: TcpStream) {
        drop(stream.set_read_timeout(Some(SILENCE_LIMIT)));
        drop(stream.set_write_timeout(Some(SILENCE_LIMIT)));
        match &self.tls {
            None => drop(self.answer(stream)),
            Some(config) => {
                let connection = ServerConnection::new(Arc::clone(config)).expect("a connection");
                drop(self.answer(StreamOwned::new(connection, stream)));
            }
        }
    }

    fn answer(&self, mut stream: impl Read + Write) -> std::io::Result<()> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head);
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        *self.asked.lock().entry(path.clone()).or_default() += 1;
        let act = self.acts.lock().get(&path).cloned();
        match act.unwrap_or_else(|| answer("404 Not Found", "", "")) {
            Act::Send(bytes) => stream.write_all(&bytes)?,
            Act::Drip(bytes, pause) => {
                for byte in bytes {
                    watch::pass(pause);
                    stream.write_all(&[byte])?;
                    stream.flush()?;
                }
            }
            Act::Endless(head) => {
                stream.write_all(head.as_bytes())?;
                while !self.ended.load(Ordering::Acquire) {
                    stream.write_all(&[b' '; 16 * 1024])?;
                }
            }
            Act::Hang => drop(stream.read(&mut byte)),
            Act::Close => {}
        }
        stream.flush()
    }
}
