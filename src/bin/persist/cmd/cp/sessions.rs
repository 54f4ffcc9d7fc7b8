//! What a copy of folders may do to a session that is already at its destination.
//!
//! Commits are written once. Of two histories under one name a copy would make a third that nobody saved, so it looks at the newest
//! commits first: where one side has the newest of the other, byte for byte, both are one history.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::{TryStreamExt, future::ready};
use persist::{Body, ErrorKind, GetOptions, Key, ListOptions, SnapshotAdapter};

use super::{PARALLEL, renamed};
use crate::storage::Folder;

/// How the session at the destination stands to that of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The source goes on from it, or both are equal.
    Behind,
    /// It goes on from the source: the copy adds what it lacks, and its tags and its `line` stay.
    Ahead,
    /// Another history, or nobody can tell: the copy leaves it alone.
    Other,
}

/// The sessions of which both sides have commits, by their folders at the destination.
pub(super) async fn compared(from: &Folder, to: &Folder) -> persist::Result<BTreeMap<String, Standing>> {
    let mut seen = None;
    let rows = from.store.list(ListOptions::new().prefix(&from.prefix));
    // Newest first: the first of each is the newest.
    let newest = rows.try_filter_map(|entry| {
        let first = entry.into_object().and_then(|meta| {
            let name = renamed(&meta.key, from, to).ok()?;
            let part = to.root.part_of(&name).filter(|part| part.kind == "c")?;
            let is_new = seen.as_ref() != Some(&part.folder);
            seen = Some(part.folder.clone());
            is_new.then_some((part.folder, meta.key, name))
        });
        ready(Ok(first))
    });
    let compared = newest.map_ok(|(folder, key, name)| async move {
        Ok(standing(from, to, &key, &name).await?.map(|standing| (folder, standing)))
    });
    compared.try_buffered(PARALLEL).try_filter_map(|one| ready(Ok(one))).try_collect().await
}

/// `key` is the newest commit in the source, and `name` what the copy calls it. None where the destination has no commit.
async fn standing(from: &Folder, to: &Folder, key: &Key, name: &Key) -> persist::Result<Option<Standing>> {
    let commits = name.as_str().rsplitn(3, '/').nth(2).map_or(String::new(), |all| format!("{all}/"));
    let mut rows = to.store.list(ListOptions::new().prefix(commits));
    let newest = loop {
        match rows.try_next().await?.map(|entry| entry.into_object()) {
            Some(Some(meta)) => break meta.key,
            Some(None) => {}
            None => return Ok(None),
        }
    };
    let (one, other) = (from.store.as_ref(), to.store.as_ref());
    let there =
        newest.as_str().strip_prefix(&to.prefix).map(|name| Key::new(format!("{}{name}", from.prefix)));
    if let Some(Ok(there)) = there
        && same(one, &there, other, &newest).await?
    {
        return Ok(Some(Standing::Behind));
    }
    let ahead = same(one, key, other, name).await?;
    Ok(Some(if ahead { Standing::Ahead } else { Standing::Other }))
}

/// Whether both are there, with the same bytes.
async fn same(
    one: &dyn SnapshotAdapter,
    key: &Key,
    other: &dyn SnapshotAdapter,
    name: &Key,
) -> persist::Result<bool> {
    let (one, other) = tokio::join!(one.get(key, GetOptions::new()), other.get(name, GetOptions::new()));
    match (one, other) {
        (Ok(one), Ok(other)) => Ok(one.meta.size == other.meta.size && equal(one.body, other.body).await?),
        (Err(error), _) | (_, Err(error)) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(false),
    }
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
