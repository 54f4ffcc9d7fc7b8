//! An agent that saves its state at every step, is killed hard, and goes on from its last save.
//!
//! `cargo run --example quickstart` — needs nothing but this crate and a temporary folder.

use std::{
    error::Error,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use persist::{ErrorKind, SnapshotAdapterExt, StorageBackend, StorageConfig};
use serde::{Deserialize, Serialize};

const KEY: &str = "agents/demo/state.json.gz";
const STEPS: u64 = 60;

/// What the agent must not lose.
#[derive(Default, Serialize, Deserialize)]
struct State {
    step: u64,
    messages: Vec<Message>,
}

#[derive(Serialize, Deserialize)]
struct Message {
    role: String,
    content: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args_os().nth(1) {
        Some(folder) => agent(folder.into()).await,
        None => scene().await,
    }
}

/// The agent: resume, work, save, again and again.
async fn agent(folder: PathBuf) -> Result<(), Box<dyn Error>> {
    let config =
        StorageConfig { backend: StorageBackend::Local, local_base_path: Some(folder), ..Default::default() };
    let store = config.open().await?;

    let started = Instant::now();
    let mut state = match store.load_json::<State>(KEY).await {
        Ok(state) => state,
        Err(error) if error.kind() == ErrorKind::NotFound => State::default(),
        Err(error) => return Err(error.into()),
    };
    println!("resumed at step {} in {:.1} ms", state.step, millis(started));

    while state.step < STEPS {
        state.step += 1;
        state.messages.push(think(state.step));
        let started = Instant::now();
        let saved = store.save_json(&state, KEY).await?;
        println!(
            "step {:>2}: {:>6} bytes of state in {:>5} bytes, saved in {:.1} ms",
            state.step,
            saved.size,
            saved.meta.size,
            millis(started)
        );
    }
    Ok(())
}

/// The scene around it: start the agent, kill it in the middle of a step, start it again, check the end.
async fn scene() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let mut acknowledged = 0;
    for kill_after in [Some(23), Some(41), None] {
        let mut child = start(folder.path())?;
        let lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        for line in lines {
            let line = line?;
            println!("  {line}");
            let Some(step) = line.strip_prefix("step ").and_then(|rest| rest.split(':').next()) else {
                let resumed: u64 = line.split(' ').nth(3).ok_or("no step")?.parse()?;
                assert!(resumed >= acknowledged, "step {acknowledged} was acknowledged and is lost");
                continue;
            };
            acknowledged = step.trim().parse()?;
            if Some(acknowledged) == kill_after {
                child.kill()?; // SIGKILL: no destructor runs, nothing is flushed
                println!("  ... killed hard after step {acknowledged}\n");
                break;
            }
        }
        child.wait()?;
    }

    let path = folder.path().join(KEY);
    let store = StorageConfig::local(folder.path()).open().await?;
    let state: State = store.load_json(KEY).await?;
    assert_eq!(state.step, STEPS);
    assert!(state.messages.iter().zip(1..).all(|(message, step)| message.content == think(step).content));
    println!(
        "\nAll {STEPS} steps are there, none twice. The file is an ordinary .gz of {} bytes:",
        path.metadata()?.len()
    );
    println!("  gunzip -c {KEY} | head -c 80");
    println!("  {}…", String::from_utf8_lossy(&store.load(KEY).await?[..78]));
    Ok(())
}

fn start(folder: &Path) -> Result<Child, Box<dyn Error>> {
    Ok(Command::new(std::env::current_exe()?).arg(folder).stdout(Stdio::piped()).spawn()?)
}

/// What an agent says at a step: deterministic, so that the end can be checked.
fn think(step: u64) -> Message {
    const WORDS: [&str; 12] = [
        "search", "the", "customer", "order", "refund", "policy", "shows", "that", "we", "can", "book",
        "tomorrow",
    ];
    let (mut seed, mut content) = (step.wrapping_mul(0x9e37_79b9_7f4a_7c15), format!("step {step}:"));
    for _ in 0..60 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        content.push(' ');
        content.push_str(WORDS[(seed >> 33) as usize % WORDS.len()]);
    }
    Message { role: if step.is_multiple_of(2) { "assistant" } else { "tool" }.into(), content }
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
