//! A state as pieces of a keyframe and of the bytes that its deltas insert.

use bytes::Bytes;
use flate2::Decompress;

use super::Delta;
use crate::{Error, ErrorKind, Limits, Result};

/// Pieces that are on average shorter than this are not worth keeping apart: they would take more memory than the state.
const MIN_PIECE: usize = 64;
/// As many pieces as this are never too many.
const FEW_PIECES: usize = 4096;

/// The state at the end of `chain`, oldest delta first, which begins at `keyframe`. The state's bytes are copied once.
///
/// # Errors
/// `Corrupt` for deltas that do not belong to each other or do not inflate; `InvalidInput` when a state is larger than
/// `limits` allow for the bytes that it is made from.
pub(crate) fn materialize(keyframe: Bytes, chain: &[Delta], limits: &Limits) -> Result<Bytes> {
    let mut stored = keyframe.len() as u64;
    let mut state = Pieces::whole(keyframe);
    let mut inflate = Decompress::new(false);
    for delta in chain {
        stored += delta.stored_len() as u64;
        limits.check(stored, delta.copies().new_len as u64)?;
        if state.shatters(delta) {
            state = Pieces::whole(state.concat());
        }
        state = state.apply(delta, &mut inflate)?;
    }
    Ok(state.concat())
}

/// A state: pieces of `sources` one behind the other.
struct Pieces {
    sources: Vec<Bytes>,
    pieces: Vec<Piece>,
    len: usize,
}

#[derive(Clone, Copy)]
struct Piece {
    /// Where the piece stands in the state.
    to: usize,
    len: usize,
    source: usize,
    from: usize,
}

impl Pieces {
    fn whole(state: Bytes) -> Self {
        let mut whole = Pieces { len: 0, pieces: Vec::new(), sources: vec![state] };
        whole.push(0, 0, whole.sources[0].len());
        whole
    }

    fn push(&mut self, source: usize, from: usize, len: usize) {
        match self.pieces.last_mut() {
            _ if len == 0 => {}
            Some(last) if last.source == source && last.from + last.len == from => last.len += len,
            _ => self.pieces.push(Piece { to: self.len, len, source, from }),
        }
        self.len += len;
    }

    /// Calls `each` with the pieces of the state's bytes `from..from + len`.
    fn range(&self, from: usize, len: usize, mut each: impl FnMut(Piece)) {
        let end = from + len;
        let first = self.pieces.partition_point(|piece| piece.to + piece.len <= from);
        for piece in self.pieces[first..].iter().take_while(|piece| piece.to < end) {
            let (start, stop) = (piece.to.max(from), (piece.to + piece.len).min(end));
            each(Piece {
                to: start,
                len: stop - start,
                source: piece.source,
                from: piece.from + (start - piece.to),
            });
        }
    }

    fn bytes(&self, piece: Piece) -> &[u8] {
        &self.sources[piece.source][piece.from..piece.from + piece.len]
    }

    /// The bytes that `delta`'s deflate stream expects in front of it.
    fn dictionary(&self, delta: &Delta) -> Vec<u8> {
        let mut out = Vec::new();
        for run in delta.dictionary() {
            self.range(run.from, run.len, |piece| out.extend_from_slice(self.bytes(piece)));
        }
        out
    }

    /// Whether `delta`, which may copy the same pieces many times, makes so many of them that the state is better put together first.
    fn shatters(&self, delta: &Delta) -> bool {
        let index = |at: usize| self.pieces.partition_point(|piece| piece.to + piece.len <= at);
        let runs = delta.copies().runs();
        let count = runs.iter().fold(runs.len(), |count, run| {
            count.saturating_add(index(run.from + run.len - 1) - index(run.from) + 1)
        });
        count > FEW_PIECES && delta.copies().new_len / count < MIN_PIECE
    }

    fn apply(mut self, delta: &Delta, inflate: &mut Decompress) -> Result<Pieces> {
        let copies = delta.copies();
        if copies.base_len != self.len {
            let (want, have) = (copies.base_len, self.len);
            let message = format!("the delta is for a base of {want} bytes, this one has {have}");
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        let inserted = delta.inserted(&self.dictionary(delta), inflate)?;
        let mut next = Pieces { sources: std::mem::take(&mut self.sources), pieces: Vec::new(), len: 0 };
        let source = next.sources.len();
        next.sources.push(inserted);
        let mut used = 0;
        for run in copies.runs() {
            let gap = run.to - next.len;
            next.push(source, used, gap);
            used += gap;
            self.range(run.from, run.len, |piece| next.push(piece.source, piece.from, piece.len));
        }
        next.push(source, used, copies.new_len - next.len);
        Ok(next)
    }

    fn concat(self) -> Bytes {
        if let [only] = self.pieces[..] {
            return self.sources[only.source].slice(only.from..only.from + only.len);
        }
        let mut out = Vec::with_capacity(self.len);
        self.pieces.iter().for_each(|&piece| out.extend_from_slice(self.bytes(piece)));
        out.into()
    }
}
