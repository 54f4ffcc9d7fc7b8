//! Which earlier state a delta starts from, so that no state is far from its keyframe: `docs/adr/0009-skip-deltas.md`.

/// Every `RADIX`th delta starts `RADIX` steps back, every `RADIX`²th `RADIX`² steps back, and so on.
const RADIX: u64 = 12;

/// The base of the state that stands `number` steps behind its keyframe; the keyframe is 0 and has none.
pub(crate) fn base_of(number: u64) -> Option<u64> {
    let mut step = 1;
    while number > 0 && (number / step).is_multiple_of(RADIX) {
        step *= RADIX;
    }
    number.checked_sub(step)
}
