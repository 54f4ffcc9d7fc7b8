//! Metadata of files whose times lost their ends on the way here: `tar` and `zip` keep whole seconds or every
//! other one, and so do some file systems; others keep ten milliseconds or a hundred nanoseconds, and Python
//! rounds them. A sidecar is then no longer found under its name, and without it a state could be read in
//! another form than it was saved in.
//!
//! Only times that no adapter gives are looked into, and they need a look at all names of the directory.

use std::{
    fs::File,
    os::unix::fs::MetadataExt,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use super::{
    entries::entries,
    fail::io_error,
    own::{is_sidecar, names_of, time_of},
    sidecar::{Sidecar, damaged},
    stamp::{Stamp, agree, step},
};
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
    fn sidecars(&self, directory: &File) -> Result<Arc<Vec<String>>> {
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
        let age = SystemTime::now().duration_since(super::stamp::changed(&found));
        if age.is_ok_and(|age| age > CALM) {
            *lock(&self.0) = Some((now, names.clone()));
        }
        Ok(names)
    }

    /// The sidecar of the version `stamp` of `file`, if it has one, also where a copy has cut its time.
    ///
    /// # Errors
    /// `Corrupt` where it is damaged, or where there are several that it could be, and they differ.
    pub(super) fn sidecar(&self, directory: &File, file: &str, stamp: Stamp) -> Result<Option<Sidecar>> {
        match Sidecar::read(directory, file, stamp)? {
            None if step(stamp.mtime) > 1 => self.find(directory, file, stamp),
            found => Ok(found),
        }
    }

    /// Where its time was cut: by all names in the directory.
    fn find(&self, directory: &File, file: &str, stamp: Stamp) -> Result<Option<Sidecar>> {
        let all = self.sidecars(directory)?;
        let begin = names_of(file);
        let from = all.partition_point(|name| *name < begin);
        let mut found: Option<Sidecar> = None;
        for name in all[from..].iter().take_while(|name| name.starts_with(&begin)) {
            if !time_of(name).is_some_and(|given| agree(stamp.mtime, given)) {
                continue;
            }
            // One that is gone now was of a version that is.
            let Some(sidecar) = Sidecar::read_named(directory, name)? else { continue };
            if !sidecar.may_be_of(file, stamp) {
                continue;
            }
            if found.as_ref().is_some_and(|other| !other.says_the_same_as(&sidecar)) {
                return Err(damaged(
                    "the file's time was cut or rounded when it was copied, and there are several that it could be; copy the store anew in a way that keeps the times \
                     (`cp -a`, `rsync -a`, `tar --format=posix`)",
                ));
            }
            found = Some(sidecar);
        }
        Ok(found)
    }
}
