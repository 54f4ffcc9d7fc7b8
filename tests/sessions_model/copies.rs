//! Exports, and imports under other names: beside everything else, and broken off anywhere.

use std::{sync::Arc, time::SystemTime};

use futures_util::TryStreamExt;
use persist::{Error, ErrorKind, adapters::memory::MemoryAdapter, sessions::*};

use super::{World, actor::Actor, check::removed_with, commit_key};

/// An archive, and the commits that it has: oldest first.
#[derive(Debug, Clone)]
pub(crate) struct Archive {
    bytes: Arc<Vec<u8>>,
    pub(crate) commits: Vec<(u64, CommitId, Vec<u8>)>,
}

impl Archive {
    /// Reads it where nothing goes wrong.
    async fn new(bytes: Vec<u8>) -> Archive {
        let sessions = Sessions::new(Arc::new(MemoryAdapter::new())).unwrap();
        let session = sessions.session("agent", "read").unwrap();
        let moved =
            session.import(&mut &bytes[..]).await.unwrap_or_else(|error| panic!("an export: {error}"));
        let log: Vec<Commit> = session.log().try_collect().await.unwrap();
        assert_eq!(moved.commits, log.len() as u64);
        let mut commits = Vec::new();
        for commit in log.iter().rev() {
            let state = session.load(commit.seq).await.unwrap().state.to_vec();
            commits.push((commit.seq, commit.id, state));
        }
        Archive { bytes: Arc::new(bytes), commits }
    }

    fn newest(&self) -> u64 {
        self.commits.last().map_or(0, |(seq, ..)| *seq)
    }
}

impl Actor {
    /// Imports an archive: a new one, or one that somebody may have imported already.
    pub(crate) async fn copy(&mut self) {
        let archives = self.world.ledger.lock().unwrap().archives.clone();
        let archive = match self.random.below(3) {
            0 if !archives.is_empty() => archives[self.random.below(archives.len() as u64) as usize].clone(),
            _ => match self.export().await {
                Some(archive) => archive,
                None => return,
            },
        };
        // Few names: others write there, or import the same and other archives.
        let name = format!("i{}", self.random.below(3));
        {
            let mut ledger = self.world.ledger.lock().unwrap();
            if !ledger.sessions.contains(&name) {
                ledger.sessions.push(name.clone());
            }
            ledger.imports.entry(name.clone()).or_default().push(archive.clone());
        }
        let (session, began) = (self.sessions.session("agent", &name).unwrap(), self.world.sim.now());
        // A job that was started twice.
        let twin = self.sessions.session("agent", &name).unwrap();
        let twice = self.random.below(10) < 3;
        let (mut one, mut two) = (&archive.bytes[..], &archive.bytes[..]);
        let other = async { if twice { Some(twin.import(&mut two).await) } else { None } };
        let (first, other) = tokio::join!(session.import(&mut one), other);
        if let (Ok(_), Some(Ok(_))) = (&first, &other) {
            self.world.saw("imported twice");
        }
        for (session, result) in [(session, Some(first)), (twin, other)] {
            let Some(result) = result else { continue };
            self.moved(name.clone(), session, &archive, result, began);
        }
    }

    fn moved(
        &mut self,
        name: String,
        session: Session,
        archive: &Archive,
        result: Result<Moved, Error>,
        began: SystemTime,
    ) {
        match result {
            Ok(moved) => {
                self.world.saw("imported");
                assert_eq!(moved.commits, archive.commits.len() as u64);
                let removed = removed_with(&self.world, &name);
                if removed > 0 {
                    let marker = &self.world.sim.lives(&commit_key(&name, removed))[0];
                    // Stores count in seconds.
                    assert!(
                        marker.from + std::time::Duration::from_secs(1) >= began,
                        "{name}: it was removed before"
                    );
                }
                for (seq, id, state) in &archive.commits {
                    let life = &self.world.sim.lives(&commit_key(&name, *seq))[0];
                    let gone = life.to.filter(|to| *to + std::time::Duration::from_secs(1) < began);
                    assert!(gone.is_none(), "{name} {seq}: it was pruned before it was imported");
                    self.world.acknowledged(&name, *seq, *id, state.clone());
                }
                let state = archive.commits.last().unwrap().2.clone();
                self.handle = Some((name, session, state));
            }
            Err(error) => {
                let refused = error.kind() == ErrorKind::AlreadyExists;
                self.world.saw(if refused { "import refused" } else { "import broke off" });
                let _ = self.expected::<()>("import", error);
            }
        }
    }

