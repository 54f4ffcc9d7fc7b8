//! Which sessions there are.

use futures_util::{
    FutureExt, StreamExt, TryStreamExt,
    future::{BoxFuture, join_all},
    stream::{self, BoxStream},
};
use serde::Serialize;

use super::{
    Pruned, Retention, Session, Sessions, Verified,
    names::{CUT, Place, ROOT, unsegment},
    store::{Described, PARALLEL, Store},
    verify::Beside,
};
use crate::{ErrorKind, ListEntry, ListOptions, Result};

/// Sessions that are worked on at the same time.
const SESSIONS: usize = 8;

/// A session's two ids.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct SessionName {
    /// Whose session it is.
    pub agent: String,
    /// Its name.
    pub session: String,
    /// Where it is: ids that are too long for keys may not be known.
    #[serde(skip)]
    place: Place,
}

impl SessionName {
    /// # Errors
    /// `InvalidInput` for an empty id.
    pub(super) fn new(agent: String, session: String) -> Result<Self> {
        let place = Place::new(&agent, &session)?;
        Ok(SessionName { agent, session, place })
    }

    /// The ids as they are in keys: names of files that are safe everywhere, of at most 160 bytes each. No
    /// two sessions have the same; on a file system that takes upper and lower case for one, two may.
    pub fn segments(&self) -> [&str; 2] {
        [&self.place.agent, &self.place.session]
    }

    /// The folder of the session's objects, where it is not the one that its ids lead to: a tool that encodes
    /// names in another way, or not at all, has copied it there. For the command line.
    #[doc(hidden)]
    pub fn lies_elsewhere(&self) -> Option<String> {
        // Of over-long ids the folder has a digest alone.
        let is_whole = |segment: &str| !segment.contains(CUT);
        let is_known = is_whole(&self.place.agent) && is_whole(&self.place.session);
        let is_own = Place::new(&self.agent, &self.session).is_ok_and(|own| own == self.place);
        (is_known && !is_own).then(|| self.place.prefix(""))
    }
}

impl Sessions {
    /// A handle of a session that [`list`](Sessions::list) has named, also where its ids are too long for
    /// keys, and cannot be read from its commits for damage.
    pub fn named(&self, name: &SessionName) -> Session {
        let SessionName { agent, session, place } = name.clone();
        Session::new(self.clone(), place, agent, session)
    }

