//! The command lines of `modelway get` and `modelway describe`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::domain::Name;

/// Where the router is asked.
#[derive(Debug, Clone, Args)]
pub struct AdminArgs {
    /// Admin address of the router
    #[arg(
        long,
        value_name = "URL",
        env = "MODELWAY_ADMIN",
        default_value = "http://127.0.0.1:9001"
    )]
    pub admin: String,
    /// File with the credential for what is not open to all: the router's admin token or, in a
    /// cluster, a token of Kubernetes [default: MODELWAY_ADMIN_TOKEN, else none]
    #[arg(long, value_name = "FILE", env = "MODELWAY_ADMIN_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
}

/// The variable with the admin token, for the router and for who asks it. It is no flag: everybody on
/// a machine can read command lines.
pub const ADMIN_TOKEN: &str = "MODELWAY_ADMIN_TOKEN";

/// `modelway get`.
#[derive(Debug, Clone, Args)]
pub struct GetArgs {
    /// What to list
    #[arg(value_name = "KIND")]
    pub kind: GetKind,
    /// Only what belongs to this endpoint
    #[arg(long, value_name = "NAME")]
    pub endpoint: Option<Name>,
    /// How to show it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Where to ask.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// `modelway describe`.
#[derive(Debug, Clone, Args)]
pub struct DescribeArgs {
    /// What to describe
    #[arg(value_name = "KIND")]
    pub kind: DescribeKind,
    /// Its name
    pub name: Name,
    /// How to show it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Where to ask.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// What `get` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GetKind {
    /// Endpoints with their split and load
    #[value(alias = "endpoint")]
    Endpoints,
    /// Versions with their replicas, load and limits
    #[value(alias = "version")]
    Versions,
    /// Replicas with their state and slots
    #[value(alias = "replica")]
    Replicas,
    /// The last scaling decisions, newest first
    #[value(alias = "decision")]
    Decisions,
    /// Routers with their addresses and phase
    #[value(alias = "router")]
    Routers,
}

/// What `describe` tells about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DescribeKind {
    /// One endpoint with its versions, replicas and last decisions
    #[value(alias = "endpoints")]
    Endpoint,
}

/// How the answer is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Columns for people
    Table,
    /// The same with more columns
    Wide,
    /// As the admin API says it
    Json,
    /// The same as YAML
    Yaml,
}
