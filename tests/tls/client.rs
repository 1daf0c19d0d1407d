//! TLS clients: HTTP/1 on a blocking stream, HTTP/2 on `h2`.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::client::SendRequest;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, ProtocolVersion, RootCertStore,
    SignatureScheme, StreamOwned, SupportedProtocolVersion,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use crate::{pki::Leaf, support::wire::Answer};

/// No answer is waited for longer than this.
const READ_LIMIT: Duration = Duration::from_secs(45);

/// What a client says in its handshake.
#[derive(Clone)]
pub(crate) struct Hello {
    pub(crate) versions: Vec<&'static SupportedProtocolVersion>,
    pub(crate) alpn: Vec<&'static [u8]>,
    /// The host it names; `None`: none.
    pub(crate) host: Option<&'static str>,
    /// Whom it trusts; `None`: everybody, to see which certificate comes.
    pub(crate) roots: Option<RootCertStore>,
    /// The certificate it shows.
    pub(crate) own: Option<Leaf>,
}

/// Checks signatures and nothing else.
#[derive(Debug)]
struct Everybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Everybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl Hello {
    /// Both versions, HTTP/1, and this host.
    pub(crate) fn to(host: &'static str, roots: Option<RootCertStore>) -> Self {
        Self {
            versions: vec![&rustls::version::TLS13, &rustls::version::TLS12],
            alpn: vec![b"http/1.1"],
            host: Some(host),
            roots,
            own: None,
        }
    }

    /// A configuration without memory of earlier sessions: each handshake is a full one.
    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&self.versions)
            .expect("versions that exist");
        let builder = match &self.roots {
            Some(roots) => builder.with_root_certificates(roots.clone()),
            None => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Everybody(provider)))
            }
        };
        let mut config = match &self.own {
            Some(own) => builder
                .with_client_auth_cert(vec![own.der.clone()], own.private())
                .expect("a good pair"),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config.enable_sni = self.host.is_some();
        config.resumption = rustls::client::Resumption::disabled();
        Arc::new(config)
    }

    fn name(&self) -> ServerName<'static> {
        ServerName::try_from(self.host.unwrap_or("localhost")).expect("a host")
    }
}

/// A connection under TLS for HTTP/1.
pub(crate) struct Line {
    stream: StreamOwned<ClientConnection, TcpStream>,
    rest: Vec<u8>,
}

impl Line {
    /// Connects and makes keys.
    pub(crate) fn open(address: SocketAddr, hello: &Hello) -> io::Result<Self> {
        Self::open_with(address, hello.config(), hello.name())
    }

