//! Metadata of files whose times lost their ends on the way here: `tar` and `zip` keep whole seconds or every
//! other one, and so do some file systems; others keep ten milliseconds or a hundred nanoseconds, and Python
//! rounds them. A sidecar is then no longer found under its name, and without it a state could be read in
//! another form than it was saved in.
//!
//! Only times that no adapter gives are looked into, and they need a look at all names of the directory.

use std::fs::File;

use super::{
    dir::Root,
    own::{names_of, time_of},
    sidecar::{Sidecar, damaged},
    stamp::{Stamp, agree, step},
};
use crate::Result;

/// The sidecar of the version `stamp` of `file`, if it has one, also where a copy has cut its time.
///
/// # Errors
/// `Corrupt` where it is damaged, or where there are several that it could be, and they differ.
pub(super) fn sidecar(root: &Root, directory: &File, file: &str, stamp: Stamp) -> Result<Option<Sidecar>> {
    match Sidecar::read(directory, file, stamp)? {
        None if step(stamp.mtime) > 1 => find(root, directory, file, stamp),
        found => Ok(found),
    }
}

/// Where its time was cut: by all names in the directory.
fn find(root: &Root, directory: &File, file: &str, stamp: Stamp) -> Result<Option<Sidecar>> {
    let all = root.seen.sidecars(directory)?;
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
