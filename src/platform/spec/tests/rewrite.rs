//! A key in a file gets a new value, and nothing else in the file changes.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::*;
use crate::domain::{ClearText, CredentialError, KeySlot, Name};

const ENDPOINT: &str = "\
apiVersion: modelway.dev/v1alpha1
kind: InferenceEndpoint
metadata: {name: demo}
spec:
  auth: {mode: Key, secretRef: {name: demo-keys}}
  versions:
    - {name: blue, targetRef: {kind: Addresses, addresses: []}}
";
const NEW: &str = "new-canary_key-0123456789";

/// The file of the endpoint followed by this document.
fn with_secret(secret: &str) -> String {
    format!("{ENDPOINT}---\napiVersion: v1\nkind: Secret\nmetadata: {{name: demo-keys}}\n{secret}")
}

/// A folder with one file.
fn file_of(text: &str) -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("endpoints.yaml");
    fs::write(&file, text).unwrap();
    (folder, vec![file])
}

fn demo() -> Name {
    "demo".parse().unwrap()
}

fn replace(files: &[PathBuf], slot: KeySlot) -> Result<crate::domain::ClearKeys, CredentialError> {
    replace_key(files, &demo(), slot, &ClearText::new(NEW), Policy::FILES)
}

#[test]
fn one_value_is_replaced_and_every_other_byte_stays() {
    let packed = |key: &str| STANDARD.encode(key);
    // What stands in the file, which part of it is the primary key, and what it becomes.
    let cases: Vec<(String, String, String)> = vec![
        ("stringData: {primaryKey: old-primary, secondaryKey: other}\n".into(), "old-primary".into(), NEW.into()),
        ("stringData:\n  # a comment with ünïcödé\n  primaryKey: old-primary   # stays\n  secondaryKey: other\n".into(), "old-primary".into(), NEW.into()),
        ("stringData:\n  primaryKey: 'old-primary'\n  secondaryKey: other\n".into(), "'old-primary'".into(), format!("'{NEW}'")),
        ("stringData:\n  secondaryKey: other\n  \"primaryKey\" : \"old-primary\"\n".into(), "\"old-primary\"".into(), format!("\"{NEW}\"")),
        (format!("data:\n  primaryKey: {}\n  secondaryKey: {}\n", packed("old-primary"), packed("other")), packed("old-primary"), packed(NEW)),
        // `stringData` wins, so that is where it is replaced.
        (format!("data: {{primaryKey: {}, secondaryKey: {}}}\nstringData: {{primaryKey: old-primary}}\n", packed("unused"), packed("other")), "{primaryKey: old-primary".into(), format!("{{primaryKey: {NEW}")),
        ("stringData:\r\n  primaryKey: old-primary\r\n  secondaryKey: other\r\ntype: Opaque\r\n...\r\n".into(), "old-primary".into(), NEW.into()),
        ("stringData: {secondaryKey: other, primaryKey: old-primary}\n---\n# another endpoint's\napiVersion: v1\nkind: Secret\nmetadata: {name: others}\nstringData: {primaryKey: old-primary2}\n".into(), "primaryKey: old-primary}".into(), format!("primaryKey: {NEW}}}")),
    ];
    for (secret, old, new) in cases {
        for mark in ["", "\u{feff}"] {
            let text = format!("{mark}{}", with_secret(&secret));
            let (_folder, files) = file_of(&text);
            let before = keys_in_files(&files, &demo()).unwrap().unwrap();
            assert_eq!(before.primary.reveal(), "old-primary", "{secret}");
            let after =
                replace(&files, KeySlot::Primary).unwrap_or_else(|e| panic!("{secret}: {e}"));
            assert_eq!(after.primary.reveal(), NEW);
            assert_eq!(after.secondary, before.secondary, "the other one is not touched");
            assert_eq!(fs::read_to_string(&files[0]).unwrap(), text.replacen(&old, &new, 1));
        }
    }
}

#[test]
fn the_secondary_key_and_a_secret_in_a_file_of_its_own_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["endpoints.yaml", "keys.yaml"].map(|name| folder.path().join(name)).to_vec();
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: demo-keys}\nstringData:\n  primaryKey: first\n  secondaryKey: second\n";
    fs::write(&files[0], ENDPOINT).unwrap();
    fs::write(&files[1], secret).unwrap();
    let keys = replace(&files, KeySlot::Secondary).unwrap();
    assert_eq!((keys.primary.reveal(), keys.secondary.unwrap().reveal()), ("first", NEW));
    assert_eq!(fs::read_to_string(&files[0]).unwrap(), ENDPOINT);
    assert_eq!(
        fs::read_to_string(&files[1]).unwrap(),
        secret.replace("second\n", &format!("{NEW}\n"))
    );
}

