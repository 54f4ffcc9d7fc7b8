//! A program that is deployed by its environment: nothing in it names a storage.
//!
//! ```sh
//! cargo run --example env_deploy                                             # the platform's data directory
//! PERSIST_STORAGE_URL=/tmp/states cargo run --example env_deploy
//! PERSIST_STORAGE_URL='s3://bucket/agents?region=eu-west-1' PERSIST_NAMESPACE=team-a \
//!     cargo run --features s3 --example env_deploy
//! PERSIST_BUKCET=x cargo run --example env_deploy                            # says what is wrong, and what was meant
//! ```

use std::{error::Error, io::Write, process::ExitCode};

use persist::{Optional, SnapshotAdapterExt, StorageConfig};

const KEY: &str = "env-deploy/counter.json.gz";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("error: {error}"));
            let mut cause = error.source();
            while let Some(error) = cause {
                complain(format_args!("  because: {error}"));
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

async fn run() -> persist::Result<()> {
    // Variables and the user's file; what is wrong with either is said here, before anything is touched.
    let config = StorageConfig::from_env()?;
    let store = config.open().await?;
    let runs: u64 = store.load_json(KEY).await.optional()?.unwrap_or(0) + 1;
    store.save_json(&runs, KEY).await?;
    say(format_args!("run {runs}, counted in {store}"));
    Ok(())
}

/// What is said to nobody, as behind `| head -1`, is no failure: `println!` would panic.
fn say(what: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{what}");
}

/// The same of what is wrong.
fn complain(what: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{what}");
}
