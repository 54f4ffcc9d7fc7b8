//! A strict server behind a proxy, and an adapter for it.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use persist::{
    Body, ErrorKind, GetOptions, Key, ListOptions, PutOptions, Result, RetryConfig, S3Config,
    SnapshotAdapter, adapters::s3::S3Adapter,
};

use crate::support::{
    Seeded,
    proxy::{Fault, Proxy},
    s3::quick,
    s3_server::StrictServer,
};

pub(crate) struct Bench {
    pub(crate) strict: StrictServer,
    pub(crate) proxy: Proxy,
    pub(crate) adapter: S3Adapter,
}

impl Bench {
    pub(crate) async fn new() -> Bench {
        Bench::with(&quick()).await
    }

    pub(crate) async fn with(retry: &RetryConfig) -> Bench {
        Bench::changed(retry, |_| {}).await
    }

    /// With a limit for silence that tests can wait for.
    pub(crate) async fn waiting(retry: &RetryConfig, limit: Duration) -> Bench {
        let change = |config: &mut S3Config| {
            (config.read_timeout, config.attempt_timeout) = (Some(limit), Some(limit));
        };
        Bench::changed(retry, change).await
    }

    pub(crate) async fn changed(retry: &RetryConfig, change: impl FnOnce(&mut S3Config)) -> Bench {
        let strict = StrictServer::start().await;
        let proxy = Proxy::start(&strict.server.endpoint).await;
        let mut server = strict.server.behind(proxy.url());
        change(&mut server.config);
        let adapter = server.open_with(retry).await;
        proxy.clear(); // the probe's requests
        Bench { strict, proxy, adapter }
    }

    pub(crate) async fn put(
        &self,
        name: &str,
        bytes: &bytes::Bytes,
        options: PutOptions,
    ) -> Result<persist::ObjectMeta> {
        self.adapter.put(&key(name), Body::from(bytes.clone()), options).await
    }

    pub(crate) async fn read(&self, name: &str) -> Result<bytes::Bytes> {
        self.adapter.get(&key(name), GetOptions::new()).await?.body.collect(u64::MAX).await
    }

    pub(crate) async fn names(&self, options: ListOptions) -> Result<Vec<String>> {
        use futures_util::TryStreamExt;
        self.adapter.list(options).map_ok(|entry| entry.name().to_string()).try_collect().await
    }

    /// No unfinished upload is left on the server.
    pub(crate) fn is_clean(&self) -> bool {
        self.strict.store().uploads.is_empty()
    }

    /// Waits for what the test itself makes come.
    pub(crate) async fn until(&self, come: impl Fn(&Bench) -> bool + Send + Sync) {
        let wait = async {
            while !come(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait).await.expect("it never came");
    }

    /// Waits until no unfinished upload is left, which happens in the background.
    pub(crate) async fn cleaned(&self) {
        self.until(Bench::is_clean).await;
    }

    /// What is stored, read past the proxy.
    pub(crate) fn stored(&self, name: &str) -> Option<bytes::Bytes> {
        self.strict.store().objects.get(name).map(|object| object.bytes.clone())
    }
}

pub(crate) fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

/// A refusal with this code of S3's.
pub(crate) fn answer(status: u16, code: &str) -> Fault {
    Fault::answer_with(status, &[], &format!("<Error><Code>{code}</Code><Message>scripted</Message></Error>"))
}

/// Bytes that only the seed decides, made once.
pub(crate) fn noise(seed: u64, len: usize) -> bytes::Bytes {
    static MADE: Mutex<BTreeMap<(u64, usize), bytes::Bytes>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap();
    made.entry((seed, len)).or_insert_with(|| Seeded(seed).bytes(len)).clone()
}

/// The kind of an error.
pub(crate) fn kind<T>(result: Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("it worked"),
        Err(error) => error.kind(),
    }
}
