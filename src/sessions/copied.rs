//! Sessions that another tool has brought from a bucket to a disk, or back. A disk has names escaped once
//! more than a bucket, and such a tool leaves them as they are: the session lies in another folder than its
//! ids lead to, and would be begun anew, a second history, without a word.

use futures_util::TryStreamExt;

use super::{
    names::{Place, unsegment},
    store::Store,
};
use crate::{Error, ErrorKind, Key, ListOptions, Result};

impl Store {
    /// Looks for what such a tool may have left, where a session has no object under its own name. No request
    /// for ids that no name escapes.
    ///
    /// # Errors
    /// `InvalidInput` where the folder is certainly a copy of this session: from a bucket to a disk.
    pub(super) async fn not_copied(&self, place: &Place) -> Result<()> {
        let (Some(agent), Some(session)) = (unsegment(&place.agent), unsegment(&place.session)) else {
            return Ok(());
        };
        let bare = Place::from_segments(agent, session);
        if bare == *place {
            return Ok(());
        }
        let escaped =
            Place::from_segments(Key::encode_segment(&place.agent), Key::encode_segment(&place.session));
        // Ids that look like escaped ones lead there themselves, where another session may be.
        let leads = |segment: &str| unsegment(segment).is_some_and(|id| Key::encode_segment(&id) == segment);
        let is_anothers = leads(&bare.agent) && leads(&bare.session);
        let (is_bare, is_escaped) = tokio::try_join!(self.holds(&bare), self.holds(&escaped))?;
        if is_bare && !is_anothers {
            return Err(copied(place, &bare));
        }
        // It may as well be the session of an id that looks like an escaped one, and whoever chooses such an
        // id could keep this session from being begun.
        if is_bare || is_escaped {
            let other = if is_bare { bare } else { escaped };
            tracing::warn!(
                session = place.logged(),
                other = other.logged(),
                "nothing under this name: another session lies where a tool other than persist would have copied this one to (docs/backends.md)"
            );
        }
        Ok(())
    }

    async fn holds(&self, place: &Place) -> Result<bool> {
        // No tool has made such a folder, and some servers refuse to list it.
        if Key::new(place.prefix("c")).is_err() {
            return Ok(false);
        }
        let mut rows = self.adapter.list(ListOptions::new().prefix(place.prefix("c/")).limit(1));
        Ok(rows.try_next().await?.is_some())
    }
}

fn copied(place: &Place, folder: &Place) -> Error {
    let message = format!(
        "the session {place} lies in {}, a folder that another tool named, and its ids lead to {}",
        folder.prefix(""),
        place.prefix("")
    );
    Error::new(ErrorKind::InvalidInput, message).with_advice(
        "copy the storage by `persist cp --recursive` in place of that tool, or bring what is here to another \
         storage by `persist session export --all` and `import --all`",
    )
}