    /// All sessions, or those of one agent, in the order of their keys: one request for every agent, 16 of
    /// them side by side and before the first of them is given, or one for every thousand. Also those that
    /// were removed, or are only begun: a load of the latest is `NotFound` there.
    pub fn list(&self, agent: Option<&str>) -> BoxStream<'_, Result<SessionName>> {
        let store = self.store();
        let agents = match agent.map(|agent| super::names::segment(agent, "agent")) {
            Some(segment) => stream::once(async { Ok(format!("{ROOT}{}/", segment?)) }).boxed(),
            None => store.folders(ROOT.into()),
        };
        // Read to the end before the first is given out: a request that nobody polls, while the caller works on
        // a session, runs into its timeout.
        let begun = agents.chunks(PARALLEL).then(move |agents| {
            join_all(agents.into_iter().map(move |agent| async move { store.begun(agent?).await }))
        });
        let sessions = begun.flat_map(stream::iter).try_flatten();
        sessions.and_then(move |folder| store.name_of(folder)).boxed()
    }

    /// [Prunes](Session::prune) all sessions, or those of one agent, in the order of [`list`](Sessions::list),
    /// eight at once and to the end before the first of them is given: what is to be done every night. What one
    /// of them fails with ends nothing and stands beside its name: `NotFound` where a session has only begun,
    /// `Conflict` where another prune or an import is at work. An error in place of a name is the listing's:
    /// there may be sessions that it does not show.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use futures_util::TryStreamExt;
    /// use persist::{ErrorKind, adapters::memory::MemoryAdapter, sessions::{Retention, Sessions}};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let sessions = Sessions::new(Arc::new(MemoryAdapter::new()))?;
    /// sessions.session("bot", "run-1")?.save("state").await?;
    ///
    /// let mut pruned = sessions.prune_all(Retention::new().last(100), None);
    /// while let Some((name, outcome)) = pruned.try_next().await? {
    ///     match outcome {
    ///         Ok(pruned) => println!("{}: {} commits went", name.session, pruned.removed.len()),
    ///         Err(error) if error.kind() == ErrorKind::NotFound => {} // only begun
    ///         Err(error) => eprintln!("{}: {error}", name.session),
    ///     }
    /// }
    /// # Ok::<(), persist::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prune_all(
        &self,
        retention: Retention,
        agent: Option<&str>,
    ) -> BoxStream<'_, Result<(SessionName, Result<Pruned>)>> {
        self.each(agent, move |_, session| async move { session.prune(retention).await }.boxed())
    }

    /// [Verifies](Session::verify) all sessions, or those of one agent, as [`prune_all`](Sessions::prune_all)
    /// prunes them. Damage is in [`Verified`], and no error. What a fork was forked from is read once, with
    /// its own session, where that is among these: of the fork, its own commits and the one that it starts
    /// from. So damage of older ones stands beside the name of their session alone.
    pub fn verify_all(&self, agent: Option<&str>) -> BoxStream<'_, Result<(SessionName, Result<Verified>)>> {
        let others = if agent.is_some() { Beside::Agent } else { Beside::All };
        self.each(agent, move |_, session| async move { session.verify_beside(others).await }.boxed())
    }

    /// Does `work` with all sessions, or those of one agent, and tells as [`prune_all`](Sessions::prune_all)
    /// does. For the command line.
    #[doc(hidden)]
    pub fn each<'a, T: Send + 'a>(
        &'a self,
        agent: Option<&str>,
        work: impl Fn(&SessionName, Session) -> BoxFuture<'a, Result<T>> + Send + 'a,
    ) -> BoxStream<'a, Result<(SessionName, Result<T>)>> {
        let begun = self.list(agent).map_ok(move |name| {
            let done = work(&name, self.named(&name));
            (name, done)
        });
        let rows = begun.map(|begun| async {
            let (name, done) = begun?;
            Ok((name, done.await))
        });
        // As in `list`: to the end, before the first is given out.
        rows.chunks(SESSIONS).then(join_all).flat_map(stream::iter).boxed()
    }
}

impl Store {
    /// [`folders`](Store::folders), the first page of which was read: mostly all of it.
    async fn begun(&self, prefix: String) -> Result<BoxStream<'_, Result<String>>> {
        let mut folders = self.folders(prefix);
        let first = folders.try_next().await?;
        Ok(stream::iter(first.map(Ok)).chain(folders).boxed())
    }

    fn folders(&self, prefix: String) -> BoxStream<'_, Result<String>> {
        let listing = self.adapter.list(ListOptions::new().prefix(prefix).delimiter());
        let folder = |entry| match entry {
            ListEntry::Prefix(folder) => Some(folder),
            ListEntry::Object(_) => None,
        };
        listing.try_filter_map(move |entry| std::future::ready(Ok(folder(entry)))).boxed()
    }

    /// The ids of a session's folder; where they are too long for it, its newest commit has them, or what is
    /// in place of the first.
    pub(super) async fn name_of(&self, folder: String) -> Result<SessionName> {
        let mut segments = folder.strip_prefix(ROOT).unwrap_or(&folder).split('/');
        let mut next = || segments.next().unwrap_or_default().to_owned();
        let place = Place::from_segments(next(), next());
        if let (Some(agent), Some(session)) = (unsegment(&place.agent), unsegment(&place.session)) {
            return Ok(SessionName { agent, session, place });
        }
        let ids = match self.newest(&place).await? {
            None => None,
            Some(row) => match self.manifest(&place, row.seq).await {
                Ok((Described::Commit(manifest), _)) => manifest.ids,
                Ok((Described::Origin(origin), _)) => origin.ids,
                Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => None,
                Err(error) => return Err(error),
            },
        };
        let mut ids = ids.filter(|ids| place.is_of(ids));
        if ids.is_none() {
            ids = match self.origin(&place).await {
                Ok(origin) => origin.and_then(|origin| origin.ids).filter(|ids| place.is_of(ids)),
                Err(error) if error.kind() == ErrorKind::Corrupt => None,
                Err(error) => return Err(error),
            };
        }
        let (agent, session) = ids.unwrap_or((place.agent.to_string(), place.session.to_string()));
        Ok(SessionName { agent, session, place })
    }
}
