//! The operator's view: `modelway get`, `modelway describe`, `modelway keys` and `modelway token`.
//!
//! Promises: all through the admin API of a running router; `get` and `describe` only read; `-o json` and `-o yaml`
//! show what the API says, field by field; text from elsewhere cannot move a terminal's cursor.
//!
//! How: `client` asks, `tables` lays out, `describe` tells of one endpoint,
//! `credentials` is about keys and tokens.
//!
//! Not here: what the API shows (`admin`).

mod args;
mod client;
mod credentials;
mod describe;
mod tables;

use std::io::{self, Write as _};

use serde_json::Value;

pub use args::{ADMIN_TOKEN, AdminArgs, DescribeArgs, DescribeKind, GetArgs, GetKind, Output};
pub use client::ClientError;
use client::{AdminClient, typed};
pub use credentials::{KeysArgs, RegenerateArgs, ShowArgs, SlotArgs, keys, token};

use super::yaml;
use crate::admin::items::{DecisionItem, EndpointItem, ReplicaItem, RouterItem};

/// How many decisions `describe` shows.
const DESCRIBED_DECISIONS_MAX: usize = 10;

/// `modelway get`: lists on standard output.
pub async fn get(args: GetArgs) -> anyhow::Result<()> {
    print(&got(&args).await?)
}

/// `modelway describe`: one thing, in full, on standard output.
pub async fn describe(args: DescribeArgs) -> anyhow::Result<()> {
    print(&described(&args).await?)
}

async fn got(args: &GetArgs) -> anyhow::Result<String> {
    let client = AdminClient::new(&args.admin)?;
    let list = list(&client, args).await?;
    let wide = args.output == Output::Wide;
    Ok(match args.output {
        Output::Json => json_text(&list),
        Output::Yaml => yaml::text(&list),
        Output::Table | Output::Wide => match args.kind {
            GetKind::Endpoints => tables::endpoints(&typed::<Vec<EndpointItem>>(list)?, wide),
            GetKind::Versions => tables::versions(&typed::<Vec<tables::VersionRow>>(list)?, wide),
            GetKind::Replicas => tables::replicas(&typed::<Vec<ReplicaItem>>(list)?, wide),
            GetKind::Decisions => tables::decisions(&typed::<Vec<DecisionItem>>(list)?, wide),
            GetKind::Routers => tables::routers(&typed::<Vec<RouterItem>>(list)?, wide),
        },
    })
}

/// The items as served, filtered; a version gets the name of its endpoint.
async fn list(client: &AdminClient, args: &GetArgs) -> Result<Value, ClientError> {
    let path = match args.kind {
        GetKind::Endpoints | GetKind::Versions => "/api/v1/endpoints",
        GetKind::Replicas => "/api/v1/replicas",
        GetKind::Decisions => "/api/v1/decisions",
        GetKind::Routers => "/api/v1/routers",
    };
    let Value::Array(mut items) = client.get(path).await? else {
        return Err(ClientError::Unknown { address: client.address() });
    };
    let endpoint_field = match args.kind {
        GetKind::Endpoints | GetKind::Versions => "name",
        GetKind::Replicas | GetKind::Decisions | GetKind::Routers => "endpoint",
    };
    // A router serves every endpoint, so the filter does not touch it.
    if let Some(name) = &args.endpoint
        && args.kind != GetKind::Routers
    {
        items
            .retain(|item| item.get(endpoint_field).and_then(Value::as_str) == Some(name.as_str()));
    }
    if args.kind == GetKind::Versions {
        items = items.into_iter().flat_map(versions_of).collect();
    }
    Ok(Value::Array(items))
}

fn versions_of(mut endpoint: Value) -> Vec<Value> {
    let name = endpoint.get("name").cloned().unwrap_or_default();
    let versions = endpoint.get_mut("versions").map(Value::take).unwrap_or_default();
    let Value::Array(mut versions) = versions else { return Vec::new() };
    for fields in versions.iter_mut().filter_map(Value::as_object_mut) {
        fields.insert("endpoint".to_owned(), name.clone());
    }
    versions
}

async fn described(args: &DescribeArgs) -> anyhow::Result<String> {
    let client = AdminClient::new(&args.admin)?;
    let DescribeKind::Endpoint = args.kind;
    let name = args.name.as_str();
    let endpoint = client.get(&format!("/api/v1/endpoints/{name}")).await?;
    match args.output {
        Output::Json => return Ok(json_text(&endpoint)),
        Output::Yaml => return Ok(yaml::text(&endpoint)),
        Output::Table | Output::Wide => {}
    }
    let replicas = client.get("/api/v1/replicas").await?;
    let decisions = client
        .get(&format!("/api/v1/decisions?endpoint={name}&limit={DESCRIBED_DECISIONS_MAX}"))
        .await?;
    let mut replicas: Vec<ReplicaItem> = typed(replicas)?;
    replicas.retain(|replica| replica.endpoint == name);
    let wide = args.output == Output::Wide;
    Ok(describe::endpoint(&typed(endpoint)?, &replicas, &typed::<Vec<_>>(decisions)?, wide))
}

fn json_text(value: &Value) -> String {
    format!("{value:#}\n")
}

/// A reader that has seen enough (`| head`) is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
