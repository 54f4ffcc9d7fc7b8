//! A bar for long work on a terminal; nothing elsewhere.

use futures_util::TryStreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use persist::Body;

use crate::output::Output;

/// Draws itself while bytes pass, from the second second on.
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    /// `total` bytes, if that is known.
    pub(crate) fn new(output: &Output, total: Option<u64>) -> Self {
        Progress(output.interactive().then(|| {
            let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
            let form = match total {
                Some(_) => {
                    "{wide_bar} {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta}"
                }
                None => "{spinner} {decimal_bytes}, {decimal_bytes_per_sec}",
            };
            if let Ok(style) = ProgressStyle::with_template(form) {
                bar.set_style(style);
            }
            bar
        }))
    }

    pub(crate) fn add(&self, bytes: usize) {
        if let Some(bar) = &self.0 {
            // Short work is over before a bar helps anyone.
            if bar.elapsed().as_secs() >= 1 {
                bar.inc(bytes as u64)
            } else {
                bar.set_position(bar.position() + bytes as u64)
            }
        }
    }

    /// The body, counted; as it is where there is no bar, so that nothing is lost on the way.
    pub(crate) fn watch(&self, body: Body) -> Body {
        let Some(bar) = self.0.clone() else { return body };
        let len = body.len();
        let counted = Body::from_stream(body.inspect_ok(move |chunk| bar.inc(chunk.len() as u64)));
        match len {
            Some(len) => counted.with_len(len),
            None => counted,
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
