//! An agent that goes on where it stopped: `cargo run --example quickstart`, stopped with Ctrl-C or
//! `kill -9`, and run again.
//!
//! It takes ten steps a run. `gunzip -c target/quickstart/agents/demo/state.json.gz` shows what it saved.

use std::io::Write;

use persist::{Optional, SnapshotAdapterExt, StorageConfig};
use serde::{Deserialize, Serialize};

const KEY: &str = "agents/demo/state.json.gz";

/// What the agent must not lose.
#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    step: u64,
    messages: Vec<String>,
}

#[tokio::main]
async fn main() -> persist::Result<()> {
    let store = StorageConfig::local("target/quickstart").open().await?;

    let mut state: State = store.load_json(KEY).await.optional()?.unwrap_or_default();
    say(format_args!("resumed at step {}", state.step));

    for _ in 0..10 {
        state.step += 1;
        state.messages.push(format!("what the agent said in step {}", state.step));
        // When this returns, the step survives a crash of the process and of the machine.
        let saved = store.save_json(&state, KEY).await?;
        say(format_args!("step {}: {} bytes saved as {}", state.step, saved.size, saved.meta.size));
    }
    Ok(())
}

/// An agent goes on where nobody reads what it says: `println!` would end it.
fn say(what: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{what}");
}
