//! A copy of one object neither replaces a commit by another one nor puts one into another session.

use persist::{
    ByteRange, Error, ErrorKind, GetOptions, Key, Result, SnapshotAdapter,
    sessions::{CommitId, commit_id},
};

use crate::{place::Place, storage::session_name};

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

/// Refuses as a commit of one session what lies where another session, or this one under another number, has
/// its objects. What a file of any other name is nobody knows.
pub(super) fn not_of_another(from: &Place, source: &Key, to: &Place, destination: &Key) -> Result<()> {
    let (Some(one), Some(other)) = (from.part_of(source), to.part_of(destination)) else { return Ok(()) };
    let sessions = from.session_of(source).zip(to.session_of(destination));
    let Some((mine, yours)) = sessions else { return Ok(()) };
    if one.name == other.name && mine.iter().zip(yours).all(|(one, other)| is_one_name(one, other)) {
        return Ok(());
    }
    let message = format!(
        "the source is {} of the session {}, the destination is {} of {}; a commit is put back under its own key (of one session under two names, copy it to a file first)",
        one.name,
        session_name(mine),
        other.name,
        session_name(yours)
    );
    Err(Error::new(ErrorKind::InvalidInput, message).with_key(destination))
}

/// Whether two names of folders may be made of one id: tools that bring a bucket to disk do not encode what is
/// encoded there again.
fn is_one_name(one: &str, other: &str) -> bool {
    let is_of = |one: &str, other: &str| Key::decode_segment(one).is_ok_and(|id| id == other);
    one == other || is_of(one, other) || is_of(other, one)
}

/// The id of the commit that an object is, if it is one of this name.
async fn id(store: &dyn SnapshotAdapter, key: &Key, name: &str) -> Result<Option<CommitId>> {
    use ErrorKind::{Corrupt, InvalidInput};
    let read = async {
        let object = store.get(key, GetOptions::new().range(ByteRange::Last(END))).await?;
        let size = object.meta.size;
        Ok::<_, Error>(commit_id(name, &object.body.collect(END).await?, size))
    };
    match read.await {
        // It has no end to read, or is damaged.
        Err(error) if matches!(error.kind(), Corrupt | InvalidInput) => Ok(None),
        read => read,
    }
}
