//! HTTPS of a router: its certificates, its sockets, and the watch on its files.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;

use super::start::Say;
use crate::{
    config::{HttpsConfig, RouterConfig},
    lifecycle::Lifecycle,
    platform::local,
    proxy::{Door, Listeners, Plain, Secure, Tls, watch_expiry},
    telemetry::Metrics,
};

/// Reads the certificates and binds the sockets, and settles what becomes of plain HTTP. `None`:
/// there is no HTTPS.
pub(super) fn open(
    config: &mut RouterConfig,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Option<Secure>> {
    let Some(HttpsConfig { address, tls, plain }) = config.https.clone() else { return Ok(None) };
    let tls = Tls::open(tls, metrics).context("HTTPS cannot be served")?;
    let listeners = Listeners::bind(Door::Secure, address, config.workers)?;
    config.proxy.plain = match plain {
        Plain::Redirect { port: 0 } => Plain::Redirect { port: listeners.address().port() },
        settled => settled,
    };
    Ok(Some(Secure { listeners, tls }))
}

/// Follows the files of the certificates from now on.
pub(super) fn follow(lifecycle: &Lifecycle, tls: &Arc<Tls>) {
    let changed = Arc::clone(tls);
    local::watch(lifecycle, tls.paths(), move || changed.reload());
    watch_expiry(lifecycle, Arc::clone(tls));
}

/// Says where HTTPS is, and what becomes of requests without it; returns with what addresses for
/// scoring begin.
pub(super) fn greet(say: &Say, plain: Plain, data: SocketAddr, secure: Option<&Secure>) -> String {
    let Some(secure) = secure else { return format!("http://{data}") };
    let address = secure.listeners.address();
    say(&format!("https     https://{address}"));
    match plain {
        Plain::Serve => {
            tracing::info!(
                "plain HTTP is served too; --plain redirect or --plain refuse ends that"
            );
            return format!("http://{data}");
        }
        Plain::Redirect { .. } => say(&format!("plain     http://{data} redirects to HTTPS")),
        Plain::Refuse => say(&format!("plain     http://{data} is refused")),
    }
    format!("https://{address}")
}
