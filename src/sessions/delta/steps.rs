//! Which earlier state a delta starts from, so that no state is far from its keyframe and no change is
//! written often: `docs/adr/0009-skip-deltas.md`.

/// The most deltas between a state and its keyframe.
pub(crate) const MAX_CHAIN: usize = 62;
/// The first groups have as many steps; later ones three tenths of all the steps before them.
const FIRST_GROUP: u64 = 36;

/// The base of the state that is `number` steps away from its keyframe, which is number 0. `None` where a
/// keyframe must be written: at 0, and beyond the last number that [`MAX_CHAIN`] deltas reach, which is a
/// little more than 20,000.
///
/// Steps form groups, and the steps of a group form parts. The last step of a group starts from the last one
/// of the group before, the last step of a part from the last one of the part before, every other step from
/// the step before. A change is thus written three times at most: alone, with its part, and with its group.
pub(crate) fn base_of(number: u64) -> Option<u64> {
    let (mut group, mut room) = (0, MAX_CHAIN as u64);
    while number > 0 && room > 0 {
        let size = (group * 3 / 10).max(FIRST_GROUP);
        // Somewhat longer than the square root: fewer parts than steps in a part.
        let steps = (size * 3 / 2).isqrt();
        let (mut part, mut left) = (group, room);
        let group_end = loop {
            // As the room gets less, parts and groups get shorter.
            let end = (part + steps.min(left)).min(group + size);
            let is_last = end == group + size || left == 1;
            match number.cmp(&end) {
                std::cmp::Ordering::Less => return Some(number - 1),
                std::cmp::Ordering::Equal => return Some(if is_last { group } else { part }),
                std::cmp::Ordering::Greater if is_last => break end,
                std::cmp::Ordering::Greater => (part, left) = (end, left - 1),
            }
        };
        (group, room) = (group_end, room - 1);
    }
    None
}

#[cfg(test)]
#[path = "steps_tests.rs"]
mod tests;
