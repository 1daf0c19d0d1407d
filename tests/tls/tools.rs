//! The same as other implementations of TLS see it.

use std::process::{Command, Stdio};

use crate::{
    site::{Site, site},
    support::tool::leave_out,
};

/// What `openssl s_client` prints for these options; `None` where the machine has none.
fn openssl(site: &Site, options: &[&str]) -> Option<String> {
    let authority = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(authority.path(), &site.authority.pem).expect("a file");
    let address = site.secure.to_string();
    let done = Command::new("openssl")
        .args(["s_client", "-connect", &address, "-servername", "localhost", "-brief"])
        .args(["-verify_return_error", "-CAfile"])
        .arg(authority.path())
        .args(options)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = [done.stdout, done.stderr].concat();
    Some(String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn openssl_agrees() {
    let site = site();
    let table: [(&[&str], &str); 4] = [
        (&["-tls1_2"], "Protocol version: TLSv1.2"),
        (&["-tls1_3"], "Protocol version: TLSv1.3"),
        (&["-tls1_3", "-verify_hostname", "localhost"], "Verification: OK"),
        (&["-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"], "SSL alert number"),
    ];
    for (options, words) in table {
        let Some(text) = openssl(&site, options) else {
            leave_out("openssl_agrees", "openssl is not on this machine");
            return;
        };
        assert!(text.contains(words), "{options:?}: {text}");
    }
}
