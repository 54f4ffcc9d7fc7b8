//! Listing: a walk in key order that holds, for each directory on the way down, the names that are still to
//! come.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    sync::{Arc, atomic::AtomicBool},
};

use futures_util::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use rustix::{fs::FileType, io::Errno};

use super::{
    dir::Root,
    entries::{entries, kind, open_dir, stat},
    fail::io_error,
    hop::hop,
    name::{RESERVED, pieces, segment_of},
    stamp::Stamp,
    strange,
};
use crate::{Error, ErrorKind, Key, ListEntry, ListOptions, ObjectMeta, Result};

/// Rows of the first hop to a blocking thread, and of the largest.
const ROWS: (usize, usize) = (16, 512);

pub(super) fn list(root: &Arc<Root>, options: ListOptions) -> BoxStream<'static, Result<ListEntry>> {
    let left = options.limit.unwrap_or(usize::MAX);
    let walk = Walk::new(root.clone(), options);
    let batches = stream::try_unfold((walk, left, ROWS.0), |(mut walk, left, rows)| async move {
        if left == 0 {
            return Ok::<_, Error>(None);
        }
        let want = rows.min(left);
        let (batch, mut walk) = hop("list", None, move |given_up| {
            let mut batch = Vec::with_capacity(want);
            while batch.len() < want
                && let Some(row) = walk.next(given_up)?
            {
                batch.push(Ok(row));
            }
            Ok((batch, walk))
        })
        .await?;
        walk.passed_over.tell(&walk.root);
        let left = if batch.len() < want { 0 } else { left - want };
        Ok(Some((stream::iter(batch), (walk, left, (rows * 2).min(ROWS.1)))))
    });
    batches.try_flatten().boxed()
}

struct Walk {
    root: Arc<Root>,
    options: ListOptions,
    /// The directories from where the listing starts down to where it is.
    levels: Vec<Level>,
    started: bool,
    passed_over: PassedOver,
}

/// What is no part of a listing and may pass for one, the first of each kind: told once in a listing.
#[derive(Default)]
struct PassedOver {
    link: Option<Key>,
    strange: Option<Key>,
    told: (bool, bool),
}

impl PassedOver {
    fn note(found: &mut Option<Key>, name: &str) {
        if found.is_none() {
            *found = Key::new(name).ok();
        }
    }

    /// On the caller's thread, whose subscriber and span it is.
    fn tell(&mut self, root: &Root) {
        let root = root.path.display();
        if let (Some(key), false) = (&self.link, self.told.0) {
            tracing::warn!(%root, key = key.logged(), "links and special files are not followed, and not listed");
        }
        if let (Some(key), false) = (&self.strange, self.told.1) {
            tracing::warn!(
                %root,
                key = key.logged(),
                "not listed: names that another program gave and persist writes otherwise (docs/backends.md)"
            );
        }
        self.told = (self.link.is_some(), self.strange.is_some());
    }
}

struct Level {
    /// What keys in this directory start with: empty or with a `/` at the end.
    prefix: String,
    directory: File,
    /// The directory's path below the root.
    path: Vec<String>,
    /// The last segments of keys; that of a directory ends with `/`, so that `a-b` comes before what is in
    /// `a/`. Taken from the front one by one: sorting all of a large directory for its first row would be a
    /// waste.
    entries: BinaryHeap<Reverse<String>>,
}

impl Walk {
    fn new(root: Arc<Root>, options: ListOptions) -> Self {
        Walk { root, options, levels: Vec::new(), started: false, passed_over: PassedOver::default() }
    }

    fn next(&mut self, given_up: &AtomicBool) -> Result<Option<ListEntry>> {
        if !std::mem::replace(&mut self.started, true) {
            self.start(given_up)?;
        }
        while let Some(level) = self.levels.last_mut() {
            let Some(Reverse(entry)) = level.entries.pop() else {
                self.levels.pop();
                continue;
            };
            let name = format!("{}{entry}", level.prefix);
            let Some(segment) = entry.strip_suffix('/') else {
                if let Some(meta) = level.object(&self.root, name, &entry)? {
                    return Ok(Some(ListEntry::Object(meta)));
                }
                continue;
            };
            if self.options.delimiter && name.len() > self.options.prefix.len() {
                if self.holds_any(&name, given_up)? {
                    return Ok(Some(ListEntry::Prefix(name)));
                }
            } else {
                let path = level.below(pieces(segment));
                match self.enter(name, path, given_up) {
                    // Replaced by a link since it was read.
                    Err(error) if error.kind() == ErrorKind::InvalidInput => {}
                    entered => _ = entered?,
                }
            }
        }
        Ok(None)
    }

    /// Goes to the deepest directory that holds everything with the prefix.
    fn start(&mut self, given_up: &AtomicBool) -> Result<()> {
        let Some(end) = self.options.prefix.rfind('/') else {
            return self.enter(String::new(), Vec::new(), given_up).map(drop);
        };
        let above = &self.options.prefix[..end];
        // Nothing lies below what is no key.
        let Ok(above) = Key::new(above) else { return Ok(()) };
        let path = above.segments().flat_map(pieces).collect();
        if !self.enter(self.options.prefix[..=end].to_owned(), path, given_up)? {
            strange::check_folder(&self.root, &above)?;
        }
        Ok(())
    }

