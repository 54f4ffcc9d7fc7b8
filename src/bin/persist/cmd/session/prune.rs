//! `persist session prune`

use anyhow::Result;
use futures_util::{FutureExt, TryStreamExt};
use persist::{
    Error, ErrorKind, SnapshotAdapter,
    sessions::{KeptBy, Pruned, Retention, Session, Sessions},
};
use serde_json::json;

use super::{
    all::{Named, Rows, no_session},
    args::Prune,
};
use crate::output::{Output, count, human};

pub(super) async fn run(
    store: &dyn SnapshotAdapter,
    sessions: &Sessions,
    args: Prune,
    output: &Output,
) -> Result<()> {
    let keep = retention(&args)?;
    let dry_run = args.dry_run;
    let prune = move |session: Session| {
        let pruned = async move {
            if dry_run { session.prune_dry_run(keep).await } else { session.prune(keep).await }
        };
        pruned.boxed()
    };
    if let Some(name) = args.one.name() {
        let pruned = prune(sessions.session(name.agent, name.session)?).await?;
        return output.row(|| json!(pruned), || summary(&pruned));
    }
    let mut rows = Rows::new(output);
    let mut pruned = sessions.each(args.of_agent.as_deref(), move |_, session| prune(session));
    while let Some((name, pruned)) = pruned.try_next().await? {
        match pruned {
            // A fork without a save: all that it has is a place in another session.
            Ok(Pruned { kept: 0, garbage: 0, removed, .. }) if removed.is_empty() => {
                let why = Error::new(ErrorKind::NotFound, "it has no commit of its own");
                rows.pass_over(Named::of(&name), &why)?
            }
            Ok(pruned) => rows.good(Named::of(&name), json!(pruned), &summary(&pruned))?,
            Err(error) if error.kind() == ErrorKind::NotFound => rows.pass_over(Named::of(&name), &error)?,
            Err(error) => rows.bad(Named::of(&name), &error)?,
        }
    }
    rows.end("pruned", "session", || no_session(store, args.of_agent.as_deref()))
}

fn retention(args: &Prune) -> persist::Result<Retention> {
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
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    Ok(keep)
}

fn summary(pruned: &Pruned) -> String {
    let verb = if pruned.dry_run { "would remove" } else { "removed" };
    let (gone, bytes) = (count(pruned.removed.len() as u64, "commit"), human(pruned.bytes));
    let others = count(pruned.garbage, "other object");
    let (left, stay) = (count(pruned.kept, "commit"), if pruned.kept == 1 { "stays" } else { "stay" });
    let KeptBy { rules, named, young, needed, .. } = pruned.kept_by;
    let reasons = [
        (rules, "by the rules"),
        (named, "tagged or forked"),
        (young, "younger than the fence window"),
        (needed, "that these are made of"),
    ];
    let why = reasons.iter().filter(|(count, _)| *count > 0).map(|(count, why)| format!("{count} {why}"));
    let why = why.collect::<Vec<_>>().join(", ");
    let colon = if why.is_empty() { "" } else { ": " };
    format!("{verb} {gone} and {others}, {bytes}; {left} {stay}{colon}{why}")
}
