//! When the keys of an issuer are fetched, as arithmetic.

use std::time::Duration;

/// The pause between two fetches that tokens with unknown keys have caused. Anybody can make up
/// key names; an issuer that has just rotated its keys is found at once, unless somebody does.
pub const ASK_PAUSE: Duration = Duration::from_secs(30);
/// How long a request waits for a fetch that may bring its token's key. Issuers answer in
/// a tenth of that; a client that waits longer for a 401 has no use for it.
pub const KEYS_WAIT: Duration = Duration::from_secs(1);

/// The shortest and the longest rest after a good fetch; with the jitter it is 5 to 15 minutes. A
/// key that was taken away is refused after that at the latest.
const REST_MIN: Duration = Duration::from_secs(330);
const REST_MAX: Duration = Duration::from_secs(810);
/// The rest where the answer does not say how long it may be kept.
const REST: Duration = Duration::from_secs(600);
/// The rest after the first failed fetch; it doubles with each further one.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest rest after a failed fetch.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How much a rest may be shorter or longer, so that routers that were started together, and the
/// issuers of one router, do not all ask in one moment.
const JITTER: f64 = 0.09;

/// How long to rest after a good fetch. `max_age` is that of the answer, `dice` is 0 to 1.
pub(super) fn rest(max_age: Option<Duration>, dice: f64) -> Duration {
    jittered(max_age.unwrap_or(REST).clamp(REST_MIN, REST_MAX), dice)
}

/// How long to rest after this many failed fetches in a row. `dice` is 0 to 1.
pub(super) fn pause(failures: u32, dice: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    jittered(PAUSE_MIN.saturating_mul(1 << doublings).min(PAUSE_MAX), dice)
}

/// The `max-age` of a `Cache-Control` field (RFC 9111 §5.2.2.1); the first one counts.
pub(super) fn max_age(field: &str) -> Option<Duration> {
    field.split(',').find_map(|directive| {
        let (name, value) = directive.trim().split_once('=')?;
        let digits = value.trim().trim_matches('"');
        let is_ours = name.trim().eq_ignore_ascii_case("max-age");
        (is_ours && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
            // More digits than a number holds are more than any bound.
            .then(|| Duration::from_secs(digits.parse().unwrap_or(u64::MAX)))
    })
}

fn jittered(rest: Duration, dice: f64) -> Duration {
    rest.mul_f64(1.0 - JITTER + 2.0 * JITTER * dice.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_follows_max_age_and_stays_within_5_to_15_minutes() {
        let seconds = |age: Option<u64>, dice| rest(age.map(Duration::from_secs), dice).as_secs();
        assert_eq!(seconds(None, 0.5), 600);
        assert_eq!(seconds(Some(700), 0.5), 700);
        for age in [None, Some(0), Some(1), Some(700), Some(86_400), Some(u64::MAX)] {
            for dice in [0.0, 0.3, 1.0] {
                assert!((300..=900).contains(&seconds(age, dice)), "{age:?} {dice}");
            }
        }
        assert!(seconds(None, 0.0) < seconds(None, 1.0));
    }

    #[test]
    fn pauses_double_from_a_second_to_a_minute() {
        let all: Vec<_> = (1..=9).map(|failures| pause(failures, 0.5).as_secs()).collect();
        assert_eq!(all, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(pause(u32::MAX, 0.5).as_secs(), 60);
    }

    #[test]
    fn max_age_is_found_among_other_directives() {
        let seconds = |field| max_age(field).map(|age| age.as_secs());
        assert_eq!(seconds("public, max-age=86400, must-revalidate"), Some(86_400));
        assert_eq!(seconds("Max-Age=\"60\""), Some(60));
        assert_eq!(seconds("max-age=99999999999999999999999"), Some(u64::MAX));
        for field in
            ["", "no-store", "max-age", "max-age=", "max-age=-1", "max-age=1h", "s-maxage=9"]
        {
            assert_eq!(seconds(field), None, "{field}");
        }
    }
}
