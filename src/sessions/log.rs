//! History: the commits of a session's line, newest first, and on into the sessions that it was forked from.

use std::collections::HashSet;

use futures_util::{StreamExt, TryStreamExt, stream, stream::BoxStream};

use super::{
    At, Commit, Session,
    manifest::Manifest,
    names::Place,
    store::{Described, PARALLEL, Part, Row, Slot, Store},
};
use crate::{ErrorKind, ListOptions, Result};

impl Session {
    /// The commits, newest first; where this session is a fork, those that it comes from as well. A commit whose manifest is damaged is an
    /// `Err` in its place, and the log goes on behind it.
    pub fn log(&self) -> BoxStream<'_, Result<Commit>> {
        let store = self.store();
        let described = store.lines(self.place(), None).map(move |row| async move {
            let (place, Row { seq, .. }) = row?;
            match store.manifest(&place, seq).await {
                Ok((Described::Commit(manifest), meta)) => Ok(Some(shown(*manifest, &place, meta.size))),
                // Pruned while the log was read.
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
                Ok((Described::Origin(_), _)) => Ok(None),
            }
        });
        described.buffered(PARALLEL).filter_map(|item| std::future::ready(item.transpose())).boxed()
    }
}

impl Session {
    /// What is known about a commit, without reading its state.
    ///
    /// # Errors
    /// As [`load`](Session::load), where the commit's own object is damaged.
    pub async fn show(&self, at: impl Into<At> + Send) -> Result<Commit> {
        let found = self.store().find(self.place(), &at.into(), Part::End).await?;
        Ok(shown(found.manifest()?, &found.place, found.total))
    }
}

pub(super) fn shown(manifest: Manifest, place: &Place, object: u64) -> Commit {
    let stored = object + manifest.body.map_or(0, |body| body.stored);
    Commit::new(manifest, place, stored)
}

impl Store {
    /// Places and numbers of the line, newest first; those before `below` only.
    pub(super) fn history(&self, place: &Place, below: Option<u64>) -> BoxStream<'_, Result<(Place, u64)>> {
        self.lines(place, below).map_ok(|(place, row)| (place, row.seq)).boxed()
    }

    /// The rows of the line, across forks.
    fn lines(&self, place: &Place, below: Option<u64>) -> BoxStream<'_, Result<(Place, Row)>> {
        let start = Some((place.clone(), below, HashSet::new()));
        let segments = stream::try_unfold(start, move |next| async move {
            let Some((place, below, mut seen)) = next else { return Ok::<_, crate::Error>(None) };
            // An import or a hand may have made a circle.
            if !seen.insert(place.clone()) {
                return Ok(None);
            }
            let (line, origin) = tokio::try_join!(self.line(&place), self.origin(&place))?;
            let is_fork = origin.is_some();
            let mut options = ListOptions::new();
            if let Some(below) = below {
                options = options.start_after(place.commit(below)?.as_str());
            }
            let of = place.clone();
            let rows = self.commits(&place, options).try_filter_map(move |row| {
                let on_line = line.0.has(row.seq) && !(is_fork && row.seq == 1);
                std::future::ready(Ok(on_line.then(|| (of.clone(), row))))
            });
            let next = origin.map(|origin| (origin.source, Some(origin.target.seq + 1), seen));
            Ok(Some((rows, next)))
        });
        segments.try_flatten().boxed()
    }

    /// Where the session was forked from, if it was.
    pub(super) async fn origin(&self, place: &Place) -> Result<Option<super::refs::Origin>> {
        match self.slot(place, 1, Part::End).await {
            Ok((Slot::Origin(origin), _)) => Ok(Some(origin)),
            Ok((Slot::Commit(_), _)) => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
