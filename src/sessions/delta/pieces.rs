//! A state as pieces of a keyframe and of the bytes that its deltas insert.

use bytes::Bytes;
use flate2::Decompress;

use super::{Copies, Delta};
use crate::{Error, ErrorKind, Limits, Result, codec::idle};

/// Pieces that are on average shorter than this are not worth keeping apart: they would take more memory than
/// the state.
const MIN_PIECE: usize = 64;
/// As many pieces as this are never too many.
const FEW_PIECES: usize = 4096;

/// The state at the end of `chain`, oldest delta first, which begins at `keyframe`. The state's bytes are
/// copied once. `stored` is how many bytes were read for all of them.
///
/// # Errors
/// `Corrupt` for deltas that do not belong to each other or do not inflate; `InvalidInput` when a state is
/// larger than `limits` allow for the bytes that it is made from.
pub(crate) fn materialize(keyframe: Bytes, chain: &[Delta], stored: u64, limits: &Limits) -> Result<Bytes> {
    // Never less than what a writer counts, or a state that was saved would not load.
    let paid = stored.saturating_add(keyframe.len() as u64);
    let mut state = Pieces::whole(keyframe);
    let mut inflate = idle::decompressor();
    for delta in chain {
        limits.check(paid, delta.copies().new_len as u64)?;
        state = state.apply(delta, &mut inflate)?;
    }
    idle::keep_decompressor(inflate);
    Ok(state.concat())
}

/// A state: pieces of `sources` one behind the other.
struct Pieces {
    sources: Vec<Bytes>,
    list: List,
}

#[derive(Default)]
struct List {
    pieces: Vec<Piece>,
    len: usize,
}

/// `len` bytes at `from` of a source, which stand at `to` of the state.
#[derive(Clone, Copy)]
struct Piece {
    to: usize,
    len: usize,
    source: usize,
    from: usize,
}

impl Pieces {
    fn whole(state: Bytes) -> Self {
        let mut list = List::default();
        list.push(0, 0, state.len());
        Pieces { sources: vec![state], list }
    }

    /// The state after `delta`.
    fn apply(mut self, delta: &Delta, inflate: &mut Decompress) -> Result<Pieces> {
        let copies = delta.copies();
        if copies.base_len != self.list.len {
            let (want, have) = (copies.base_len, self.list.len);
            let message = format!("the delta is for a base of {want} bytes, this one has {have}");
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        let inserted = delta.inserted(&self.dictionary(delta), inflate)?;
        let list = match self.list.cut(copies, self.sources.len(), FEW_PIECES.max(copies.new_len / MIN_PIECE))
        {
            Some(list) => list,
            None => {
                self = Pieces::whole(self.concat());
                self.list.cut(copies, 1, usize::MAX).unwrap_or_default()
            }
        };
        self.sources.push(inserted);
        Ok(Pieces { sources: self.sources, list })
    }

    /// The bytes that `delta`'s deflate stream expects in front of it.
    fn dictionary(&self, delta: &Delta) -> Vec<u8> {
        let (mut out, mut near) = (Vec::new(), 0);
        for run in delta.dictionary() {
            self.list.range(run.from, run.len, &mut near, |piece| out.extend_from_slice(self.bytes(piece)));
        }
        out
    }

    fn bytes(&self, piece: Piece) -> &[u8] {
        &self.sources[piece.source][piece.from..piece.from + piece.len]
    }

    fn concat(self) -> Bytes {
        if let [only] = self.list.pieces[..] {
            return self.sources[only.source].slice(only.from..only.from + only.len);
        }
        let mut out = Vec::with_capacity(self.list.len);
        self.list.pieces.iter().for_each(|&piece| out.extend_from_slice(self.bytes(piece)));
        out.into()
    }
}

impl List {
    fn push(&mut self, source: usize, from: usize, len: usize) {
        match self.pieces.last_mut() {
            _ if len == 0 => {}
            Some(last) if last.source == source && last.from + last.len == from => last.len += len,
            _ => self.pieces.push(Piece { to: self.len, len, source, from }),
        }
        self.len += len;
    }

    /// The pieces of the next state, of which `source` holds the inserted bytes. `None` for many more than
    /// `most`: a delta may copy the same pieces again and again, and the state is then better put together
    /// first.
    fn cut(&self, copies: &Copies, source: usize, most: usize) -> Option<List> {
        let mut next = List { pieces: Vec::with_capacity(self.pieces.len()), len: 0 };
        let (mut used, mut near) = (0, 0);
        for run in copies.runs() {
            let gap = run.to - next.len;
            next.push(source, used, gap);
            used += gap;
            self.range(run.from, run.len, &mut near, |piece| next.push(piece.source, piece.from, piece.len));
            if next.pieces.len() > most {
                return None;
            }
        }
        next.push(source, used, copies.new_len - next.len);
        Some(next)
    }

    /// Calls `each` with the pieces of the state's bytes `from..from + len`. `near` is where the last such
    /// range ended: the next one mostly begins there or a few pieces on.
    fn range(&self, from: usize, len: usize, near: &mut usize, mut each: impl FnMut(Piece)) {
        let ends_before = |piece: &Piece| piece.to + piece.len <= from;
        let ahead = self.pieces[*near..].iter().take(8).take_while(|piece| ends_before(piece)).count();
        let mut at = *near + ahead;
        if ahead == 8 || self.pieces.get(at).is_some_and(|piece| piece.to > from) {
            at = self.pieces.partition_point(ends_before);
        }
        let end = from + len;
        while let Some(piece) = self.pieces.get(at).filter(|piece| piece.to < end) {
            let (start, stop) = (piece.to.max(from), (piece.to + piece.len).min(end));
            each(Piece {
                to: start,
                len: stop - start,
                source: piece.source,
                from: piece.from + (start - piece.to),
            });
            at += 1;
        }
        // The piece in which this range ends may go on.
        *near = at.saturating_sub(1);
    }
}
