//! `persist session`: history of an agent's session. One file a command, but for those of a few lines.

pub(crate) mod all;
mod archive;
mod archives;
pub(crate) mod args;
pub(crate) mod history;
mod load;
mod prune;
mod save;

use anyhow::Result;
use futures_util::TryStreamExt;
use persist::{
    Error, ErrorKind,
    sessions::{At, Commit, Session, SessionName, Sessions},
};
use serde_json::{Map, Value, json};

use crate::{
    output::{self, Output, cell, complain, count, human, in_our_words},
    progress::Progress,
    storage::Storage,
};
use args::{Command, Name};

pub(crate) async fn run(command: Command, storage: &Storage, output: &Output) -> Result<()> {
    // The others know how much is to come, and show that.
    let progress = (!command.has_bar()).then(|| Progress::new(output.interactive()));
    let store = storage.open().await?;
    let store = progress.as_ref().map_or(store.clone(), |progress| progress.counting(store));
    let sessions = Sessions::new(store.clone())?.writer(writer());
    let open = |name: &Name| sessions.session(&name.agent, &name.session);
    match command {
        Command::Save(args) => {
            let Name { agent, session } = &args.name;
            save::run(|| sessions.session(agent, session), &args, output).await
        }
        Command::Load(args) => load::run(open(&args.pick.name)?, args, output).await,
        Command::Show(args) => history::show(open(&args.name)?, args, output).await,
        Command::Log(args) => history::log(open(&args.name)?, args, output).await,
        Command::Diff(args) => {
            let with = args.with.as_ref().map(|with| sessions.session(&args.name.agent, with)).transpose()?;
            history::diff(open(&args.name)?, with, args, output).await
        }
        Command::Tag(args) => history::tag(open(&args.name)?, args, output).await,
        Command::Fork(args) => {
            let fork = open(&args.name)?.fork(&args.fork, args.at).await?;
            let row = json!({"agent": fork.agent(), "session": fork.name()});
            output.note(|| format!("forked {}/{}", fork.agent(), fork.name()));
            if output.json { output.row(|| row, String::new) } else { Ok(()) }
        }
        Command::Forks(name) => history::forks(open(&name)?, output).await,
        Command::TakeOver(name) => {
            let commit = open(&name)?.take_over().await?.commit;
            let Commit { agent, session, epoch, seq, .. } = &commit;
            output.note(|| format!("{agent}/{session} begins epoch {epoch}, with commit {seq}"));
            if output.json { output.row(|| json!(commit), String::new) } else { Ok(()) }
        }
        Command::Prune(args) => prune::run(store.as_ref(), &sessions, args, output).await,
        Command::Rm { name, dry_run } => history::remove(open(&name)?, dry_run, output).await,
        Command::Verify(name) => history::verify(open(&name)?, output).await,
        Command::Export(args) => match (args.one.name(), &args.all) {
            (Some(name), _) => archive::export(open(&name)?, args, output).await,
            (None, dir) => {
                let dir = dir.clone().unwrap_or_default();
                let agent = args.of_agent.as_deref();
                archives::export(store.as_ref(), &sessions, &dir, agent, output).await
            }
        },
        Command::Import(args) => match (args.one.name(), &args.all) {
            (Some(name), _) => archive::import(&sessions, open(&name)?, args, output).await,
            (None, dir) => {
                let agent = args.of_agent.as_deref();
                let dir = dir.clone().unwrap_or_default();
                archives::import(&sessions, &dir, agent, args.dry_run, output).await
            }
        },
        Command::Ls { agent, long } => ls(&sessions, agent.as_deref(), long, output).await,
    }
}

/// What is to be done about sessions that lie where no command looks for them.
const MENDED: &str = "no other command takes the ids of such a session; copy the storage by `persist cp --recursive` in place of that tool, or bring what is here to another storage by `persist session export --all` and `import --all`";

/// Why a session cannot be loaded by its ids, if that is so.
pub(crate) fn elsewhere(name: &SessionName) -> Option<Error> {
    let message =
        format!("its objects lie in {}, a folder that another tool named; {MENDED}", name.lies_elsewhere()?);
    Some(Error::new(ErrorKind::InvalidInput, message))
}

