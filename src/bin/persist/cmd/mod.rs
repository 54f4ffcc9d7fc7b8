//! One file a command.

mod completions;
mod cp;
mod doctor;
mod env;
mod load;
mod ls;
mod rm;
mod save;
pub(crate) mod session;
mod stat;
pub(crate) mod uploads;
mod verify;

use anyhow::Result;

use crate::{args::Command, output::Output, storage::Storage};

/// Snapshots or sessions under way at once.
pub(crate) const PARALLEL: usize = 8;

pub(crate) async fn run(command: Command, storage: &Storage, output: &Output) -> Result<()> {
    storage.check_no_storage_beside_urls(&command.names())?;
    match command {
        Command::Save(args) => save::run(args, storage, output).await,
        Command::Load(args) => load::run(args, storage, output).await,
        Command::Ls(args) => ls::run(args, storage, output).await,
        Command::Stat { key } => stat::run(&key, storage, output).await,
        Command::Rm(args) => rm::run(args, storage, output).await,
        Command::Cp(args) => cp::run(args, storage, output).await,
        Command::Verify(args) => verify::run(args, storage, output).await,
        Command::Session(command) => session::run(command, storage, output).await,
        Command::Doctor(args) => doctor::run(args, storage, output).await,
        Command::Env => env::run(storage, output).await,
        Command::Completions { shell } => completions::run(shell),
    }
}
