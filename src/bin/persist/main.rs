//! `persist`: the command line. Each command is one file in `cmd/`; what they share is here beside it.
//!
//! - `args`: what can be asked, and the help
//! - `values`: what the values of options may be
//! - `storage`: which storage is meant
//! - `place`: whether one folder lies in another
//! - `files`: folders for files that are written
//! - `output`: text, JSON, errors, exit codes
//! - `progress`: a bar for long work on a terminal
//! - `signals`: how a command that writes is interrupted

mod args;
mod cmd;
mod files;
mod output;
mod place;
mod progress;
mod signals;
mod storage;
mod values;

use std::{
    io::{IsTerminal, stderr},
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::Parser;
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    prelude::*,
};

use crate::{args::Args, output::Output, storage::Storage};

/// More than any command takes: the first thread stays.
const LONG: Duration = Duration::from_secs(30 * 24 * 3600);

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return output::usage(&error),
    };
    log(args.verbose);
    let output = Output::new(args.json);
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return output.failure(&error, None),
    };
    let code = runtime.block_on(async {
        signals::survive_the_size_limit();
        let storage = Storage::new(args.storage, args.config);
        let cleans_up = args.command.writes();
        let command = cmd::run(args.command, &storage, &output);
        match if cleans_up { signals::interruptible(command).await } else { Ok(command.await) } {
            Ok(Ok(())) => ExitCode::SUCCESS,
            Ok(Err(error)) => output.failure(&error, storage.backend()),
            Err(signals::Interrupted(code)) => ExitCode::from(code),
        }
    });
    // A thread that waits for standard input must not hold the process.
    runtime.shutdown_background();
    code
}

/// One thread carries the requests; compression and files have threads of their own, of which one is started
/// here: tokio panics where a command needs its first and none is to be had. With one, the others wait for
/// their turn.
fn runtime() -> anyhow::Result<Runtime> {
    let mut runtime = Builder::new_current_thread();
    let runtime = runtime.enable_all().thread_keep_alive(LONG).build().context("the runtime cannot start")?;
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let started = panic::catch_unwind(AssertUnwindSafe(|| runtime.spawn_blocking(|| ())));
    panic::set_hook(hook);
    if started.is_err() {
        runtime.shutdown_background();
        anyhow::bail!(
            "no thread can be started; raise the limit of processes (`ulimit -u`, a container's pids)"
        );
    }
    Ok(runtime)
}

fn has_colors() -> bool {
    let variable = std::env::var_os;
    let is_unwanted = variable("NO_COLOR").is_some_and(|set| !set.is_empty());
    stderr().is_terminal() && !is_unwanted && variable("TERM").is_none_or(|term| term != "dumb")
}

/// Messages go to standard error. Only persist's own, at any level: libraries beneath it log tokens.
fn log(verbose: u8) {
    // Operations that failed are logged by the layer that observes them, and told by the command anyway.
    let (level, operations, keys) = match verbose {
        // A warning that names nothing is of no use to who typed the command, and sees keys in rows and errors.
        0 => (LevelFilter::WARN, LevelFilter::OFF, LevelFilter::DEBUG),
        // Reads are of level debug.
        1 => (LevelFilter::INFO, LevelFilter::DEBUG, LevelFilter::OFF),
        _ => (LevelFilter::DEBUG, LevelFilter::DEBUG, LevelFilter::DEBUG),
    };
    let shown = Targets::new()
        .with_target("persist", level)
        .with_target("persist::layers::observe", operations)
        // What they warn of is the command's own error.
        .with_target("persist::sessions", operations)
        .with_target("persist::sessions::copied", level)
        .with_target("persist::keys", keys);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(stderr)
        .with_ansi(has_colors())
        .with_target(false)
        .log_internal_errors(false);
    tracing_subscriber::registry().with(lines.with_filter(shown)).init();
}
