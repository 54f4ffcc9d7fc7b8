//! A copy of one object does not replace a commit by another one.

use persist::{
    ByteRange, Error, ErrorKind, GetOptions, Key, Result, SnapshotAdapter,
    sessions::{CommitId, commit_id},
};

/// Ends of commits are shorter, by far.
const END: u64 = 1 << 20;

/// Refuses to copy over a commit, which has this name in its session, anything but the same commit. One that
/// is damaged may be replaced by any.
pub(super) async fn not_over_another(
    from: &dyn SnapshotAdapter,
    source: &Key,
    to: &dyn SnapshotAdapter,
    destination: &Key,
    name: &str,
) -> Result<()> {
    let there = match id(to, destination, name).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        there => there?,
    };
    if there.is_none() || id(from, source, name).await? == there {
        return Ok(());
    }
    let message = "another commit is there, which the copy would replace; the source is of another session, another history, or damaged";
    Err(Error::new(ErrorKind::Conflict, message).with_key(destination))
}

/// The id of the commit that an object is, if it is one of this name.
async fn id(store: &dyn SnapshotAdapter, key: &Key, name: &str) -> Result<Option<CommitId>> {
    use ErrorKind::{Corrupt, InvalidInput, Unsupported};
    let read = async {
        let object = store.get(key, GetOptions::new().range(ByteRange::Last(END))).await?;
        let size = object.meta.size;
        Ok::<_, Error>(commit_id(name, &object.body.collect(END).await?, size))
    };
    match read.await {
        // It has no end to read, or is damaged.
        Err(error) if matches!(error.kind(), Corrupt | InvalidInput | Unsupported) => Ok(None),
        read => read,
    }
}
