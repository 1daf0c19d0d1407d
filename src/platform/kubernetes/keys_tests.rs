//! What becomes of keys whose Secret is deleted or emptied, on a stopped clock.

use super::*;

const GRACE: Duration = Duration::from_secs(300);

fn name() -> ObjectKey {
    ObjectKey { namespace: "models".into(), name: "demo-keys".into() }
}

/// A Secret of a person, or one that a router made, with these fields.
fn secret(fields: &[(&str, &str)], is_made: bool) -> Secret {
    let ObjectKey { namespace, name } = name();
    let mut metadata = Meta { name, namespace, ..Meta::default() };
    if is_made {
        metadata.labels.insert("app.kubernetes.io/managed-by".into(), MADE_BY.into());
    }
    let data = fields.iter().map(|(field, key)| ((*field).into(), STANDARD.encode(key).into()));
    Secret { metadata, data: data.collect() }
}

/// The keys of a cluster whose API server is not there: its news is brought by hand.
fn keys() -> Keys {
    let config = kube::Config::new("http://127.0.0.1:9".parse().unwrap());
    let server = ApiServer::of(kube::Client::try_from(config).unwrap());
    let (sender, _) = mpsc::channel(1);
    let mut keys = Keys::new(Lifecycle::new(), server, sender, GRACE);
    keys.follow(&HashSet::from([name()]));
    keys
}

fn digests_of(keys: &[&str]) -> Vec<KeyDigest> {
    keys.iter().map(|key| key_digest(&STANDARD.encode(key)).unwrap()).collect()
}

const BOTH: &[(&str, &str)] = &[(PRIMARY, "first"), (SECONDARY, "second")];

#[tokio::test(start_paused = true)]
async fn the_last_keys_of_a_lost_secret_end_with_the_grace_and_never_before() {
    for (news, is_emptied) in [
        (News::Gone(secret(BOTH, false)), false),
        (News::All(Vec::new()), false),
        (News::Changed(secret(&[], false)), true),
        (News::Changed(secret(&[(PRIMARY, "")], false)), true),
        (News::Changed(secret(&[(SECONDARY, "second")], false)), true),
    ] {
        let mut keys = keys();
        keys.hear(&name(), News::Changed(secret(BOTH, false)));
        assert_eq!(keys.of(&name()), (digests_of(&["first", "second"]), SecretState::Found));
        keys.hear(&name(), news.clone());
        let (last, state) = keys.of(&name());
        assert_eq!(last, digests_of(&["first", "second"]));
        let SecretState::Lost { is_emptied: shown, is_over: false, .. } = state else {
            panic!("{state:?}")
        };
        assert_eq!(shown, is_emptied, "{news:?}");
        tokio::time::advance(GRACE.checked_sub(Duration::from_millis(1)).unwrap()).await;
        assert_eq!(keys.expire(), []);
        // Hearing of it again does not begin the time anew.
        keys.hear(&name(), news);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(keys.expire(), [name()]);
        let (last, state) = keys.of(&name());
        assert!(matches!(state, SecretState::Lost { is_over: true, .. }), "{state:?}");
        // No keys: nobody is let in, rather than everybody.
        assert_eq!(last, []);
        assert_eq!(keys.expire(), [], "it is told once");
        // Keys of a person are not made anew by a router, also when they have ended.
        assert!(keys.kept[&name()].is_lost());
        keys.hear(&name(), News::Changed(secret(&[(PRIMARY, "third")], false)));
        assert_eq!(keys.of(&name()), (digests_of(&["third"]), SecretState::Found));
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_wrong_and_not_empty_keeps_the_last_good_keys() {
    let mut keys = keys();
    keys.hear(&name(), News::Changed(secret(BOTH, false)));
    keys.hear(&name(), News::Changed(secret(&[(PRIMARY, "two words")], false)));
    tokio::time::advance(GRACE * 2).await;
    assert_eq!(keys.expire(), []);
    let (last, state) = keys.of(&name());
    assert_eq!(last, digests_of(&["first", "second"]));
    assert!(matches!(state, SecretState::Unusable(_)), "{state:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_router_made_is_made_anew_and_never_had_keys_have_no_grace() {
    let mut keys = keys();
    keys.hear(&name(), News::All(Vec::new()));
    assert_eq!(keys.of(&name()), (Vec::new(), SecretState::Missing));
    keys.hear(&name(), News::Changed(secret(BOTH, true)));
    keys.hear(&name(), News::Gone(secret(BOTH, true)));
    assert_eq!(keys.of(&name()).0, digests_of(&["first", "second"]));
    assert!(!keys.kept[&name()].is_lost(), "a router may make others");
    keys.hear(&name(), News::Changed(secret(&[(PRIMARY, "other")], true)));
    assert_eq!(keys.of(&name()), (digests_of(&["other"]), SecretState::Made));
}