    /// False where there is no such directory. A link or a special file in the way is `InvalidInput`.
    fn enter(&mut self, prefix: String, path: Vec<String>, given_up: &AtomicBool) -> Result<bool> {
        let Some(directory) = self.root.find(path.iter().map(String::as_str))? else { return Ok(false) };
        let mut found = Vec::new();
        self.read(&directory, &mut path.clone(), path.len(), &mut prefix.clone(), &mut found, given_up)?;
        self.levels.push(Level { prefix, directory, path, entries: BinaryHeap::from(found) });
        Ok(true)
    }

    /// What is in a directory, as far as it is asked for. `path` is its own and `prefix` what keys in it
    /// begin with, both as they were when this returns; the names in `path` from `begun` on continue a long
    /// name.
    fn read(
        &mut self,
        directory: &File,
        path: &mut Vec<String>,
        begun: usize,
        prefix: &mut String,
        found: &mut Vec<Reverse<String>>,
        given_up: &AtomicBool,
    ) -> Result<()> {
        let above = prefix.len();
        // So that no writer renames meanwhile: a name that moves about in the directory can be missed. Where
        // there are no locks, go on without.
        let root = self.root.clone();
        let _lock = root.lock_shared(directory, &*path, given_up)?;
        for entry in entries(directory)? {
            let (file, kind) = entry?;
            if file.starts_with(RESERVED) {
                continue;
            }
            if file.ends_with('%') && kind == FileType::Directory {
                match open_dir(directory, &file) {
                    Ok(next) => {
                        path.push(file);
                        self.read(&next, path, begun, prefix, found, given_up)?;
                        path.pop();
                    }
                    // Removed or replaced meanwhile.
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                    // A listing that leaves something out must not pass for a whole one.
                    Err(error) => return Err(io_error("opening a directory", error)),
                }
                continue;
            }
            let Some(mut name) = segment_of(&path[begun..], file.clone()) else {
                prefix.extend(path[begun..].iter().flat_map(|piece| [piece, "/"]).chain([&*file]));
                if self.wants(prefix) {
                    PassedOver::note(&mut self.passed_over.strange, prefix);
                }
                prefix.truncate(above);
                continue;
            };
            if kind == FileType::Directory {
                name.push('/');
            }
            prefix.push_str(&name);
            if self.wants(prefix) {
                if matches!(kind, FileType::Directory | FileType::RegularFile) {
                    found.push(Reverse(name));
                } else {
                    PassedOver::note(&mut self.passed_over.link, prefix);
                }
            }
            prefix.truncate(above);
        }
        Ok(())
    }

    /// Whether `name`, or for a directory something in it, can be part of the listing.
    fn wants(&self, name: &str) -> bool {
        let prefix = &self.options.prefix;
        let directory = name.ends_with('/');
        let in_prefix = name.starts_with(prefix) || (directory && prefix.starts_with(name));
        let behind = match &self.options.start_after {
            // As one row, a directory stands for its own name; what is in it can be behind a name that it
            // begins.
            Some(after) if directory && !self.rolled_up(name) => {
                after.starts_with(name) || name > after.as_str()
            }
            Some(after) => name > after.as_str(),
            None => true,
        };
        in_prefix && behind
    }

    fn rolled_up(&self, directory: &str) -> bool {
        self.options.delimiter && directory.len() > self.options.prefix.len()
    }

    /// Whether there is any object in a directory: empty ones are no part of a listing.
    fn holds_any(&mut self, prefix: &str, given_up: &AtomicBool) -> Result<bool> {
        let mut walk = Walk::new(self.root.clone(), ListOptions::new().prefix(prefix));
        walk.passed_over = std::mem::take(&mut self.passed_over);
        let found = walk.next(given_up);
        self.passed_over = walk.passed_over;
        match found {
            // It became a link meanwhile.
            Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(false),
            found => Ok(found?.is_some()),
        }
    }
}

impl Level {
    /// A path below the directory.
    fn below(&self, place: Vec<String>) -> Vec<String> {
        let mut path = self.path.clone();
        path.extend(place);
        path
    }

    /// The object `name`, whose last segment is `segment`, unless it was removed meanwhile or is none.
    fn object(&self, root: &Root, name: String, segment: &str) -> Result<Option<ObjectMeta>> {
        let Ok(key) = Key::new(name) else { return Ok(None) };
        let mut place = pieces(segment);
        let Some(file) = place.pop() else { return Ok(None) };
        let found = if place.is_empty() {
            stat(&self.directory, &file)?
        } else {
            let Some(directory) = root.find(self.below(place).iter().map(String::as_str))? else {
                return Ok(None);
            };
            stat(&directory, &file)?
        };
        let stamp = match found {
            Some(found) if kind(&found) == FileType::RegularFile => Stamp::from(&found),
            _ => return Ok(None),
        };
        Ok(Some(ObjectMeta::new(key, stamp.size, stamp.version(), stamp.modified())))
    }
}
