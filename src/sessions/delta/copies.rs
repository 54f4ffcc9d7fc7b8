//! Which bytes of a new state are bytes of its base.

/// `len` bytes that stand at `from` in the base and at `to` in the new state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) len: usize,
}

/// The runs of a new state that are copies from its base, in the order of the new state and without overlap;
/// every other byte of the new state is new. Holds no bytes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Copies {
    pub(crate) base_len: usize,
    pub(crate) new_len: usize,
    runs: Vec<Run>,
}

impl Copies {
    /// Nothing copied yet.
    pub(crate) fn none(base_len: usize, new_len: usize) -> Self {
        Copies { base_len, new_len, runs: Vec::new() }
    }

    /// The runs.
    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// How many bytes of the new state are not copied.
    pub(crate) fn inserted(&self) -> usize {
        self.new_len - self.runs.iter().map(|run| run.len).sum::<usize>()
    }

    /// Adds a run behind the last one; joins the two where they are one.
    pub(crate) fn push(&mut self, run: Run) {
        match self.runs.last_mut() {
            _ if run.len == 0 => {}
            Some(last) if last.from + last.len == run.from && last.to + last.len == run.to => {
                last.len += run.len
            }
            _ => self.runs.push(run),
        }
    }

    /// The runs of the last `len` copied bytes, or of all where there are fewer.
    pub(crate) fn tail(&self, len: usize) -> impl Iterator<Item = Run> {
        let mut skip = (self.new_len - self.inserted()).saturating_sub(len);
        let first = self.runs.iter().position(|run| {
            let inside = run.len > skip;
            skip -= if inside { 0 } else { run.len };
            inside
        });
        let rest = &self.runs[first.unwrap_or(self.runs.len())..];
        rest.iter().enumerate().map(move |(index, run)| {
            let cut = if index == 0 { skip } else { 0 };
            Run { from: run.from + cut, to: run.to + cut, len: run.len - cut }
        })
    }

    /// The ranges of the new state between the runs.
    pub(crate) fn gaps(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let ends = std::iter::once(0).chain(self.runs.iter().map(|run| run.to + run.len));
        let starts = self.runs.iter().map(|run| run.to).chain(std::iter::once(self.new_len));
        ends.zip(starts).map(|(end, start)| end..start).filter(|gap| !gap.is_empty())
    }

    /// What is still a copy of this base after the next step: base to middle, then middle to new, is base to
    /// new.
    pub(crate) fn then(&self, next: &Copies) -> Copies {
        let mut both = Copies::none(self.base_len, next.new_len);
        for want in &next.runs {
            let end = want.from + want.len;
            let first = self.runs.partition_point(|run| run.to + run.len <= want.from);
            for run in self.runs[first..].iter().take_while(|run| run.to < end) {
                let (start, stop) = (run.to.max(want.from), (run.to + run.len).min(end));
                both.push(Run {
                    from: run.from + (start - run.to),
                    to: want.to + (start - want.from),
                    len: stop - start,
                });
            }
        }
        both
    }
}
