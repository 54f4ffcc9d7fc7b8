//! What a copy of folders may do to a session that is already at its destination.
//!
//! Commits are written once. Of two histories under one name a copy would make a third that nobody saved, so
//! it looks at the newest number that both sides have: where that commit is the same, byte for byte, so is
//! all before it. That two sides parted shows only while prunes leave a number behind that point on both.

use std::{cmp::Ordering, collections::BTreeMap};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt, future::ready};
use persist::{
    Body, ErrorKind, GetOptions, Key, ListOptions, SnapshotAdapter,
    sessions::{PartKind, is_marker},
};

use super::renamed;
use crate::{cmd::PARALLEL, place::Part, storage::Folder};

/// A marker has notes, and no state.
const LARGEST_MARKER: u64 = 1 << 20;

/// How the session at the destination stands to that of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The source goes on from it.
    Behind,
    /// Both have the same newest commit.
    Even,
    /// It goes on from the source: the copy adds what it lacks, and its tags and its `line` stay.
    Ahead,
    /// The same where it ends with a removal, which the source does not have: what the copy adds cannot be
    /// loaded.
    Ended,
    /// Both end with a removal, each with its own: there is nothing to copy.
    Gone,
    /// Another history, or nobody can tell: the copy leaves it alone.
    Other,
    /// It has states, and the source only says that it was removed: the copy leaves it alone, unless it is to
    /// take removals along.
    Removed,
}

/// Which part of a session a copy is, or is made of: a backup's folder may have any name.
pub(super) fn part(key: &Key, name: &Key, from: &Folder, to: &Folder) -> Option<Part> {
    to.root.part_of(name).or_else(|| from.root.part_of(key))
}

/// The sessions of which the source has any part and the destination a commit, by their folders: a `line`
/// alone, which a prune leaves of a session without commits, would replace that of a whole session, too.
/// With `removals`, a removal is as any other commit.
pub(super) async fn compared(
    from: &Folder,
    to: &Folder,
    removals: bool,
) -> persist::Result<BTreeMap<String, Standing>> {
    let mut seen = None;
    let rows = from.store.list(ListOptions::new().prefix(&from.prefix));
    let first_of_each = rows.try_filter_map(|entry| {
        let first = entry.into_object().and_then(|meta| {
            let name = renamed(&meta.key, from, to).ok()?;
            let part = part(&meta.key, &name, from, to)?;
            let is_new = seen.as_ref() != Some(&part.folder);
            seen = Some(part.folder.clone());
            // Within the session's folder the whole storage may be of commits.
            let folder = name.as_str().strip_suffix(&part.name);
            let commits = folder.map_or(String::new(), |folder| format!("{folder}c/"));
            is_new.then_some((part.folder, commits))
        });
        ready(Ok(first))
    });
    let compared = first_of_each.map_ok(|(folder, commits)| async move {
        Ok(standing(from, to, &commits, removals).await?.map(|standing| (folder, standing)))
    });
    compared.try_buffered(PARALLEL).try_filter_map(|one| ready(Ok(one))).try_collect().await
}

