//! The sidecars in the directory that was last looked into, while it stays as it was.

use std::{
    fs::File,
    os::unix::fs::MetadataExt,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use super::{entries::entries, fail::io_error, own::is_sidecar, stamp::changed};
use crate::{Result, lock::lock};

/// How long a directory must have been as it is for its names to be remembered: the time of its last change
/// may be kept coarsely, too.
const CALM: Duration = Duration::from_secs(5);

/// The names of the sidecars in the directory that was last looked into.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Option<(Directory, Arc<Vec<String>>)>>);

/// A directory as it was at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Directory {
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

impl Seen {
    /// The sidecars in `directory`, in order.
    pub(super) fn sidecars(&self, directory: &File) -> Result<Arc<Vec<String>>> {
        let found = directory.metadata().map_err(|error| io_error("reading a directory", error))?;
        let now = Directory {
            device: found.dev(),
            inode: found.ino(),
            changed: (found.ctime(), found.ctime_nsec()),
        };
        if let Some((seen, names)) = &*lock(&self.0)
            && *seen == now
        {
            return Ok(names.clone());
        }
        let mut names = Vec::new();
        for entry in entries(directory)? {
            let (name, _) = entry?;
            if is_sidecar(&name) {
                names.push(name);
            }
        }
        names.sort_unstable();
        let names = Arc::new(names);
        let age = SystemTime::now().duration_since(changed(&found));
        if age.is_ok_and(|age| age > CALM) {
            *lock(&self.0) = Some((now, names.clone()));
        }
        Ok(names)
    }
}