    async fn export(&mut self) -> Option<Archive> {
        let (name, session, _) = self.handle.clone()?;
        let newest = |world: &World| {
            let ledger = world.ledger.lock().unwrap();
            let all = ledger.commits.range((name.clone(), 0)..=(name.clone(), u64::MAX));
            all.last().map_or(0, |((_, seq), _)| *seq)
        };
        let known = newest(&self.world);
        let mut bytes = Vec::new();
        if let Err(error) = session.export(&mut bytes).await {
            let _ = self.expected::<()>("export", error);
            return None;
        }
        self.world.saw("exported");
        let archive = Archive::new(bytes).await;
        assert!(archive.newest() >= known, "{name}: {known} was acknowledged, and is not in the archive");
        let mut ledger = self.world.ledger.lock().unwrap();
        for (seq, id, state) in &archive.commits {
            let told = ledger.commits.get(&(name.clone(), *seq));
            assert!(
                told.is_none_or(|told| told == &(*id, state.clone())),
                "{name} {seq}: another was exported"
            );
        }
        ledger.archives.push(archive.clone());
        Some(archive)
    }

    /// The state of the newest commit, which is none of an import that has more to come.
    pub(crate) fn whole(&self, name: &str, newest: Restored) -> Vec<u8> {
        let ledger = self.world.ledger.lock().unwrap();
        let Commit { seq, id, .. } = newest.commit;
        // The session that was exported itself.
        if ledger.commits.get(&(name.to_owned(), seq)).is_some_and(|(of, _)| *of == id) {
            return newest.state.to_vec();
        }
        for archive in ledger.imports.get(name).into_iter().flatten() {
            let of = archive.commits.iter().any(|(_, commit, _)| *commit == id);
            assert!(!of || ledger.known(name, archive, seq), "{name} {seq}: half an import was loaded");
        }
        newest.state.to_vec()
    }
}

impl super::Ledger {
    /// Whether the import of this archive, or of another one that ends there, may be whole when `newest` is.
    fn known(&self, name: &str, archive: &Archive, newest: u64) -> bool {
        let ends = |other: &&Archive| other.newest() == newest;
        newest >= archive.newest() || self.imports[name].iter().any(|other| ends(&other))
    }
}

/// Whether an import broke off there: the state of nothing is given then.
pub(crate) async fn is_half(world: &World, session: &Session) -> bool {
    match session.load(At::Latest).await {
        Err(error) if error.kind() == ErrorKind::Conflict => {
            assert!(error.message().contains("is being imported"), "{error}");
            assert_eq!(session.load_with_fallback(At::Latest).await.unwrap_err().kind(), ErrorKind::Conflict);
            assert!(world.ledger.lock().unwrap().imports.contains_key(session.name()), "{session:?}");
            true
        }
        _ => false,
    }
}

/// After the storm: an import that broke off is finished by another one, or removed.
pub(crate) async fn finish(world: &World) {
    let sessions = world.sessions(5);
    let imports = world.ledger.lock().unwrap().imports.clone();
    for (at, (name, archives)) in imports.iter().enumerate() {
        let session = sessions.session("agent", name).unwrap();
        if !is_half(world, &session).await {
            continue;
        }
        assert_eq!(session.save("mine").await.unwrap_err().kind(), ErrorKind::Conflict);
        if (at + archives.len()) % 3 == 0 {
            world.saw("import removed");
            session.remove().await.unwrap();
            *world.ledger.lock().unwrap().removals.entry(name.clone()).or_default() += 1;
            assert_eq!(session.load(At::Latest).await.unwrap_err().kind(), ErrorKind::NotFound);
            for archive in archives {
                let error = session.import(&mut &archive.bytes[..]).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{name}: {error}");
            }
            continue;
        }
        let mut finished = None;
        for archive in archives {
            match session.import(&mut &archive.bytes[..]).await {
                Ok(_) => finished = Some(archive),
                Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{name}: {error}"),
            }
        }
        let archive = finished.unwrap_or_else(|| panic!("{name}: nothing finishes it"));
        world.saw("import finished");
        for (seq, id, state) in &archive.commits {
            world.acknowledged(name, *seq, *id, state.clone());
        }
    }
}
