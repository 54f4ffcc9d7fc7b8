//! What is still needed: by the commits that stay, by forks, by bodies.

use std::collections::BTreeSet;

use crate::{
    ErrorKind, Key, Result,
    sessions::{
        CommitId, Session,
        manifest::{Manifest, chain},
        refs::ForkRef,
        store::{Described, PARALLEL, Part, Slot, all},
    },
};

impl Session {
    /// Adds what the kept commits are made of, or may be. Tells whether any is made of commits of another
    /// session. `first` is the first number that is this session's own.
    ///
    /// Keyframes only go forward: so the commits from a keyframe to any that is made of it are all made of
    /// that, and one manifest tells what each of them needs.
    pub(super) async fn close(
        &self,
        kept: &mut BTreeSet<u64>,
        present: &BTreeSet<u64>,
        first: u64,
    ) -> Result<bool> {
        let (mut open, mut width, mut needs_source) = (kept.clone(), 1, false);
        while !open.is_empty() {
            let next: Vec<u64> = open.iter().rev().take(width).copied().collect();
            let manifests = all(next.iter().map(|seq| self.manifest_of(*seq)).collect()).await?;
            // Side by side only where the newer ones do not tell of the older ones.
            width = (2 * width).min(PARALLEL);
            for (seq, manifest) in next.into_iter().zip(manifests) {
                if !open.contains(&seq) {
                    width = 1;
                    continue;
                }
                let Some(manifest) = manifest else {
                    let from = self.chain_begins(seq, present).await?;
                    needs_source |= first > 1 && from.is_none();
                    let from = from.unwrap_or(0);
                    kept.extend(present.range(from..=seq));
                    drop(open.split_off(&from));
                    continue;
                };
                let keyframe = seq - manifest.depth;
                let upto = manifest.lines.iter().map(|line| line.upto).max().unwrap_or(0);
                let own = first.max(upto.saturating_add(1));
                needs_source |= keyframe < own;
                for of in open.split_off(&keyframe) {
                    if of == seq || present.contains(&of) {
                        kept.extend(chain(keyframe, of).filter(|base| *base >= own));
                    } else {
                        // Its number may stand for others in front of it, which are missing as well.
                        kept.extend(present.range(keyframe..=of));
                    }
                }
            }
        }
        Ok(needs_source)
    }

    /// Where the chain of a commit that cannot be read begins at the earliest: with the keyframe of the next
    /// older one that can, because keyframes only go forward. `None`: in front of all that are there.
    async fn chain_begins(&self, seq: u64, present: &BTreeSet<u64>) -> Result<Option<u64>> {
        for &older in present.range(..seq).rev() {
            if let Some(manifest) = self.manifest_of(older).await? {
                let keyframe = manifest.seq - manifest.depth;
                let own = manifest.place_of(keyframe, self.place()) == *self.place();
                return Ok(own.then_some(keyframe));
            }
        }
        Ok(None)
    }

    /// `None` for one that is damaged or missing: a copy may make it whole again.
    pub(super) async fn manifest_of(&self, seq: u64) -> Result<Option<Manifest>> {
        match self.store().manifest(self.place(), seq).await {
            Ok((Described::Commit(manifest), _)) => Ok(Some(*manifest)),
            Ok((Described::Origin(_), _)) => Ok(None),
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.store().confirm_gone(&self.place().commit(seq)?).await.map(|()| None)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the fork that left this reference came to be.
    pub(in crate::sessions) async fn fork_lives(&self, key: &Key, fork: &ForkRef) -> Result<bool> {
        // What a tag that moved has left: no session is a fork of itself.
        if fork.fork == *self.place() {
            return Ok(false);
        }
        match self.store().slot(&fork.fork, 1, Part::End).await {
            Ok((Slot::Origin(origin), _)) => Ok(self.place().fork(origin.id)? == *key),
            Ok((Slot::Commit(_), _)) => Ok(false),
            Err(error) => match error.kind() {
                // Something else removed it, and a copy may bring it back. Unless the fork never came to be,
                // or has given it up.
                ErrorKind::NotFound => {
                    let (store, fork) = (self.store(), &fork.fork);
                    match tokio::try_join!(store.newest(fork), store.line(fork)) {
                        Ok((newest, (line, _))) => Ok(newest.is_some() && line.has(1)),
                        // Also where another tool has put its objects elsewhere.
                        Err(error)
                            if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::InvalidInput) =>
                        {
                            Ok(true)
                        }
                        Err(error) => Err(error),
                    }
                }
                // A damaged origin may be repaired from a copy.
                ErrorKind::Corrupt => Ok(true),
                _ => Err(error),
            },
        }
    }

    /// Whether the commit `seq` has this body, or may have it.
    pub(super) async fn has_body(&self, seq: u64, id: CommitId, was_listed: bool) -> Result<bool> {
        match self.store().manifest(self.place(), seq).await {
            Ok((Described::Commit(manifest), _)) => Ok(manifest.body.is_some_and(|body| body.id == id)),
            Ok((Described::Origin(_), _)) => Ok(false),
            Err(error) => match error.kind() {
                // One that was lost since may come back from a copy.
                ErrorKind::NotFound => {
                    self.store().confirm_gone(&self.place().commit(seq)?).await.map(|()| was_listed)
                }
                ErrorKind::Corrupt => Ok(true),
                _ => Err(error),
            },
        }
    }
}
