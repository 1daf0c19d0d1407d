//! An endpoint and its deployments become one endpoint with versions.

use serde_json::{Map, Value, json};

use super::{
    azureml::{Deployment, Endpoint, Parts},
    fields::Notes,
};
use crate::platform::spec::types::{API_VERSION, KIND};

/// One document for each endpoint that has a deployment, in the order of the files.
pub(super) fn endpoints(parts: Parts, notes: &mut Notes) -> Vec<Value> {
    let Parts { mut endpoints, deployments } = parts;
    let only = match endpoints.as_slice() {
        [one] => Some(one.name.clone()),
        _ => None,
    };
    let mut groups: Vec<(String, Vec<Deployment>)> = Vec::new();
    for endpoint in &endpoints {
        groups.push((endpoint.name.clone(), Vec::new()));
    }
    for deployment in deployments {
        let Some(name) = deployment.endpoint.clone().or_else(|| only.clone()) else {
            let message = "is required where the files do not hold exactly one endpoint; the \
                           deployment is left out";
            notes.say(&deployment.place, "endpoint_name", message);
            continue;
        };
        match groups.iter_mut().find(|(known, _)| *known == name) {
            Some((_, group)) => group.push(deployment),
            None => groups.push((name, vec![deployment])),
        }
    }
    let mut documents = Vec::new();
    for (name, group) in groups {
        let found = endpoints.iter().position(|endpoint| endpoint.name == name);
        let endpoint = found.map(|at| endpoints.remove(at));
        if group.is_empty() {
            let message = "no deployment of it is in the files; left out";
            notes.say(&endpoint.map(|e| e.place).unwrap_or_default(), "", message);
        } else {
            documents.push(document(&name, endpoint, group, notes));
        }
    }
    documents
}

fn document(
    name: &str,
    endpoint: Option<Endpoint>,
    deployments: Vec<Deployment>,
    notes: &mut Notes,
) -> Value {
    let place = format!("endpoint {name}");
    let endpoint = endpoint.unwrap_or_else(|| {
        let message = "its document is not in the files; mode Key and no traffic are assumed";
        notes.say(&place, "", message);
        Endpoint { place: place.clone(), name: name.to_owned(), auth: "Key", traffic: Vec::new() }
    });
    for (deployment, _) in &endpoint.traffic {
        if deployments.iter().all(|known| known.name != *deployment) {
            let message = "no such deployment is in the files; left out";
            notes.say(&endpoint.place, &format!("traffic.{deployment}"), message);
        }
    }
    let share = |deployment: &Deployment| {
        let found = endpoint.traffic.iter().find(|(name, _)| *name == deployment.name);
        found.map_or(0, |(_, share)| *share)
    };
    let shares: Vec<i64> = deployments.iter().map(share).collect();
    let most = shares.iter().copied().max().unwrap_or(0);
    let default = shares.iter().position(|share| *share == most).unwrap_or(0);
    let mut versions = Vec::new();
    for (i, (deployment, share)) in deployments.into_iter().zip(shares).enumerate() {
        if i == default {
            let why = if most == 0 {
                "no deployment has traffic, and all of it goes there"
            } else {
                "it has the most traffic, and takes what is missing to 100"
            };
            notes.say(
                &place,
                "",
                &format!("{} becomes the default version: {why}", deployment.name),
            );
        }
        versions.push(version(name, deployment, share, i == default && i > 0, notes));
    }
    json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name},
        "spec": {"auth": {"mode": endpoint.auth}, "versions": versions},
    })
}

fn version(
    endpoint: &str,
    deployment: Deployment,
    share: i64,
    is_default: bool,
    notes: &mut Notes,
) -> Map<String, Value> {
    let Deployment { place, name, mut version, .. } = deployment;
    let target = format!("{name}-{endpoint}");
    let message = format!(
        "{target} is written as the name of the Deployment, as the Azure ML extension calls it; \
         change targetRef.name if yours is called otherwise"
    );
    notes.say(&place, "name", &message);
    version.insert("targetRef".to_owned(), json!({"kind": "Deployment", "name": target}));
    if share != 0 {
        version.insert("trafficPercentile".to_owned(), json!(share));
    }
    if is_default {
        version.insert("isDefault".to_owned(), json!(true));
    }
    version
}
