//! Which commits a prune keeps by age and number.

use std::{
    collections::BTreeSet,
    ops::RangeInclusive,
    time::{Duration, SystemTime},
};

use crate::{Error, ErrorKind, Result};

/// What to keep. A commit that any rule keeps stays; so do the newest, tagged and forked ones, those younger
/// than the fence window, and what any of them is made of. Ages and days are those of the objects, by the
/// storage's clock; where a history was imported or copied, those of its ids count for hours, days and weeks
/// as well.
///
/// ```
/// use std::time::Duration;
/// use persist::sessions::Retention;
///
/// let keep = Retention::new().last(100).within(Duration::from_secs(7 * 86_400)).daily(30);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct Retention {
    /// The newest commits, so many.
    pub last: u64,
    /// All that are not older, by the storage's clock.
    pub within: Option<Duration>,
    /// The newest of each hour, for so many hours in which there are commits (UTC).
    pub hourly: u64,
    /// The newest of each day, likewise.
    pub daily: u64,
    /// The newest of each week from Monday on, likewise.
    pub weekly: u64,
}

impl Retention {
    /// No rule yet: a prune refuses it as it is.
    pub fn new() -> Self {
        Self::default()
    }

    /// The newest commits, so many.
    pub fn last(mut self, commits: u64) -> Self {
        self.last = commits;
        self
    }

    /// All that are not older.
    pub fn within(mut self, age: Duration) -> Self {
        self.within = Some(age);
        self
    }

    /// The newest of each of so many hours.
    pub fn hourly(mut self, hours: u64) -> Self {
        self.hourly = hours;
        self
    }

    /// The newest of each of so many days.
    pub fn daily(mut self, days: u64) -> Self {
        self.daily = days;
        self
    }

    /// The newest of each of so many weeks.
    pub fn weekly(mut self, weeks: u64) -> Self {
        self.weekly = weeks;
        self
    }

    /// # Errors
    /// `InvalidInput` if there is no rule: that would remove all but the newest, and is more likely a
    /// mistake.
    pub(super) fn check(&self) -> Result<()> {
        if *self == Retention::default() {
            let message =
                "no rule says what to keep; set one, for example the last 1 to keep only the newest";
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        Ok(())
    }

    /// The numbers that the rules keep of these commits, newest first.
    pub(super) fn keep(&self, commits: &[(u64, SystemTime)], now: SystemTime) -> BTreeSet<u64> {
        const HOUR: u64 = 3600;
        let mut kept: BTreeSet<u64> = commits.iter().take(self.last as usize).map(|(seq, _)| *seq).collect();
        if let Some(age) = self.within {
            let is_older = |time: SystemTime| now.duration_since(time).is_ok_and(|since| since > age);
            kept.extend(commits.iter().filter(|(_, time)| !is_older(*time)).map(|(seq, _)| *seq));
        }
        // The first of January 1970 was a Thursday.
        for (count, length, shift) in
            [(self.hourly, HOUR, 0), (self.daily, 24 * HOUR, 0), (self.weekly, 168 * HOUR, 72 * HOUR)]
        {
            // Times may go back and forth: clocks are set, copies are made side by side.
            let mut slots = BTreeSet::new();
            for (seq, time) in commits {
                let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
                if slots.len() as u64 == count {
                    break;
                }
                if slots.insert((seconds + shift) / length) {
                    kept.insert(*seq);
                }
            }
        }
        kept
    }

    /// The most commits that the rules keep at any time. One stays in any case.
    pub(super) fn most(&self) -> u64 {
        let rules = [self.last, self.hourly, self.daily, self.weekly];
        rules.into_iter().fold(0, u64::saturating_add).max(1)
    }

    /// Those that they keep however late it is.
    pub(super) fn keep_at_any_time(&self, commits: &[(u64, SystemTime)]) -> BTreeSet<u64> {
        Retention { within: None, ..*self }.keep(commits, SystemTime::UNIX_EPOCH)
    }

    /// The rules of hours, days and weeks alone.
    pub(super) fn calendar(&self) -> Self {
        Retention { last: 0, within: None, ..*self }
    }

    /// The same rules, with all that are not older than this.
    pub(super) fn within_at_least(&self, age: Duration) -> Self {
        Retention { within: Some(self.within.unwrap_or_default().max(age)), ..*self }
    }

    /// Of the commits that are missing, those that a rule may keep. Their times are not known; they lie
    /// between those of their neighbours.
    pub(super) fn keep_missing(
        &self,
        holes: Vec<RangeInclusive<u64>>,
        commits: &[(u64, SystemTime)],
        now: SystemTime,
    ) -> Vec<RangeInclusive<u64>> {
        let with = |young: bool| {
            let mut all = commits.to_vec();
            all.extend(holes.iter().map(|hole| {
                let at = commits.partition_point(|(seq, _)| seq > hole.end());
                let (newer, older) = (at.checked_sub(1).and_then(|at| commits.get(at)), commits.get(at));
                let time = if young {
                    newer.map_or(now, |(_, time)| *time)
                } else {
                    older.map_or(SystemTime::UNIX_EPOCH, |(_, time)| *time)
                };
                (*hole.end(), time)
            }));
            all.sort_unstable_by_key(|(seq, _)| std::cmp::Reverse(*seq));
            self.keep(&all, now)
        };
        // As young as can be for the rule of age, as old as can be for those of hours, days and weeks.
        let (young, old) = (with(true), with(false));
        holes.into_iter().filter(|hole| young.contains(hole.end()) || old.contains(hole.end())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(hours * 3600)
    }

    #[test]
    fn each_rule_keeps_its_own() {
        // A commit every six hours, from Monday 1970-01-05 on, for four weeks.
        let commits: Vec<(u64, SystemTime)> = (0..112).rev().map(|n| (n + 1, at(96 + n * 6))).collect();
        let now = at(96 + 112 * 6);
        let kept = |policy: Retention| policy.keep(&commits, now).into_iter().rev().collect::<Vec<_>>();
        assert_eq!(kept(Retention::new().last(3)), [112, 111, 110]);
        assert_eq!(kept(Retention::new().last(1000)).len(), 112);
        assert_eq!(kept(Retention::new().within(Duration::from_secs(13 * 3600))), [112, 111]);
        assert_eq!(kept(Retention::new().hourly(2)), [112, 111]);
        assert_eq!(kept(Retention::new().daily(3)), [112, 108, 104]);
        assert_eq!(kept(Retention::new().weekly(9)), [112, 84, 56, 28]);
        assert_eq!(kept(Retention::new().last(1).daily(2).weekly(2)), [112, 108, 84]);
        // A clock was set back for a while: two days are two days.
        let mixed = [(5, at(50)), (4, at(26)), (3, at(49)), (2, at(25)), (1, at(1))];
        assert_eq!(Retention::new().daily(3).keep(&mixed, now).into_iter().collect::<Vec<_>>(), [1, 4, 5]);
        let much = Retention::new().last(2).within(Duration::MAX).daily(2).weekly(1);
        assert_eq!(much.most(), 5);
        assert_eq!(much.keep_at_any_time(&commits).into_iter().rev().collect::<Vec<_>>(), [112, 111, 108]);
        assert_eq!(Retention::new().within(Duration::MAX).most(), 1);
        assert_eq!(Retention::new().last(u64::MAX).daily(1).most(), u64::MAX);
        assert!(Retention::new().check().is_err() && Retention::new().last(1).check().is_ok());
    }
}
