//! `persist session log`, `show`, `tag`, `diff`, `prune` and `verify`

use anyhow::Result;
use futures_util::StreamExt;
use persist::{
    Error, ErrorKind,
    sessions::{At, Change, Retention, Session},
};
use serde_json::json;

use super::args::{Diff, Log, Pick, Prune, Tag};
use crate::output::{Output, cell, human, time};

pub(super) async fn log(session: Session, args: Log, output: &Output) -> Result<()> {
    let mut rows = session.log().take(args.limit.unwrap_or(usize::MAX));
    let (mut first, mut damaged) = (true, None);
    while let Some(row) = rows.next().await {
        match row {
            Ok(commit) => output.row(|| super::row(&commit), || super::line(&commit))?,
            // The others are of use, and the exit code still tells.
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                eprintln!("persist: {error}");
                damaged = Some(error);
            }
            Err(error) => return Err(error.into()),
        }
        first = false;
    }
    if first {
        session.show(At::Latest).await?; // says that there is no commit
    }
    damaged.map_or(Ok(()), |error| Err(error.into()))
}

pub(super) async fn show(session: Session, args: Pick, output: &Output) -> Result<()> {
    let commit = session.show(args.at).await?;
    let bytes = |size: u64| format!("{} ({size} bytes)", human(size));
    let text = || {
        let mut lines = Vec::new();
        let mut add = |name: &str, value: Option<String>| {
            lines.extend(value.map(|value| format!("{name:<13} {value}")));
        };
        add("commit", Some(format!("{} of {}/{}", commit.seq, commit.agent, commit.session)));
        add("id", Some(commit.id.to_string()));
        add("parent", commit.parent.map(|id| id.to_string()));
        add("time", Some(time(commit.time())));
        add("writer", commit.writer.clone());
        add("epoch", (commit.epoch > 0).then(|| commit.epoch.to_string()));
        add("label", commit.label.clone());
        add("step", commit.step.map(|step| step.to_string()));
        commit.pairs.iter().for_each(|(name, value)| add("metadata", Some(format!("{name}={value}"))));
        add("size", Some(bytes(commit.size)));
        commit.values.iter().for_each(|(name, size)| add("value", Some(format!("{name}  {}", bytes(*size)))));
        add("stored size", Some(bytes(commit.stored)));
        let stored_as =
            if commit.keyframe { "the whole state, in a file that gunzip reads" } else { "a delta" };
        add("stored as", Some(stored_as.into()));
        add("digest", Some(format!("sha256:{}", commit.digest)));
        lines.join("\n")
    };
    output.row(|| super::row(&commit), text)
}

pub(super) async fn tag(session: Session, args: Tag, output: &Output) -> Result<()> {
    let Some(name) = args.tag else {
        let tags = session.tags().await?;
        if tags.is_empty() {
            session.show(At::Latest).await?; // says where there is no such session
        }
        for tag in tags {
            output.row(|| json!(tag), || format!("{:>8}  {}  {}", tag.seq, tag.id, cell(&tag.name)))?;
        }
        return Ok(());
    };
    if args.delete {
        return Ok(session.untag(&name).await?);
    }
    let tag = session.tag(&name, args.at).await?;
    output.note(|| format!("commit {} is {name}", tag.seq));
    if output.json { output.row(|| json!(tag), String::new) } else { Ok(()) }
}

pub(super) async fn diff(session: Session, args: Diff, output: &Output) -> Result<()> {
    for change in session.diff(args.from, args.to).await? {
        let text = || match &change {
            Change::Add { path, value } => format!("+ {path}\t{value}"),
            Change::Remove { path, old } => format!("- {path}\t{old}"),
            Change::Replace { path, old, value } => format!("~ {path}\t{old} -> {value}"),
        };
        output.row(|| json!(change), text)?;
    }
    Ok(())
}

pub(super) async fn prune(session: Session, args: Prune, output: &Output) -> Result<()> {
    let mut keep = Retention::new()
        .last(args.keep_last.unwrap_or(0))
        .hourly(args.keep_hourly.unwrap_or(0))
        .daily(args.keep_daily.unwrap_or(0))
        .weekly(args.keep_weekly.unwrap_or(0));
    if let Some(age) = args.keep_within {
        keep = keep.within(age);
    }
    if keep == Retention::new() {
        let message = "no rule says what to keep; give --keep-last, --keep-within, --keep-hourly, --keep-daily or --keep-weekly";
        return Err(Error::new(ErrorKind::InvalidInput, message).into());
    }
    let pruned = match args.dry_run {
        true => session.prune_dry_run(keep).await?,
        false => session.prune(keep).await?,
    };
    let text = || {
        let verb = if pruned.dry_run { "would remove" } else { "removed" };
        let (gone, bytes) = (pruned.removed.len(), human(pruned.bytes));
        let why = if gone == 0 { " (those of the last hour always do)" } else { "" };
        format!(
            "{verb} {gone} commits and {} other objects, {bytes}; {} commits stay{why}",
            pruned.garbage, pruned.kept
        )
    };
    output.row(|| json!(pruned), text)
}

pub(super) async fn verify(session: Session, output: &Output) -> Result<()> {
    let verified = session.verify().await?;
    let text = || {
        let mut lines: Vec<String> =
            verified.damaged.iter().map(|damaged| format!("damaged: {}", damaged.reason)).collect();
        let (good, bytes) = (verified.good, human(verified.bytes));
        lines.push(format!("good: {good} commits, {bytes} of states; damaged: {}", verified.damaged.len()));
        lines.join("\n")
    };
    output.row(|| json!(verified), text)?;
    if verified.is_good() {
        return Ok(());
    }
    let message =
        "the session has damage; load with --fallback, or restore the objects that are named from a copy";
    Err(Error::new(ErrorKind::Corrupt, message).into())
}
