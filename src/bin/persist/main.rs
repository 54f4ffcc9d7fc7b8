//! `persist`: the command line. Each command is one file in `cmd/`; what they share is here beside it.
//!
//! - `args`: what can be asked, and the help
//! - `storage`: which storage is meant
//! - `output`: text, JSON, errors, exit codes
//! - `progress`: a bar for long work on a terminal

mod args;
mod cmd;
mod output;
mod progress;
mod storage;

use std::process::ExitCode;

use clap::Parser;

use crate::{args::Args, output::Output, storage::Storage};

fn main() -> ExitCode {
    let args = Args::parse();
    let output = Output::new(args.json);
    log(args.verbose);
    // One thread carries the requests; compression and files have threads of their own.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output.failure(&anyhow::Error::new(error).context("the runtime cannot start")),
    };
    let code = runtime.block_on(async {
        let command = async {
            let storage = Storage::new(args.storage, args.config)?;
            cmd::run(args.command, &storage, &output).await
        };
        tokio::select! {
            result = command => match result {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => output.failure(&error),
            },
            _ = tokio::signal::ctrl_c() => {
                // The command's future is gone, and with it what it had begun; services get a moment to hear of it.
                tokio::time::sleep(std::time::Duration::from_millis(300)).await;
                ExitCode::from(130)
            }
        }
    });
    // A thread that waits for standard input must not hold the process.
    runtime.shutdown_background();
    code
}

/// Messages go to standard error. Only persist's own are ever shown below `warn`: libraries beneath it may log tokens.
fn log(verbose: u8) {
    use tracing_subscriber::EnvFilter;
    let level = ["warn", "info", "debug"][usize::from(verbose.min(2))];
    let asked = std::env::var("RUST_LOG").unwrap_or_else(|_| format!("off,persist={level}"));
    let filter = EnvFilter::builder().parse_lossy(asked);
    let filter = [
        "yup_oauth2=off",
        "hyper=off",
        "hyper_util=off",
        "h2=off",
        "aws_smithy_runtime=off",
        "aws_sigv4=off",
    ]
    .iter()
    .filter_map(|directive| directive.parse().ok())
    .fold(filter, EnvFilter::add_directive);
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
}
