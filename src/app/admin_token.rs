//! The admin token: read at the start, and again whenever its file changes.

use std::{path::Path, sync::Arc};

use anyhow::{Context, bail};

use crate::{
    admin::Guard,
    config::{ADMIN_TOKEN_BYTES_MAX, ADMIN_TOKEN_BYTES_MIN, AdminToken},
    domain::ClearText,
    lifecycle::Lifecycle,
    platform::local,
    telemetry::Metrics,
};

/// Gives the guard its token, and follows the file. Fails when there is to be one and it is not usable.
pub(super) fn keep(
    lifecycle: &Lifecycle,
    guard: &Arc<Guard>,
    source: Option<&AdminToken>,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<()> {
    match source {
        None => {}
        Some(AdminToken::Text(token)) => guard.set_token(&checked(token.reveal())?),
        Some(AdminToken::File(file)) => {
            guard.set_token(&read(file)?);
            let (guard, metrics, file) = (Arc::clone(guard), Arc::clone(metrics), file.clone());
            local::watch(lifecycle, vec![file.clone()], move || match read(&file) {
                Ok(token) => guard.set_token(&token),
                Err(error) => {
                    metrics.configuration_refusals.inc();
                    tracing::warn!("{error:#}; the admin token before it stays in force");
                }
            });
        }
    }
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<ClearText> {
    let about = || format!("the admin token in {}", file.display());
    // A folder, a pipe or a disk image under this name must not fill the memory.
    let length = std::fs::metadata(file).with_context(about)?;
    if !length.is_file() || length.len() > 2 * ADMIN_TOKEN_BYTES_MAX as u64 {
        bail!("{} is not a file of at most {ADMIN_TOKEN_BYTES_MAX} bytes", about());
    }
    checked(&std::fs::read_to_string(file).with_context(about)?).with_context(about)
}

/// The token without the line break at its end, if it is one.
fn checked(text: &str) -> anyhow::Result<ClearText> {
    let token = text.trim_end_matches(['\r', '\n']);
    if !(ADMIN_TOKEN_BYTES_MIN..=ADMIN_TOKEN_BYTES_MAX).contains(&token.len()) {
        bail!(
            "an admin token has {ADMIN_TOKEN_BYTES_MIN} to {ADMIN_TOKEN_BYTES_MAX} bytes, and this one \
             {}; `openssl rand -hex 32` makes one",
            token.len()
        );
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        bail!("an admin token is one line of printable ASCII without spaces");
    }
    Ok(ClearText::new(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word_within_its_bounds() {
        let long = |length| "x".repeat(length);
        assert_eq!(checked(&(long(16) + "\n")).unwrap().reveal(), long(16));
        assert_eq!(checked(&(long(4096) + "\r\n")).unwrap().reveal(), long(4096));
        for bad in [
            long(15),
            long(4097),
            long(16) + " ",
            "\n".to_owned(),
            long(20) + "\nmore",
            "ä".repeat(20),
        ] {
            let error = format!("{:#}", checked(&bad).unwrap_err());
            assert!(error.starts_with("an admin token "), "{error}");
            assert!(
                bad.len() < 15 || !error.contains(bad.trim()),
                "the token is not in the message"
            );
        }
    }
}
