//! All commands in one place.
#![expect(clippy::print_stderr, reason = "errors of the command itself")]

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use super::{certificate, crd, import, operator, replica_step, router, validate};
use crate::{bench, model};

/// An inference router: scoring requests in, replicas of models behind, scaled with the load.
#[derive(Debug, Parser)]
#[command(name = "modelway", version, after_help = "Start here: modelway dev")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Router and local replicas on this machine; without a file, an embedded demo
    #[command(after_help = "Example: modelway dev -f endpoints.yaml --port 0")]
    Dev(router::RouterArgs),
    /// The router as a service
    #[command(
        after_help = "Examples: modelway serve -f endpoints.yaml\n          modelway serve --kubernetes --namespaces models"
    )]
    Serve(router::ServeArgs),
    /// Check endpoint files; all problems at once, exit code 1 if there are any
    #[command(after_help = "Example: modelway validate endpoints.yaml")]
    Validate {
        /// The files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Print the definition of InferenceEndpoint for a cluster
    #[command(after_help = "Example: modelway crd | kubectl apply -f -")]
    Crd,
    /// Turn the files of another product into InferenceEndpoints
    #[command(subcommand)]
    Import(import::ImportArgs),
    /// Make a certificate for development, and the authority that clients have to trust
    #[command(after_help = "Example: modelway certificate --host models.test --out certificate")]
    Certificate(certificate::CertificateArgs),
    /// A stand-in model server
    Model(model::ModelArgs),
    /// A load generator
    Bench(bench::BenchArgs),
    /// List what a running router knows
    #[command(after_help = "Example: modelway get replicas")]
    Get(operator::GetArgs),
    /// Show one thing in full
    #[command(after_help = "Example: modelway describe endpoint demo")]
    Describe(operator::DescribeArgs),
    /// Show or replace the keys of an endpoint
    #[command(subcommand)]
    Keys(operator::KeysArgs),
    /// Print a token for an endpoint
    #[command(after_help = "Example: curl -H \"Authorization: Bearer $(modelway token demo)\" …")]
    Token(operator::ShowArgs),
    /// Becomes a replica process that ends with its router
    #[command(name = crate::platform::local::EXEC_REPLICA, hide = true)]
    ExecReplica {
        #[arg(long)]
        parent: u32,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
    /// Ends what replicas leave behind when their router is killed
    #[command(name = crate::platform::local::EXEC_GUARDIAN, hide = true)]
    ExecGuardian,
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Dev(args) => router::dev(args).map(|()| ExitCode::SUCCESS),
        Command::Serve(args) => router::serve(args).map(|()| ExitCode::SUCCESS),
        Command::Validate { files } => validate::run(&files)
            .map(|good| if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        Command::Crd => crd::run().map(|()| ExitCode::SUCCESS),
        Command::Import(args) => import::run(&args)
            .map(|usable| if usable { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        Command::Certificate(args) => certificate::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Model(args) => model::run_blocking(args),
        Command::Bench(args) => bench::run_blocking(args),
        Command::Get(args) => asking(operator::get(args)),
        Command::Describe(args) => asking(operator::describe(args)),
        Command::Keys(args) => asking(operator::keys(args)),
        Command::Token(args) => asking(operator::token(args)),
        Command::ExecReplica { parent, command } => {
            eprintln!("{}", replica_step::run(parent, &command));
            Ok(ExitCode::from(replica_step::EXEC_FAILED))
        }
        Command::ExecGuardian => {
            replica_step::guard().map(|()| ExitCode::SUCCESS).map_err(Into::into)
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn asking(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work)?;
    Ok(ExitCode::SUCCESS)
}
