//! The shares that versions should get, and how far what was seen is from them.

use std::{collections::BTreeMap, str::FromStr};

use anyhow::{Context as _, bail, ensure};
use http::{StatusCode, Uri};
use serde::Deserialize;

use super::client::fetch;

/// Percent by version; they add up to 100.
#[derive(Debug, Clone, PartialEq)]
pub struct Shares(BTreeMap<String, f64>);

/// Shares may miss 100 by this much, for `33.3` three times.
const SUM_SLACK: f64 = 0.5;

impl Shares {
    fn checked(shares: BTreeMap<String, f64>) -> Result<Self, String> {
        let sum: f64 = shares.values().sum();
        if (sum - 100.0).abs() <= SUM_SLACK {
            Ok(Self(shares))
        } else {
            Err(format!("the shares add up to {sum}, not to 100"))
        }
    }

    /// The share of a version in percent; 0 for one that is not named.
    pub fn of(&self, version: &str) -> f64 {
        self.0.get(version).copied().unwrap_or_default()
    }

    /// The versions by name.
    pub fn versions(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Asks the admin port of a router for the shares of the endpoint that `url` scores at.
    pub(super) async fn read(admin: &Uri, url: &Uri) -> anyhow::Result<Self> {
        let endpoint = endpoint_of(url.path())
            .with_context(|| format!("no endpoint in {url}; use --expect-split"))?;
        let base = admin.to_string();
        let address = format!("{}/api/v1/endpoints/{endpoint}", base.trim_end_matches('/'));
        let uri = address.parse().with_context(|| format!("{address} is not an address"))?;
        let (status, body) =
            fetch(uri).await.with_context(|| format!("cannot read the shares from {address}"))?;
        ensure!(status == StatusCode::OK, "{address} answered {status}");
        let seen: Endpoint = serde_json::from_slice(&body)
            .with_context(|| format!("{address} did not describe an endpoint"))?;
        let shares = seen.versions.into_iter().map(|it| (it.name, it.effective_percentile));
        match Self::checked(shares.collect()) {
            Ok(shares) => Ok(shares),
            Err(why) => bail!("{address}: {why}"),
        }
    }
}

/// What we need of the admin API's endpoint.
#[derive(Debug, Deserialize)]
struct Endpoint {
    versions: Vec<Version>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    name: String,
    effective_percentile: f64,
}

/// The endpoint in a scoring path of contract §2.
fn endpoint_of(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/api/v1/")?;
    let rest = rest.strip_prefix("service/").or_else(|| rest.strip_prefix("endpoint/"))?;
    rest.split('/').next().filter(|name| !name.is_empty())
}

impl FromStr for Shares {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut shares = BTreeMap::new();
        for pair in text.split(',') {
            let (name, share) =
                pair.split_once('=').ok_or("write VERSION=PERCENT,…, as in blue=80,green=20")?;
            let number = share.trim().trim_end_matches('%').parse::<f64>().ok();
            let share = number
                .filter(|share| (0.0..=100.0).contains(share))
                .ok_or_else(|| format!("{share:?} is not between 0 and 100"))?;
            if shares.insert(name.trim().to_owned(), share).is_some() {
                return Err(format!("{} is named twice", name.trim()));
            }
        }
        Self::checked(shares)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_name_each_version_once_and_add_up() {
        let shares: Shares = "blue=80, green=20%".parse().unwrap();
        assert_eq!((shares.of("blue"), shares.of("green"), shares.of("red")), (80.0, 20.0, 0.0));
        for bad in ["", "blue", "blue=80", "blue=50,blue=50", "blue=120,green=-20", "a=x,b=100"] {
            assert!(bad.parse::<Shares>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_endpoint_is_found_in_every_scoring_path() {
        assert_eq!(endpoint_of("/api/v1/service/demo/score"), Some("demo"));
        assert_eq!(endpoint_of("/api/v1/endpoint/demo"), Some("demo"));
        assert_eq!(endpoint_of("/score"), None);
        assert_eq!(endpoint_of("/api/v1/service/"), None);
    }
}
