//! A bar for long work on a terminal; nothing elsewhere.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{TryStreamExt, stream::BoxStream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use persist::{
    Body, Capabilities, DeleteOptions, GetOptions, Key, ListEntry, ListOptions, Object, ObjectMeta,
    PutOptions, SnapshotAdapter, Tier,
};

/// Short work is over before a bar helps anyone.
const LONG: Duration = Duration::from_secs(1);

/// The bar of this command, for lines that are printed meanwhile.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Prints something with the bar out of the way.
pub(crate) fn beside<T>(print: impl FnOnce() -> T) -> T {
    let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match bar {
        Some(bar) => bar.suspend(print),
        None => print(),
    }
}

/// Counts bytes as they pass, and draws itself once the work has proved long.
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    /// A bar if somebody watches.
    pub(crate) fn new(interactive: bool) -> Self {
        let bar = || ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let bar = interactive.then(bar);
        BAR.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&bar);
        Progress(bar)
    }

    /// So many bytes are to come, if that is known.
    pub(crate) fn expect(&self, bytes: Option<u64>) {
        if let Some(bar) = &self.0 {
            expect(bar, bytes);
        }
    }

    /// `body`, counted.
    pub(crate) fn watch(&self, body: Body) -> Body {
        match &self.0 {
            Some(bar) => counted(body, bar.clone()),
            // As it is, so that nothing is lost on the way.
            None => body,
        }
    }

    /// `store`, with what is read from it counted: the bytes that are stored, whoever decodes them.
    pub(crate) fn over(&self, store: Arc<dyn SnapshotAdapter>) -> Arc<dyn SnapshotAdapter> {
        match &self.0 {
            Some(bar) => Arc::new(Watched { store, bar: bar.clone(), known: true }),
            None => store,
        }
    }

    /// `store`, with what is read and written counted, where nobody knows how much is to come: that of the
    /// objects which are open is always almost done.
    pub(crate) fn counting(&self, store: Arc<dyn SnapshotAdapter>) -> Arc<dyn SnapshotAdapter> {
        match &self.0 {
            Some(bar) => Arc::new(Watched { store, bar: bar.clone(), known: false }),
            None => store,
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            *BAR.lock().unwrap_or_else(PoisonError::into_inner) = None;
            bar.finish_and_clear();
        }
    }
}

/// Adds to what is still to come, where that is known.
fn expect(bar: &ProgressBar, bytes: Option<u64>) {
    let Some(bytes) = bytes else { return };
    bar.set_length(bar.length().unwrap_or_default() + bytes);
}

fn counted(body: Body, bar: ProgressBar) -> Body {
    let len = body.len();
    let counted = Body::from_stream(body.inspect_ok(move |chunk| {
        bar.inc(chunk.len() as u64);
        if bar.is_hidden() && bar.elapsed() > LONG {
            let form = match bar.length() {
                Some(_) => {
                    "{wide_bar} {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta}"
                }
                None => "{spinner} {decimal_bytes}, {decimal_bytes_per_sec}",
            };
            bar.set_style(ProgressStyle::with_template(form).unwrap_or(ProgressStyle::default_bar()));
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }));
    match len {
        Some(len) => counted.with_len(len),
        None => counted,
    }
}

/// A storage of which every read is counted.
#[derive(Debug)]
struct Watched {
    store: Arc<dyn SnapshotAdapter>,
    bar: ProgressBar,
    /// Whether the sizes of what is read are all that is to come. Else writes are counted as well.
    known: bool,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl SnapshotAdapter for Watched {
    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    async fn put(&self, key: &Key, body: Body, options: PutOptions) -> persist::Result<ObjectMeta> {
        let in_memory = body.in_memory().map(|bytes| bytes.len() as u64);
        let body = match in_memory {
            _ if self.known => body,
            // As it is: adapters send it in one request, and give it time by its length.
            Some(len) => {
                self.bar.inc(len);
                body
            }
            None => counted(body, self.bar.clone()),
        };
        self.store.put(key, body, options).await
    }

    async fn get(&self, key: &Key, options: GetOptions) -> persist::Result<Object> {
        let whole = options.range.is_none();
        let mut object = self.store.get(key, options).await?;
        // Ranges are parts of an object whose size was added when it was opened.
        expect(&self.bar, (self.known && whole).then_some(object.meta.size));
        object.body = counted(object.body, self.bar.clone());
        Ok(object)
    }

    async fn head(&self, key: &Key) -> persist::Result<ObjectMeta> {
        self.store.head(key).await
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> persist::Result<()> {
        self.store.delete(key, options).await
    }

    fn list(&self, options: ListOptions) -> BoxStream<'_, persist::Result<ListEntry>> {
        self.store.list(options)
    }

    async fn set_tier(&self, key: &Key, tier: Tier) -> persist::Result<()> {
        self.store.set_tier(key, tier).await
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
