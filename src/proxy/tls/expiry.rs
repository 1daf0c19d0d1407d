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

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use tokio::time::Instant;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[tokio::test(start_paused = true)]
    async fn it_is_said_daily_from_thirty_days_before_the_end_on() {
        let (begin, clock) = (SystemTime::UNIX_EPOCH + 365 * DAY, Instant::now());
        let status = |name: &str, days: u32| CertificateStatus {
            name: name.into(),
            expires: begin + days * DAY,
            refused: None,
        };
        let said = Rc::new(RefCell::new(Vec::new()));
        let heard = Rc::clone(&said);
        let remind = remind(
            || vec![status("soon", 40), status("late", 400)],
            || begin + clock.elapsed(),
            |words| heard.borrow_mut().push((clock.elapsed().as_secs() / DAY.as_secs(), words)),
        );
        assert!(tokio::time::timeout(44 * DAY + DAY / 2, remind).await.is_err(), "it never ends");
        let said = said.borrow();
        let days: Vec<u64> = said.iter().map(|(day, _)| *day).collect();
        assert_eq!(days, (10..45).collect::<Vec<_>>(), "{said:?}");
        assert!(said.iter().all(|(_, words)| words.starts_with("certificate soon ")), "{said:?}");
        assert!(said[0].1.contains("expires in 30 days, at 1971-02-10T00:00:00Z"), "{said:?}");
        assert!(said[31].1.contains("has expired at"), "{said:?}");
    }
}