/// `commits` is what keys of the copies of commits begin with. `None` where the destination has no commit.
async fn standing(
    from: &Folder,
    to: &Folder,
    commits: &str,
    removals: bool,
) -> persist::Result<Option<Standing>> {
    let commits = commits.strip_prefix(&to.prefix).unwrap_or_default();
    // Newest first, which is the order of the names.
    let (mut ours, mut theirs) =
        (Box::pin(names(from, commits, from, to)), Box::pin(names(to, commits, from, to)));
    let (mut one, mut other) = (ours.try_next().await?, theirs.try_next().await?);
    let Some(newest) = other.clone() else { return Ok(None) };
    // What sorts first is newer.
    let standing = match one.as_ref().map_or(Ordering::Greater, |one| one.cmp(&newest)) {
        Ordering::Less => Standing::Behind,
        Ordering::Equal => Standing::Even,
        Ordering::Greater => match &one {
            Some(one) if is_ended(one, &newest, from, to).await? => Standing::Ended,
            _ => Standing::Ahead,
        },
    };
    let mut is_removed = false;
    if let (Standing::Behind, Some(one)) = (standing, &one) {
        let (here, there) = (copied(one, from, to)?, copied(&newest, from, to)?);
        is_removed = match is_removal(from, &here.0, &here.2).await? {
            // Neither has a state.
            Some(true) if is_removal(to, &there.1, &there.2).await? == Some(true) => {
                return Ok(Some(standing));
            }
            Some(ends) => ends,
            // The copy would end there, before all others.
            None => return Ok(Some(Standing::Other)),
        };
    }
    if is_removed && !removals {
        return Ok(Some(Standing::Removed));
    }
    while let (Some(here), Some(there)) = (&one, &other) {
        match here.cmp(there) {
            Ordering::Less => one = ours.try_next().await?,
            Ordering::Greater => other = theirs.try_next().await?,
            Ordering::Equal => {
                let is_newest = *there == newest;
                let (here, there, name) = copied(here, from, to)?;
                if same(from.store.as_ref(), &here, to.store.as_ref(), &there).await? {
                    return Ok(Some(standing));
                }
                // Removed on both sides, and nothing behind that at the destination: what comes behind a
                // removal is made of nothing in front of it.
                let is_end = is_newest
                    && is_removal(from, &here, &name).await? == Some(true)
                    && is_removal(to, &there, &name).await? == Some(true);
                return Ok(Some(match standing {
                    Standing::Behind if is_end => Standing::Behind,
                    Standing::Even if is_end => Standing::Gone,
                    _ => Standing::Other,
                }));
            }
        }
    }
    // Nothing in common: nobody can tell. What ends all that was there goes on from nothing.
    if is_removed {
        return Ok(Some(Standing::Behind));
    }
    // So does what lies behind a removal, all of it: a number in front of that could be the start of a fork.
    if standing == Standing::Behind && other.as_ref() == Some(&newest) {
        let (_, there, name) = copied(&newest, from, to)?;
        if is_removal(to, &there, &name).await? == Some(true) {
            return Ok(Some(Standing::Behind));
        }
    }
    Ok(Some(Standing::Other))
}

/// Whether the destination ends with the removal `newest`, and the source with a state, which is `one`.
async fn is_ended(one: &str, newest: &str, from: &Folder, to: &Folder) -> persist::Result<bool> {
    let (here, there) = (copied(one, from, to)?, copied(newest, from, to)?);
    Ok(is_removal(to, &there.1, &there.2).await? == Some(true)
        && is_removal(from, &here.0, &here.2).await? != Some(true))
}

/// The keys of an object and of its copy, from its name below both folders, and its name in its session.
fn copied(name: &str, from: &Folder, to: &Folder) -> persist::Result<(Key, Key, String)> {
    let key = Key::new(format!("{}{name}", from.prefix))?;
    let copy = Key::new(format!("{}{name}", to.prefix))?;
    let name = part(&key, &copy, from, to).map_or(String::new(), |part| part.name);
    Ok((key, copy, name))
}

/// Whether a commit, called `name` in its session, is the marker that a removal leaves. `None` where it
/// cannot be read.
async fn is_removal(folder: &Folder, key: &Key, name: &str) -> persist::Result<Option<bool>> {
    let read = async {
        let object = folder.store.get(key, GetOptions::new()).await?;
        if object.meta.size > LARGEST_MARKER {
            Ok(None)
        } else {
            object.body.collect(LARGEST_MARKER).await.map(Some)
        }
    };
    let bytes = match read.await {
        Err(error) if stays(error.kind()) => return Ok(None),
        read => read?,
    };
    Ok(Some(bytes.is_some_and(|bytes| is_marker(name, &bytes))))
}

