//! `persist session load`

use std::{io::Write, path::Path};

use anyhow::{Context, Result};
use persist::{
    Body, Error, ErrorKind, FileTarget,
    sessions::{Commit, Damaged, Restored, Session},
};
use serde_json::{Value, json};

use super::args::Load;
use crate::{
    output::{self, Output, is_on_screen},
    progress::Progress,
};

pub(super) async fn run(session: Session, args: Load, output: &Output) -> Result<()> {
    if args.value.is_none() {
        match streamed(&session, &args, output).await {
            // Only behind damage is a whole state held in memory.
            Err(error) if args.fallback && is_damage(&error) => {}
            Err(error) => return Err(error),
            Ok(printed) => return printed,
        }
    }
    let restored = if args.fallback {
        session.load_with_fallback(&args.pick.at).await.map_err(none_good)?
    } else {
        session.load(&args.pick.at).await?
    };
    passed_over(&restored);
    let state = match &args.value {
        None => {
            one_state(&restored.commit)?;
            restored.state.clone()
        }
        Some(name) => restored.value(name).ok_or_else(|| missing(name, &restored.commit))?,
    };
    write(Body::from(state), &restored.commit, &restored.skipped, &args, output).await
}

/// The state passes through. An error in place of an outcome comes before anything is printed.
async fn streamed(session: &Session, args: &Load, output: &Output) -> Result<Result<()>> {
    let (mut commit, mut body) = session.load_stream(&args.pick.at).await?;
    one_state(&commit)?;
    // What is in memory was counted when it was read.
    let progress = (!is_on_screen(args.output.as_deref())).then(|| Progress::new(output.interactive()));
    let watch = |body: Body| match &progress {
        Some(progress) => {
            progress.expect(body.len());
            progress.watch(body)
        }
        None => body,
    };
    // What was printed cannot be taken back: a long state is read twice, and is good before it is printed.
    if args.fallback && to_file(args).is_none() && body.in_memory().is_none() {
        drain(watch(body)).await?;
        let again = session.load_stream(commit.seq).await;
        (commit, body) = again.map_err(|error| match error.kind() {
            // It must not read as "no session yet".
            ErrorKind::NotFound => {
                let message = "a prune removed the commit while it was read; load again";
                Error::new(ErrorKind::Conflict, message).with_operation("load").with_retryable(true)
            }
            _ => error,
        })?;
    }
    let written = write(watch(body), &commit, &[], args, output).await;
    if to_file(args).is_some() { written.map(Ok) } else { Ok(written) }
}

async fn write(body: Body, commit: &Commit, skipped: &[Damaged], args: &Load, output: &Output) -> Result<()> {
    match to_file(args) {
        Some(path) => {
            replace(body, path).await?;
            output.note(|| format!("loaded commit {} into {}", commit.seq, path.display()));
            if output.json {
                return output.row(|| row(commit, args.fallback.then_some(skipped)), String::new);
            }
            Ok(())
        }
        None => {
            let mut out = output::bulk().context("standard output cannot be used")?;
            copy(body, &mut out, "the output").await
        }
    }
}

fn to_file(args: &Load) -> Option<&Path> {
    args.output.as_deref().filter(|path| path.as_os_str() != "-")
}

/// Reads to the end, which says whether the state is good.
pub(super) async fn drain(mut body: Body) -> persist::Result<()> {
    while body.chunk().await?.is_some() {}
    Ok(())
}

fn is_damage(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Error>().is_some_and(|error| error.kind() == ErrorKind::Corrupt)
}

/// Says what is damaged and newer than what was loaded.
pub(super) fn passed_over(restored: &Restored) {
    for skipped in &restored.skipped {
        output::complain(&format!("persist: passed over: {skipped}"));
    }
}

/// A commit; where damage may be passed over, with what was.
pub(super) fn row(commit: &Commit, skipped: Option<&[Damaged]>) -> Value {
    let mut row = json!(commit);
    if let Some(skipped) = skipped {
        row["skipped"] = json!(skipped);
    }
    row
}

/// What an error about damage advises, to load with fallback, was just done.
fn none_good(error: Error) -> Error {
    if error.kind() != ErrorKind::Corrupt {
        return error;
    }
    let what = error.what();
    let told = Error::new(error.kind(), format!("no commit is good: {what}; restore the object from a copy"));
    match error.key() {
        Some(key) => told.with_key(key),
        None => told,
    }
}

/// The file is replaced only after every byte was checked.
async fn replace(body: Body, path: &Path) -> Result<()> {
    let target = FileTarget::new(path.to_owned()).await?;
    copy(body, &mut target.open()?, &format!("the file {}", path.display())).await?;
    Ok(target.finish().await?)
}

async fn copy(mut body: Body, out: &mut impl Write, name: &str) -> Result<()> {
    while let Some(chunk) = body.chunk().await? {
        out.write_all(&chunk).with_context(|| format!("{name} cannot be written"))?;
    }
    Ok(())
}

/// Several values, one behind the other, are nothing that anybody saved.
fn one_state(commit: &Commit) -> persist::Result<()> {
    if commit.values.len() < 2 {
        return Ok(());
    }
    let (seq, names) = (commit.seq, names(commit));
    let message = format!("commit {seq} has several values; name one with --value: {names}");
    Err(Error::new(ErrorKind::InvalidInput, message).with_operation("load"))
}

fn missing(name: &str, commit: &Commit) -> Error {
    let message = if commit.values.is_empty() {
        format!("commit {} is one state without names; load it without --value", commit.seq)
    } else {
        format!("commit {} has no value {name:?}; it has {}", commit.seq, names(commit))
    };
    Error::new(ErrorKind::NotFound, message)
}

fn names(commit: &Commit) -> String {
    commit.values.iter().map(|value| value.name.as_str()).collect::<Vec<_>>().join(", ")
}
