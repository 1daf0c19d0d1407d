//! `modelway certificate`, and a start that cannot succeed.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use crate::{
    pki::Authority,
    support::router::{Router, binary},
};

fn run(arguments: &[&str], folder: &Path) -> Output {
    Command::new(binary()).args(arguments).current_dir(folder).output().expect("the binary runs")
}

#[test]
fn curl_trusts_what_was_made_and_the_commands_that_are_printed_work() {
    let folder = tempfile::tempdir().unwrap();
    let made = run(&["certificate", "--out", "made"], folder.path());
    let printed = String::from_utf8(made.stdout).unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let out = folder.path().join("made").display().to_string();
    assert!(printed.contains("modelway dev --tls-dir made\n"), "{printed}");
    let authority = format!("{out}/ca.crt");
    let router = Router::demo(&["--tls-port", "0", "--tls-dir", &out]);
    let secure = crate::site::address(&router, "https").expect("the router says where HTTPS is");
    let key = router.key();
    for host in ["localhost", "127.0.0.1"] {
        for version in ["--http1.1", "--http2"] {
            let uri = format!("https://{host}:{}/api/v1/endpoint/demo/score", secure.port());
            let credential = format!("Authorization: Bearer {key}");
            let mut curl = Command::new("curl");
            curl.args(["-sS", "--fail", version, "--cacert", &authority, &uri]);
            curl.args(["-H", &credential, "-H", "Content-Type: application/json"]);
            curl.args([
                "-d",
                "{\"data\": [1, 2, 3]}",
                "-w",
                "\n%{http_version} %{ssl_verify_result}",
            ]);
            let done = curl.output().expect("curl runs");
            let text = String::from_utf8_lossy(&done.stdout).into_owned();
            let error = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success(), "{host} {version}: {error}");
            let expected = if version == "--http2" { "2 0" } else { "1.1 0" };
            assert_eq!(text.lines().last(), Some(expected), "{text}");
        }
    }
    let again = run(&["certificate", "--out", "made"], folder.path());
    assert_eq!(again.status.code(), Some(1));
    let error = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(error.contains("is there already; choose another folder with --out"), "{error}");
}

#[test]
fn a_start_that_cannot_succeed_says_which_file_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("authority");
    let (one, other) = (authority.sign(&["one"]), authority.sign(&["other"]));
    fs::write(folder.path().join("one.crt"), &one.certificate).unwrap();
    fs::write(folder.path().join("one.key"), &one.key).unwrap();
    fs::write(folder.path().join("other.key"), &other.key).unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    let pair = ["--tls-cert", "one.crt", "--tls-key", "one.key"];
    let table: [(&[&str], &str); 10] = [
        (&["--tls-cert", "one.crt"], "--tls-cert and --tls-key belong together"),
        (&["--tls-port", "0"], "HTTPS needs a certificate"),
        (&["--plain", "refuse"], "HTTPS needs a certificate"),
        (&["--tls-cert", "one.crt", "--tls-key", "no.key"], "no.key: no such file"),
        (
            &["--tls-cert", "one.crt", "--tls-key", "other.key"],
            "other.key: is not the key of the certificate in one.crt",
        ),
        (&["--tls-cert", "one.key", "--tls-key", "one.key"], "one.key: no certificate in PEM"),
        (&["--tls-dir", "empty"], "empty: there is neither tls.crt with tls.key nor cert.pem"),
        (&["--tls-dir", "away"], "away: there is neither tls.crt with tls.key nor cert.pem"),
        (&[&pair[..], &["--tls-client-auth", "require"]].concat(), "needs the authorities"),
        (&[&pair[..], &["--redirect-port", "443"]].concat(), "is for --plain redirect"),
    ];
    for (flags, words) in table {
        let first = ["dev", "--port", "0", "--admin-port", "0"];
        let done = run(&[&first, flags].concat(), folder.path());
        let error = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(1), "{flags:?}");
        assert!(error.contains(words), "{flags:?}: {error}");
    }
}
