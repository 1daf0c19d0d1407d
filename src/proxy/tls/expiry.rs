//! Saying in time that a certificate expires.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::store::{CertificateStatus, Tls};
use crate::lifecycle::{Lifecycle, Phase};

/// From so long before the end on it is said.
pub const WARN_FROM: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often it is said.
const SAY_EVERY: Duration = Duration::from_secs(24 * 3600);
/// How often files that were refused are looked at again: their time may have come, or a network
/// file system has told nobody that they are good now.
const LOOK_AGAIN_EVERY: Duration = Duration::from_secs(60);

/// Says of each certificate daily, from thirty days before its end on, when that is; and looks at
/// refused files again every minute. Runs until the process stops.
pub fn watch_expiry(lifecycle: &Lifecycle, tls: Arc<Tls>) {
    let life = lifecycle.clone();
    lifecycle.spawn("certificate expiry", async move {
        let remind = remind(
            || tls.certificates(),
            SystemTime::now,
            |words| {
                tracing::warn!("{words}");
            },
        );
        tokio::select! {
            () = remind => {}
            () = look_again(&tls) => {}
            () = life.reached(Phase::Stopped) => {}
        }
    });
}

async fn look_again(tls: &Tls) {
    loop {
        tokio::time::sleep(LOOK_AGAIN_EVERY).await;
        if tls.is_refused() {
            tls.reload();
        }
    }
}

async fn remind(
    certificates: impl Fn() -> Vec<CertificateStatus>,
    now: impl Fn() -> SystemTime,
    say: impl Fn(String),
) {
    loop {
        certificates().iter().filter_map(|status| warning(status, now())).for_each(&say);
        tokio::time::sleep(SAY_EVERY).await;
    }
}

/// What there is to say of a certificate; `None` while its end is far.
fn warning(status: &CertificateStatus, now: SystemTime) -> Option<String> {
    let CertificateStatus { name, expires, .. } = status;
    let date = date(*expires);
    match expires.duration_since(now) {
        Ok(left) if left > WARN_FROM => None,
        Ok(left) => {
            let days = left.as_secs() / (24 * 3600);
            Some(format!("certificate {name} expires in {days} days, at {date}: replace its files"))
        }
        Err(_) => Some(format!(
            "certificate {name} has expired at {date}, clients refuse it: replace its files"
        )),
    }
}

/// A time for people, to the second.
pub(super) fn date(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}