/// The commits on one side, below a folder of its folder, by their names in the latter. What others left
/// between them is none.
fn names<'a>(
    side: &'a Folder,
    below: &str,
    from: &'a Folder,
    to: &'a Folder,
) -> impl Stream<Item = persist::Result<String>> + 'a {
    let rows = side.store.list(ListOptions::new().prefix(format!("{}{below}", side.prefix)));
    rows.try_filter_map(move |entry| {
        let name = entry.into_object().and_then(|meta| {
            let name = meta.key.as_str().strip_prefix(&side.prefix)?;
            let (key, copy, _) = copied(name, from, to).ok()?;
            let part = part(&key, &copy, from, to)?;
            (part.kind == PartKind::Commit).then(|| name.to_owned())
        });
        ready(Ok(name))
    })
}

/// Whether both are there, with the same bytes.
async fn same(
    one: &dyn SnapshotAdapter,
    key: &Key,
    other: &dyn SnapshotAdapter,
    name: &Key,
) -> persist::Result<bool> {
    let read = async {
        let (one, other) =
            tokio::try_join!(one.get(key, GetOptions::new()), other.get(name, GetOptions::new()))?;
        Ok::<bool, persist::Error>(one.meta.size == other.meta.size && equal(one.body, other.body).await?)
    };
    match read.await {
        // One that cannot be read is no reason to leave out all others.
        Err(error) if stays(error.kind()) => Ok(false),
        read => read,
    }
}

/// Whether it is that object which fails, and would again. Without any permission the listing in front has
/// failed.
fn stays(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Corrupt | ErrorKind::NotFound | ErrorKind::Unsupported | ErrorKind::AccessDenied
    )
}

async fn equal(mut one: Body, mut other: Body) -> persist::Result<bool> {
    let (mut left, mut right) = (Bytes::new(), Bytes::new());
    loop {
        let both = left.len().min(right.len());
        if left.split_to(both) != right.split_to(both) {
            return Ok(false);
        }
        let rest = if left.is_empty() { (&mut left, &mut one) } else { (&mut right, &mut other) };
        match rest.1.chunk().await? {
            Some(chunk) => *rest.0 = chunk,
            // Both have the same length.
            None => return Ok(left.is_empty() && right.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use persist::{
        PutOptions, StorageConfig,
        adapters::memory::MemoryAdapter,
        layers::{Fault, Injection, Operation},
        sessions::Sessions,
    };

    use super::*;
    use crate::place::Place;

    /// Another user's file, or another key of KMS: all others are copied.
    #[tokio::test]
    async fn a_commit_that_may_not_be_read_holds_up_nobody_else() -> persist::Result<()> {
        for commits in [1, 2] {
            let (here, there) = (Arc::new(MemoryAdapter::new()), Arc::new(MemoryAdapter::new()));
            let session = Sessions::new(here.clone())?.session("a", "s")?;
            for _ in 0..commits {
                session.save("state").await?;
            }
            let first = Key::new("sessions/a/s/c/999999999/998-1")?;
            let object = here.get(&first, GetOptions::new()).await?;
            there.put(&first, object.body, PutOptions::new()).await?;
            let here = Arc::new(Fault::new(here));
            let folder = |url: &str, store: Arc<dyn SnapshotAdapter>| -> persist::Result<Folder> {
                let config = StorageConfig::from_url(url)?;
                let (place, root) = (Place::of(&config, "sessions/")?, Place::of(&config, "")?);
                Ok(Folder { store, prefix: "sessions/".into(), place, root })
            };
            let (from, to) = (folder("s3://one", here.clone())?, folder("s3://two", there)?);
            here.inject(Operation::Get, Injection::Before(ErrorKind::AccessDenied));
            let otherwise = if commits == 1 { Standing::Even } else { Standing::Behind };
            for expected in [Standing::Other, otherwise] {
                let standings = compared(&from, &to, false).await?;
                assert_eq!(standings.get("sessions/a/s/"), Some(&expected), "{commits}");
            }
        }
        Ok(())
    }
}