#[test]
fn what_is_too_odd_is_refused_and_left_as_it_is() {
    let cases = [
        (
            "stringData:\n  primaryKey: &a old-primary\n  secondaryKey: other\n",
            "has a tag or an anchor",
        ),
        ("stringData:\n  primaryKey: !!str old-primary\n", "has a tag or an anchor"),
        ("stringData:\n  secondaryKey: &a old-primary\n  primaryKey: *a\n", "not understood"),
        ("stringData: &a {primaryKey: old-primary}\ndata: *a\n", ""),
        ("stringData:\n  primaryKey: |-\n    old-primary\n", "is a block of lines"),
        ("stringData:\n  primaryKey: >-\n    old-primary\n", "is a block of lines"),
        ("stringData:\n  primaryKey: \"old-\\x70rimary\"\n", "escapes"),
        ("stringData:\n  primaryKey: \"old-\\\n    primary\"\n", "escapes"),
    ];
    for (secret, why) in cases {
        let text = with_secret(secret);
        let (_folder, files) = file_of(&text);
        let error = replace(&files, KeySlot::Primary).unwrap_err();
        let CredentialError::Refused(words) = &error else { panic!("{secret}: {error:?}") };
        assert!(words.contains(why), "{secret}: {words}");
        assert!(!words.contains("rimary\"") && !words.contains("old-primary"), "{words}");
        assert!(!words.contains(NEW));
        assert_eq!(fs::read_to_string(&files[0]).unwrap(), text);
    }
    let (_folder, files) = file_of(&with_secret("stringData: {primaryKey: only}\n"));
    let error = replace(&files, KeySlot::Secondary).unwrap_err().to_string();
    assert!(error.contains("secondaryKey") && error.contains("is not there"), "{error}");
}

#[test]
fn a_file_with_other_problems_gets_no_key_that_would_not_come_into_force() {
    let text = with_secret("stringData: {primaryKey: old-primary}\n").replace("blue", "B");
    let (_folder, files) = file_of(&text);
    let error = replace(&files, KeySlot::Primary).unwrap_err().to_string();
    assert!(error.contains("correct them first") && error.contains("endpoints.yaml:7"), "{error}");
    assert_eq!(fs::read_to_string(&files[0]).unwrap(), text);
}

#[test]
fn the_file_keeps_its_mode_and_its_links() {
    let (folder, files) = file_of(&with_secret("stringData: {primaryKey: old-primary}\n"));
    for mode in [0o600, 0o640, 0o644] {
        fs::set_permissions(&files[0], fs::Permissions::from_mode(mode)).unwrap();
        let owner = fs::metadata(&files[0]).unwrap().uid();
        replace(&files, KeySlot::Primary).unwrap();
        let metadata = fs::metadata(&files[0]).unwrap();
        assert_eq!((metadata.permissions().mode() & 0o777, metadata.uid()), (mode, owner));
    }
    let link = folder.path().join("link.yaml");
    symlink("endpoints.yaml", &link).unwrap();
    fs::write(&files[0], with_secret("stringData: {primaryKey: old-primary}\n")).unwrap();
    replace(std::slice::from_ref(&link), KeySlot::Primary).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::read_to_string(&files[0]).unwrap().contains(NEW));
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "nothing is left behind: {names:?}");
}

#[test]
fn an_endpoint_without_a_secret_has_no_keys_in_files() {
    let (_folder, files) = file_of(&ENDPOINT.replace(", secretRef: {name: demo-keys}", ""));
    assert_eq!(keys_in_files(&files, &demo()).unwrap(), None);
    let other: Name = "other".parse().unwrap();
    let unknown = keys_in_files(&files, &other).unwrap_err();
    assert_eq!(unknown, CredentialError::UnknownEndpoint("other".to_owned()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever a person has written: either the file is refused and as it was, or it holds the new
    /// key and is otherwise the same.
    #[test]
    fn a_replacement_is_whole_or_nothing(
        key in "[!-~]{1,20}",
        quote in prop::sample::select(vec!["", "'", "\""]),
        before in "[ ]{0,3}",
        comment in prop::sample::select(vec!["", " # stays", "   "]),
    ) {
        let text = with_secret(&format!("stringData:\n  primaryKey: {before}{quote}{key}{quote}{comment}\n  secondaryKey: other\n"));
        let (_folder, files) = file_of(&text);
        let Ok(Some(keys)) = keys_in_files(&files, &demo()) else { return Ok(()) };
        match replace(&files, KeySlot::Primary) {
            Err(_) => prop_assert_eq!(fs::read_to_string(&files[0]).unwrap(), text),
            Ok(new) => {
                prop_assert_eq!(new.primary.reveal(), NEW);
                prop_assert_eq!(new.secondary, keys.secondary);
                let now = fs::read_to_string(&files[0]).unwrap();
                let (start, end) = text.split_once(&format!("primaryKey: {before}")).unwrap();
                let (_key, rest) = end.split_once('\n').unwrap();
                let kept = format!("\n{rest}");
                prop_assert!(now.starts_with(start) && now.ends_with(&kept));
            }
        }
    }
}
