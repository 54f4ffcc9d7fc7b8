//! Own commits whose answer was lost: any of them may arrive yet, and is then no rival's.

use super::{CommitId, head::Base};

/// Commits whose states are remembered, so that a delta can go on from them.
const STATES: usize = 4;
/// Commits that are remembered. Beyond it, those in the middle are forgotten: the first ones are the likeliest to have arrived.
const COMMITS: usize = 256;

/// The newest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Pending(Vec<(CommitId, Option<Base>)>);

impl Pending {
    pub(super) fn remember(&mut self, id: CommitId, base: Option<Base>) {
        self.0.insert(0, (id, base));
        if let Some((_, base)) = self.0.get_mut(STATES) {
            *base = None;
        }
        if self.0.len() > COMMITS {
            self.0.remove(COMMITS / 2);
        }
    }

    /// It was certainly not sent.
    pub(super) fn forget(&mut self, id: CommitId) {
        self.0.retain(|(of, _)| *of != id);
    }

    pub(super) fn has(&self, id: CommitId) -> bool {
        self.0.iter().any(|(of, _)| *of == id)
    }

    /// What a delta can start from, if this is one of them: `Some(None)` where its state is not remembered.
    pub(super) fn take(&mut self, id: CommitId) -> Option<Option<Base>> {
        let at = self.0.iter().position(|(of, _)| *of == id)?;
        Some(self.0.remove(at).1)
    }

    /// No delta goes on from any of them.
    pub(super) fn forget_states(&mut self) {
        for (_, base) in &mut self.0 {
            *base = None;
        }
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
            pending.remember(*id, Some(base.clone()));
        }
        assert_eq!((pending.0.len(), pending.0.iter().flat_map(|(_, base)| base).count()), (COMMITS, STATES));
        assert!(ids[..COMMITS / 2 - 1].iter().chain(&ids[5000 - COMMITS / 2..]).all(|id| pending.has(*id)));
        assert!(
            matches!(pending.take(ids[4999]), Some(Some(_))) && matches!(pending.take(ids[0]), Some(None))
        );
        assert!(pending.take(ids[0]).is_none() && pending.take(ids[2500]).is_none());
    }
}
