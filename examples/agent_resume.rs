//! An agent that is killed without warning, goes on where it was, and is forked.
//!
//! `cargo run --example agent_resume`

use std::{
    ffi::OsStr,
    io::{self, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use futures_util::TryStreamExt;
use persist::{
    adapters::local::LocalAdapter,
    sessions::{At, Checkpoints, Commit, Session, Sessions},
};
use serde::{Deserialize, Serialize};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Names the folder of the agent, in the process that is one.
const AGENT: &str = "AGENT_RESUME_FOLDER";

/// The agent's memory: it grows with every step.
#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    step: u64,
    tokens: u64,
    messages: Vec<Message>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Message {
    role: String,
    content: String,
}

impl State {
    /// A turn of the agent: it thinks of something, the same for the same step.
    fn turn(&mut self) {
        self.step += 1;
        let mut seed = self.step.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let words =
            ["flight", "refund", "agent", "policy", "cabin", "user", "booking", "tool", "because", "date"];
        let content: Vec<String> = (0..60)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                format!("{}{}", words[(seed >> 40) as usize % words.len()], (seed >> 20) % 50)
            })
            .collect();
        self.tokens += content.len() as u64;
        let role = if self.step.is_multiple_of(2) { "assistant" } else { "user" };
        self.messages.push(Message { role: role.into(), content: content.join(" ") });
    }
}

async fn open(folder: &Path, session: &str) -> Result<Session, Failure> {
    let storage = Arc::new(LocalAdapter::open(folder)?);
    Ok(Sessions::new(storage)?
        .writer(format!("process {}", std::process::id()))
        .session("demo-agent", session)?)
}

/// The agent: resume, then a turn and a save, over and over, until it is killed. Where whoever started it is
/// gone, it ends by itself.
async fn agent(folder: &Path) -> Result<(), Failure> {
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    let mut checkpoints = Checkpoints::new(open(folder, "main").await?);
    let mut state = match checkpoints.resume().await? {
        Some(restored) => restored.json()?,
        None => State::default(),
    };
    loop {
        state.turn();
        checkpoints.save_now_json(state.step, &state).await?;
    }
}

/// Lets an agent run in a process of its own until there is a commit, and a while longer, and kills it hard.
async fn run_and_kill(folder: &Path, time: Duration) -> Result<(), Failure> {
    let mut child =
        Command::new(std::env::current_exe()?).env(AGENT, folder).stdin(Stdio::piped()).spawn()?;
    let session = open(folder, "main").await?;
    while session.log().try_next().await?.is_none() && child.try_wait()?.is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(time).await;
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// Bytes of all files.
fn size_of(folder: &Path) -> Result<u64, Failure> {
    let mut total = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        total += if meta.is_dir() { size_of(&entry.path())? } else { meta.len() };
    }
    Ok(total)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    if let Some(folder) = std::env::var_os(AGENT) {
        return agent(Path::new(&folder)).await;
    }
    if let Some(argument) = std::env::args_os().nth(1).as_deref().map(OsStr::display) {
        return Err(format!("this example takes no arguments, and {argument} is one").into());
    }
    let folder = tempfile::tempdir()?;
    for run in 1..=3 {
        run_and_kill(folder.path(), Duration::from_millis(500)).await?;
        let started = Instant::now();
        let restored = open(folder.path(), "main").await?.load(At::Latest).await?;
        let state: State = restored.json()?;
        say(format_args!(
            "run {run}: killed in step {}; commit {} came back whole, {} messages, in {:.1?}",
            state.step + 1,
            restored.commit.seq,
            state.messages.len(),
            started.elapsed()
        ));
    }
    let session = open(folder.path(), "main").await?;
    let log: Vec<Commit> = session.log().try_collect().await?;
    let raw: u64 = log.iter().map(|commit| commit.size).sum();
    let stored = size_of(folder.path())?;
    say(format_args!(
        "{} commits: {raw} bytes of states in {stored} bytes of files, 1/{}",
        log.len(),
        raw / stored.max(1)
    ));

    // What if it had gone another way from the middle on?
    let middle = log[log.len() / 2].seq;
    let fork = session.fork("what-if", middle).await?;
    let mut state: State = fork.load(At::Latest).await?.json()?;
    state.turn();
    fork.save_json(&state).await?;
    say(format_args!(
        "forked at commit {middle} into {:?}: {} more bytes; both go on by themselves",
        fork.name(),
        size_of(folder.path())? - stored
    ));
    for change in fork.diff(middle, At::Latest).await?.iter().take(3) {
        let text = serde_json::to_string(change)?;
        say(format_args!("  {}", text.chars().take(110).collect::<String>()));
    }

    // Two writers of one session: the slower one is told.
    let (one, two) = (open(folder.path(), "main").await?, open(folder.path(), "main").await?);
    one.load(At::Latest).await?;
    two.load(At::Latest).await?;
    one.save("{}").await?;
    match two.save("{}").await {
        Err(error) => say(format_args!("a second writer: {error}")),
        Ok(_) => return Err("two writers won".into()),
    }
    let verified = session.verify().await?;
    say(format_args!("verified: {} commits good, {} damaged", verified.good, verified.damaged.len()));
    Ok(())
}

/// What is said to nobody, as behind `| head -1`, is no failure: `println!` would panic.
fn say(what: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{what}");
}
