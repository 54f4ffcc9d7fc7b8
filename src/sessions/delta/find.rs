//! Finds what two states have in common.
//!
//! Blocks of the base go into a hash table; the new state is looked up at every byte that no run covers yet,
//! and a hit is extended byte by byte in both directions. The cost is one comparison of the states at the
//! speed of memory, a table of at most [`MAX_BLOCKS`] entries, and a few cycles for each byte that is new.

use super::copies::{Copies, Run};

/// The bytes of a block that are hashed.
const BLOCK: usize = 16;
/// Blocks are so far apart at least: two of them fit well into the shortest run.
const MIN_STRIDE: usize = 32;
/// The shortest run that is worth a copy: shorter repeats are left to deflate, which stores them in fewer
/// bytes and gives them back faster.
const MIN_RUN: usize = 128;
/// The most blocks of a base in the table, which then fits the processor's cache. Bases beyond 1 MiB are
/// sampled more sparsely.
const MAX_BLOCKS: usize = 1 << 16;

impl Copies {
    /// The runs of `new` that are copies from `base`.
    pub(crate) fn find(base: &[u8], new: &[u8]) -> Copies {
        let mut found = Copies::none(base.len(), new.len());
        let prefix = common_prefix(base, new);
        let suffix = common_suffix(&base[prefix..], &new[prefix..]);
        found.push(Run { from: 0, to: 0, len: prefix });
        let middle_end = new.len() - suffix;
        if middle_end - prefix >= MIN_RUN && base.len() >= BLOCK {
            search(base, &new[..middle_end], prefix, &mut found);
        }
        found.push(Run { from: base.len() - suffix, to: middle_end, len: suffix });
        found
    }
}

/// Adds the runs of `new[start..]`.
fn search(base: &[u8], new: &[u8], start: usize, found: &mut Copies) {
    let table = Table::of(base);
    // `at` is looked up next, all before `done` is covered, `shift` is where the last run would go on in the
    // base.
    let (mut at, mut done, mut shift) = (start, start, 0isize);
    while let Some(block) = new.get(at..at + BLOCK) {
        let in_line = at.checked_add_signed(shift);
        let best = [table.get(block), in_line]
            .into_iter()
            .flatten()
            .filter(|&from| base.get(from..from + BLOCK) == Some(block))
            .map(|from| extend(base, from, new, at, done))
            .max_by_key(|run| run.len);
        match best {
            Some(run) if run.len >= MIN_RUN => {
                found.push(run);
                done = run.to + run.len;
                at = done;
                shift = run.from as isize - run.to as isize;
            }
            // What is too short here is too short at its next bytes.
            Some(run) => at = (at + 1).max(run.to + run.len - BLOCK + 1),
            None => at += 1,
        }
    }
}

/// The longest run through the block at `from` and `at` that begins at or after `done` in the new state.
fn extend(base: &[u8], from: usize, new: &[u8], at: usize, done: usize) -> Run {
    let back = common_suffix(&base[..from], &new[done..at]);
    let ahead = common_prefix(&base[from..], &new[at..]);
    Run { from: from - back, to: at - back, len: back + ahead }
}

/// The blocks of a base by their hash. Of equal blocks the last one stays.
struct Table {
    stride: usize,
    shift: u32,
    /// The number of the block plus one; zero is an empty slot.
    slots: Vec<u32>,
}

impl Table {
    fn of(base: &[u8]) -> Self {
        let stride = base.len().div_ceil(MAX_BLOCKS).next_power_of_two().max(MIN_STRIDE);
        let blocks = base.len() / stride + 1;
        let bits = (blocks * 2).next_power_of_two().trailing_zeros();
        let mut table = Table { stride, shift: u64::BITS - bits, slots: vec![0; 1 << bits] };
        for (number, from) in (0..=base.len() - BLOCK).step_by(stride).enumerate() {
            let slot = table.slot(&base[from..from + BLOCK]);
            table.slots[slot] = number as u32 + 1;
        }
        table
    }

    fn get(&self, block: &[u8]) -> Option<usize> {
        let number = self.slots[self.slot(block)].checked_sub(1)?;
        Some(number as usize * self.stride)
    }

    /// Two multiplications by odd constants; the top bits of their sum depend on all 16 bytes.
    fn slot(&self, block: &[u8]) -> usize {
        let word = |at: usize| block[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let (low, high) =
            (word(0).wrapping_mul(0x9e37_79b9_7f4a_7c15), word(8).wrapping_mul(0xc2b2_ae3d_27d4_eb4f));
        let mixed = (low ^ (low >> 32)).wrapping_add(high ^ (high >> 29)).wrapping_mul(0x1656_67b1_9e37_79f9);
        (mixed >> self.shift) as usize
    }
}

/// How many bytes `a` and `b` begin with in common.
fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    const STEP: usize = 64;
    let steps = a.chunks_exact(STEP).zip(b.chunks_exact(STEP)).take_while(|(a, b)| a == b).count();
    let rest = a[steps * STEP..].iter().zip(&b[steps * STEP..]).take_while(|(a, b)| a == b).count();
    steps * STEP + rest
}

/// How many bytes `a` and `b` end with in common.
fn common_suffix(a: &[u8], b: &[u8]) -> usize {
    const STEP: usize = 64;
    let steps = a.rchunks_exact(STEP).zip(b.rchunks_exact(STEP)).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[..a.len() - steps * STEP], &b[..b.len() - steps * STEP]);
    steps * STEP + a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}