    /// The same with a configuration that may remember sessions.
    pub(crate) fn open_with(
        address: SocketAddr,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<Self> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(READ_LIMIT))?;
        let mut session = ClientConnection::new(config, name).map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Self { stream: StreamOwned::new(session, socket), rest: Vec::new() })
    }

    pub(crate) fn session(&self) -> &ClientConnection {
        &self.stream.conn
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.stream.sock
    }

    /// Version and protocol as they were agreed.
    pub(crate) fn agreed(&self) -> (ProtocolVersion, Option<Vec<u8>>) {
        let session = self.session();
        let protocol = session.alpn_protocol().map(<[u8]>::to_vec);
        (session.protocol_version().expect("after the handshake"), protocol)
    }

    /// The certificate that came.
    pub(crate) fn shown(&self) -> CertificateDer<'static> {
        self.session().peer_certificates().expect("a full handshake")[0].clone().into_owned()
    }

    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())?;
        self.stream.flush()
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.try_send(bytes).expect("the router takes it");
        self
    }

    /// Says that nothing more comes, and closes this direction.
    pub(crate) fn half_close(&mut self) {
        self.stream.conn.send_close_notify();
        self.stream.flush().expect("the router takes it");
        self.stream.sock.shutdown(Shutdown::Write).expect("the connection is there");
    }

    /// Reads one answer, final or 1xx, to a request that was not HEAD.
    pub(crate) fn answer(&mut self) -> Answer {
        self.try_answer().expect("an answer")
    }

    pub(crate) fn try_answer(&mut self) -> io::Result<Answer> {
        let mut answer = self.head()?;
        if answer.status < 200 || answer.status == 204 {
            answer.complete = true;
        } else if answer.field("transfer-encoding").is_some() {
            while let Some(chunk) = self.chunk()? {
                if chunk.is_empty() {
                    answer.complete = true;
                    break;
                }
                answer.body.extend_from_slice(&chunk);
            }
        } else {
            let length = answer.field("content-length").expect("a length");
            let length: usize = length.parse().expect("digits");
            while self.rest.len() < length && self.more()? {}
            answer.body = self.rest.drain(..self.rest.len().min(length)).collect();
            answer.complete = answer.body.len() == length;
        }
        Ok(answer)
    }

    pub(crate) fn head(&mut self) -> io::Result<Answer> {
        let end = loop {
            if let Some(end) = self.rest.windows(4).position(|w| w == b"\r\n\r\n") {
                break end;
            }
            if !self.more()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        };
        let head: Vec<u8> = self.rest.drain(..end + 4).collect();
        let head = String::from_utf8(head).expect("an answer head in ASCII");
        let mut lines = head.trim_end().split("\r\n");
        let line = lines.next().expect("a status line");
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let fields = lines
            .map(|line| line.split_once(':').expect("a field"))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Ok(Answer { status, fields, body: Vec::new(), complete: false })
    }

    /// The next chunk of an answer, empty at its end; `None`: the connection ended before.
    pub(crate) fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.rest.windows(2).position(|w| w == b"\r\n") {
                let line = String::from_utf8_lossy(&self.rest[..end]).into_owned();
                let size = usize::from_str_radix(line.trim(), 16).expect("the size of a chunk");
                if self.rest.len() >= end + 2 + size + 2 {
                    let chunk = self.rest[end + 2..end + 2 + size].to_vec();
                    self.rest.drain(..end + 2 + size + 2);
                    return Ok(Some(chunk));
                }
            }
            if !self.more()? {
                return Ok(None);
            }
        }
    }

    /// Whether the router ends the connection within this time, and in order: with `close_notify`.
    pub(crate) fn ends_in_order(&mut self, limit: Duration) -> bool {
        self.stream.sock.set_read_timeout(Some(limit)).expect("an option");
        let begun = Instant::now();
        let ended = matches!(self.more(), Ok(false)) && begun.elapsed() < limit;
        assert!(self.rest.is_empty(), "unread: {:?}", String::from_utf8_lossy(&self.rest));
        ended
    }

    /// Reads something; `false` after `close_notify`, an error when the connection just ends.
    fn more(&mut self) -> io::Result<bool> {
        let mut piece = vec![0; 64 * 1024];
        let count = loop {
            match self.stream.read(&mut piece) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => break done?,
            }
        };
        self.rest.extend_from_slice(&piece[..count]);
        Ok(count > 0)
    }
}

/// Connects with tokio and makes keys.
pub(crate) async fn dial(
    address: SocketAddr,
    hello: &Hello,
) -> io::Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>> {
    let socket = tokio::net::TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    tokio_rustls::TlsConnector::from(hello.config()).connect(hello.name(), socket).await
}

/// Runs `work` with an HTTP/2 connection that was agreed on by ALPN. `ended` of the connection's
/// own task is what it says at its end.
pub(crate) fn with_h2<T>(
    address: SocketAddr,
    hello: &Hello,
    work: impl AsyncFnOnce(SendRequest<Bytes>, tokio::task::JoinHandle<Result<(), h2::Error>>) -> T,
) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let tasks = tokio::task::LocalSet::new();
    let hello = Hello { alpn: vec![b"h2", b"http/1.1"], ..hello.clone() };
    tasks.block_on(&runtime.expect("a runtime"), async move {
        let stream = dial(address, &hello).await.expect("a handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        let task = tokio::task::spawn_local(connection);
        let limit = Duration::from_secs(80);
        tokio::time::timeout(limit, work(sender, task)).await.expect("an end in time")
    })
}
