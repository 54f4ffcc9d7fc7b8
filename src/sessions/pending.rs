//! Own commits whose answer was lost: any of them may arrive yet, and is then no rival's.

use super::{CommitId, clock::Moment, head::Base};

/// Commits whose states are remembered, so that a delta can go on from them.
const STATES: usize = 4;
/// Commits that are remembered. Beyond it, those in the middle are forgotten: the first ones are the
/// likeliest to have arrived.
const COMMITS: usize = 256;

/// The newest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Pending(Vec<Known>);

/// What is known of such a commit.
#[derive(Debug, Clone)]
pub(super) struct Known {
    id: CommitId,
    /// What a delta can start from, where its state is remembered.
    pub(super) base: Option<Base>,
    /// When its body began, where that is an object of its own.
    pub(super) began: Option<Moment>,
    /// It may be a delta on something that was found to be damaged since.
    pub(super) damaged: bool,
}

impl Pending {
    pub(super) fn remember(&mut self, id: CommitId, base: Option<Base>, began: Option<Moment>) {
        self.put_back(Known { id, base, began, damaged: false });
    }

    pub(super) fn put_back(&mut self, known: Known) {
        self.0.insert(0, known);
        if let Some(known) = self.0.get_mut(STATES) {
            known.base = None;
        }
        if self.0.len() > COMMITS {
            self.0.remove(COMMITS / 2);
        }
    }

    pub(super) fn has(&self, id: CommitId) -> bool {
        self.0.iter().any(|known| known.id == id)
    }

    pub(super) fn get(&self, id: CommitId) -> Option<&Known> {
        self.0.iter().find(|known| known.id == id)
    }

    pub(super) fn take(&mut self, id: CommitId) -> Option<Known> {
        let at = self.0.iter().position(|known| known.id == id)?;
        Some(self.0.remove(at))
    }

    /// After damage: no delta goes on from any of them, and they may be deltas on it themselves.
    pub(super) fn forget_states(&mut self) {
        for known in &mut self.0 {
            (known.base, known.damaged) = (None, true);
        }
    }

    /// Only who they are.
    pub(super) fn drop_states(&mut self) {
        self.0.iter_mut().for_each(|known| known.base = None);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_long_outage_takes_bounded_memory_and_the_first_and_last_are_known() {
        let base = Base { state: bytes::Bytes::new(), chain: [].into(), measured: (0, 0), lines: Vec::new() };
        let ids: Vec<_> = (0..5000).map(|n| CommitId::new(SystemTime::UNIX_EPOCH, n)).collect();
        let mut pending = Pending::default();
        for id in &ids {
            pending.remember(*id, Some(base.clone()), None);
        }
        let states = pending.0.iter().filter(|known| known.base.is_some()).count();
        assert_eq!((pending.0.len(), states), (COMMITS, STATES));
        assert!(ids[..COMMITS / 2 - 1].iter().chain(&ids[5000 - COMMITS / 2..]).all(|id| pending.has(*id)));
        let with_state = |known: Option<Known>| known.unwrap().base.is_some();
        assert!(with_state(pending.take(ids[4999])) && !with_state(pending.take(ids[0])));
        assert!(pending.take(ids[0]).is_none() && pending.take(ids[2500]).is_none());
    }
}
