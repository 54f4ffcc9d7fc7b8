#![allow(clippy::unwrap_used)]

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use futures_util::{StreamExt, stream};
use tracing::Level;

use super::Observe;
use crate::{
    Body, GetOptions, Key, ListOptions, PutOptions, SnapshotAdapter,
    adapters::memory::MemoryAdapter,
    layers::{Fault, Injection, Operation},
};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What is logged at `level` while each kind of outcome happens once.
fn logged(level: Level) -> String {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .without_time()
        .with_writer(move || writer.clone())
        .finish();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    tracing::subscriber::with_default(subscriber, || runtime.block_on(happen()));
    String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
}

async fn happen() {
    let fault = Fault::new(Arc::new(MemoryAdapter::new()));
    let store = Observe::new(Arc::new(fault.clone()), "memory");
    let key = Key::new("users/user@example.com").unwrap();
    let body = Body::from_stream(stream::iter([Ok("the ".into()), Ok("secret".into())]));
    store.put(&key, body, PutOptions::new()).await.unwrap();
    fault.inject(Operation::Put, Injection::Before(crate::ErrorKind::Unavailable));
    store.put(&key, Body::from("x"), PutOptions::new()).await.unwrap_err();
    fault.inject(Operation::Get, Injection::CutAfter(3));
    let mut body = store.get(&key, GetOptions::new()).await.unwrap().body;
    while let Ok(Some(_)) = body.chunk().await {}
    assert_eq!(store.list(ListOptions::new()).count().await, 1);
    store.head(&Key::new("missing").unwrap()).await.unwrap_err();
    drop(store.get(&key, GetOptions::new()));
    store.delete(&key, Default::default()).await.unwrap();
}

#[test]
fn at_info_writes_and_failures_are_logged_without_ids() {
    let log = logged(Level::INFO);
    let pseudonym = Key::new("users/user@example.com").unwrap().pseudonym();
    assert!(!log.contains("user@example.com") && !log.contains("secret"), "{log}");
    let lines: Vec<&str> = log.lines().collect();
    let has = |words: &[&str]| lines.iter().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(
        has(&[
            "INFO",
            "operation=\"put\"",
            "backend=\"memory\"",
            "bytes=10",
            "duration_ms=",
            "outcome=\"ok\"",
            &pseudonym
        ]),
        "{log}"
    );
    assert!(has(&["WARN", "operation=\"put\"", "outcome=\"unavailable\""]), "{log}");
    assert!(has(&["WARN", "operation=\"read\"", "bytes=3", "outcome=\"unavailable\""]), "{log}");
    assert!(has(&["INFO", "operation=\"delete\""]), "{log}");
    assert!(!has(&["operation=\"head\""]) && !has(&["operation=\"list\""]), "reads are for DEBUG: {log}");
}

#[test]
fn at_debug_reads_and_keys_are_logged_too() {
    let log = logged(Level::DEBUG);
    assert!(log.contains("key=\"users/user@example.com\"") && !log.contains("secret"), "{log}");
    for line in ["operation=\"head\"", "outcome=\"not_found\"", "operation=\"list\"", "operation=\"get\""] {
        assert!(log.contains(line), "no {line}: {log}");
    }
}

#[cfg(feature = "metrics")]
#[test]
fn metrics_count_operations_bytes_and_time() {
    use metrics::{Counter, Gauge, Histogram, KeyName, Metadata, Recorder, SharedString, Unit};

    #[derive(Default)]
    struct Names(Mutex<Vec<String>>);
    impl Names {
        fn note(&self, key: &metrics::Key) {
            let labels: Vec<_> =
                key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            self.0.lock().unwrap().push(format!("{} {}", key.name(), labels.join(" ")));
        }
    }
    impl Recorder for Names {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &metrics::Key, _: &Metadata<'_>) -> Counter {
            self.note(key);
            Counter::noop()
        }
        fn register_gauge(&self, _: &metrics::Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }
        fn register_histogram(&self, key: &metrics::Key, _: &Metadata<'_>) -> Histogram {
            self.note(key);
            Histogram::noop()
        }
    }

    let names = Names::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    metrics::with_local_recorder(&names, || runtime.block_on(happen()));
    let names = names.0.lock().unwrap();
    for name in [
        "persist_operations_total operation=put backend=memory outcome=ok",
        "persist_operations_total operation=put backend=memory outcome=unavailable",
        "persist_operations_total operation=head backend=memory outcome=not_found",
        "persist_bytes_total operation=put backend=memory",
        "persist_operation_seconds operation=list backend=memory",
    ] {
        assert!(names.iter().any(|known| known == name), "no {name} in {names:?}");
    }
}