async fn ls(sessions: &Sessions, agent: Option<&str>, long: bool, output: &Output) -> Result<()> {
    let rows = sessions.list(agent).map_ok(|name| async move {
        let newest = if long { Some(newest(sessions, &name).await?) } else { None };
        Ok((name, newest))
    });
    let (mut rows, mut none, mut elsewhere) = (rows.try_buffered(16), true, Vec::new());
    while let Some((name, newest)) = rows.try_next().await? {
        none = false;
        let folder = name.lies_elsewhere();
        let (more, told) = newest.unwrap_or_default();
        let row = || {
            let mut row = json!(name);
            if let Some(row) = row.as_object_mut() {
                row.extend(more);
                row.extend(folder.iter().map(|folder| ("folder".into(), json!(folder))));
            }
            row
        };
        output.row(row, || format!("{told}{}\t{}", cell(&name.agent), cell(&name.session)))?;
        elsewhere.extend(folder);
    }
    if let Some(first) = elsewhere.first() {
        let all = count(elsewhere.len() as u64, "session");
        complain(&format!(
            "persist: {all} of these in a folder that another tool named, such as {first}: {MENDED}"
        ));
    }
    if none {
        output.note(|| {
            format!("there is no session{}", agent.map_or(String::new(), |agent| format!(" of {agent}")))
        });
    }
    Ok(())
}

/// What `ls --long` tells besides, as JSON and in front of the line: the newest commit, or why there is none.
async fn newest(sessions: &Sessions, name: &SessionName) -> persist::Result<(Map<String, Value>, String)> {
    let session = sessions.named(name);
    let mut row = Map::new();
    let word = match session.show(At::Latest).await {
        Ok(commit) => {
            row.insert("seq".into(), json!(commit.seq));
            row.insert("time".into(), json!(commit)["time"].take());
            row.insert("size".into(), json!(commit.size));
            row.insert("removed".into(), json!(false));
            let told =
                format!("{:>8}  {}  {:>9}  ", commit.seq, output::time(commit.time), human(commit.size));
            return Ok((row, told));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // The end of a removed session has a number, which a handle goes on from.
            session.rebase().await?;
            let removed = session.seen().await.is_some_and(|seq| seq > 0);
            row.insert("removed".into(), json!(removed));
            if removed { "removed" } else { "no commit" }
        }
        Err(error) => {
            let word = match error.kind() {
                ErrorKind::Conflict => "being imported",
                ErrorKind::Corrupt => "damaged",
                // Of a newer release, or beyond a limit: the others are of use.
                ErrorKind::Unsupported | ErrorKind::InvalidInput => "cannot be read",
                _ => return Err(error),
            };
            row.insert("removed".into(), json!(false));
            row.insert("reason".into(), json!(in_our_words(error.message())));
            word
        }
    };
    Ok((row, format!("{:>8}  {word:<24}  {:>9}  ", "-", "-")))
}

/// Who writes, for whoever meets a conflict.
fn writer() -> String {
    let file = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = std::env::var("HOSTNAME").ok().or_else(file).unwrap_or_default();
    let host = if host.trim().is_empty() { "host" } else { host.trim() };
    format!("{host}/{}", std::process::id())
}

/// A commit as a line.
fn line(commit: &Commit) -> String {
    let step = commit.step.map(|step| format!("step {step}")).unwrap_or_default();
    let label = cell(commit.label.as_deref().unwrap_or_default());
    let words = [step.as_str(), &label];
    let words = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("  ");
    let (size, stored) = (human(commit.size), human(commit.stored_size));
    format!(
        "{:>8}  {}  {}  {size:>9}  {stored:>9}  {words}",
        commit.seq,
        commit.id,
        output::time(commit.time)
    )
    .trim_end()
    .to_owned()
}

/// What a person wants to know after a save.
fn summary(session: &Session, commit: &Commit) -> String {
    let (size, stored) = (human(commit.size), human(commit.stored_size));
    format!("{}/{} commit {}: {size}, stored as {stored}", session.agent(), session.name(), commit.seq)
}
