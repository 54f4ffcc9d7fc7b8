//! What is done behind the answer to a create: what it proves, and what must not stay.

use super::{
    manifest::BodyRef,
    names::Place,
    store::{Part, Slot, Store},
};
use crate::{Error, ErrorKind, Result, Version};

/// The error for a body that is older than a prune must leave alone.
pub(super) fn too_slow() -> Error {
    let message = "the body took so long that a prune may have taken it for garbage; \
                   save again with a longer fence window";
    Error::new(ErrorKind::Timeout, message).with_operation("save").with_retryable(false)
}

/// Takes a commit back whose body is gone: nobody can read it. Where the body is there, others may have built
/// on the commit. Tells which it was.
///
/// # Errors
/// Where that cannot be told, what the adapter fails with.
pub(super) async fn withdraw(
    store: &Store,
    place: &Place,
    seq: u64,
    body: Option<BodyRef>,
    version: &Version,
) -> Result<bool> {
    let Some(body) = body else { return Ok(false) };
    let body = place.body(seq, body.id)?;
    match store.adapter.head(&body).await {
        Err(error) if error.kind() == ErrorKind::NotFound => store.confirm_gone(&body).await?,
        there => return there.map(|_| false),
    }
    if let Err(error) = store.delete_version(&place.commit(seq)?, version).await {
        tracing::debug!(kind = %error.kind(), session = place.logged(), "a commit without its body stays");
    }
    Ok(true)
}

/// Whether the commit is there, and whole.
pub(super) async fn loads(store: &Store, place: &Place, seq: u64) -> Result<bool> {
    let restored = match store.slot(place, seq, Part::Whole).await {
        Ok((Slot::Commit(bytes), _)) => store.restore(place, seq, bytes).await,
        Ok((Slot::Origin(_), _)) => return Ok(false),
        Err(error) => Err(error),
    };
    match restored {
        Ok(_) => Ok(true),
        Err(error) if is_damage(error.kind()) || error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.with_operation("save")),
    }
}

/// Whether an error of this kind proves that nothing was stored, nor will be.
pub(super) fn never_sent(kind: ErrorKind) -> bool {
    use ErrorKind::{AccessDenied, InvalidConfig, InvalidInput, NotFound, Unauthenticated, Unsupported};
    matches!(kind, AccessDenied | InvalidConfig | InvalidInput | NotFound | Unauthenticated | Unsupported)
}

/// Whether an error of this kind says that an object was read and is not what it should be.
pub(super) fn is_damage(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Corrupt | ErrorKind::Unsupported | ErrorKind::InvalidInput)
}
