//! `modelway keys` and `modelway token`: credentials of endpoints, for who may have them.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{
    args::{AdminArgs, Output},
    client::{AdminClient, typed},
    json_text, print, tables,
};
use crate::{
    admin::items::{KeysItem, TokenItem},
    cli::yaml,
    domain::{KeySlot, Name},
};

/// `modelway keys`.
#[derive(Debug, Clone, Subcommand)]
pub enum KeysArgs {
    /// Show both keys of an endpoint
    #[command(after_help = "Example: modelway keys show demo")]
    Show(ShowArgs),
    /// Put a new key in the place of one of them; the other one stays valid
    #[command(after_help = "Example: modelway keys regenerate demo --primary")]
    Regenerate(RegenerateArgs),
}

/// `modelway keys show`, `modelway token`.
#[derive(Debug, Clone, Args)]
pub struct ShowArgs {
    /// The endpoint
    pub endpoint: Name,
    /// How to show it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Where to ask.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// `modelway keys regenerate`.
#[derive(Debug, Clone, Args)]
pub struct RegenerateArgs {
    /// What and where.
    #[command(flatten)]
    pub show: ShowArgs,
    /// Which one.
    #[command(flatten)]
    pub slot: SlotArgs,
}

/// Exactly one of the two.
#[derive(Debug, Clone, Copy, Args)]
#[group(required = true, multiple = false)]
pub struct SlotArgs {
    /// The primary key
    #[arg(long)]
    pub primary: bool,
    /// The secondary key
    #[arg(long)]
    pub secondary: bool,
}

/// Keys on standard output.
pub async fn keys(args: KeysArgs) -> anyhow::Result<()> {
    print(&keys_text(&args).await?)
}

/// A token on standard output; as a table the token alone, for `$(modelway token NAME)`.
pub async fn token(args: ShowArgs) -> anyhow::Result<()> {
    print(&token_text(&args).await?)
}

pub(super) async fn keys_text(args: &KeysArgs) -> anyhow::Result<String> {
    let (show, slot) = match args {
        KeysArgs::Show(show) => (show, None),
        KeysArgs::Regenerate(RegenerateArgs { show, slot }) => {
            let slot = if slot.secondary { KeySlot::Secondary } else { KeySlot::Primary };
            (show, Some(slot))
        }
    };
    let client = AdminClient::new(&show.admin)?;
    let path = format!("/api/v1/endpoints/{}/keys", show.endpoint);
    let answer = match slot {
        None => client.get(&path).await?,
        Some(slot) => client.post(&format!("{path}/{}/regenerate", slot.as_str())).await?,
    };
    shown(show.output, answer, |answer| Ok(tables::keys(&typed::<KeysItem>(answer)?)))
}

pub(super) async fn token_text(args: &ShowArgs) -> anyhow::Result<String> {
    let client = AdminClient::new(&args.admin)?;
    let answer = client.post(&format!("/api/v1/endpoints/{}/token", args.endpoint)).await?;
    let wide = args.output == Output::Wide;
    shown(args.output, answer, |answer| {
        let item: TokenItem = typed(answer)?;
        Ok(if wide {
            tables::token(&item)
        } else {
            format!("{}\n", tables::shown(&item.access_token))
        })
    })
}

fn shown(
    output: Output,
    answer: Value,
    table: impl FnOnce(Value) -> anyhow::Result<String>,
) -> anyhow::Result<String> {
    match output {
        Output::Json => Ok(json_text(&answer)),
        Output::Yaml => Ok(yaml::text(&answer)),
        Output::Table | Output::Wide => table(answer),
    }
}
