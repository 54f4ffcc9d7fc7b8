//! How many requests each operation makes.

use std::time::Duration;

use persist::{ListOptions, PutOptions, SnapshotAdapter, SnapshotAdapterExt};

use crate::{
    bench::{Bench, key, noise},
    support::{
        proxy::{Fault, Proxy},
        s3::LARGE,
        s3_server::StrictServer,
    },
};

#[tokio::test]
async fn small_objects_take_one_request_each_way() {
    let bench = Bench::new().await;
    let state = noise(1, 8 << 10);
    let mut steps = vec![];
    let mut count = |what: &str| {
        steps.push(format!("{what}: {}", bench.proxy.count("", "")));
        bench.proxy.clear();
    };
    bench.adapter.save(state.clone(), "a/state.gz").await.unwrap();
    count("save");
    bench.put("a/created", &state, PutOptions::new().create()).await.unwrap();
    count("create");
    let version = bench.put("a/created", &state, PutOptions::new()).await.unwrap().version;
    count("overwrite");
    bench.put("a/created", &noise(2, 10), PutOptions::new().replace(version)).await.unwrap();
    count("replace");
    assert_eq!(bench.adapter.load("a/state.gz").await.unwrap(), state);
    count("load");
    bench.adapter.head(&key("a/created")).await.unwrap();
    count("head");
    assert_eq!(bench.names(ListOptions::new().prefix("a/").limit(1)).await.unwrap(), ["a/created"]);
    count("list of one");
    bench.adapter.delete(&key("a/created"), Default::default()).await.unwrap();
    count("delete");
    let expected = [
        "save: 1",
        "create: 1",
        "overwrite: 1",
        "replace: 1",
        "load: 1",
        "head: 1",
        "list of one: 1",
        "delete: 1",
    ];
    assert_eq!(steps, expected);
}

#[tokio::test]
async fn large_objects_take_a_request_for_each_part() {
    let bench = Bench::new().await;
    let state = noise(3, LARGE);
    bench.put("large", &state, PutOptions::new().create()).await.unwrap();
    // Three parts of 5 MiB, 5 MiB and the rest; begin and complete.
    assert_eq!(
        (bench.proxy.count("PUT", "partNumber"), bench.proxy.count("POST", ""), bench.proxy.count("", "")),
        (3, 2, 5)
    );
    bench.proxy.clear();
    assert!(bench.read("large").await.unwrap() == state);
    // One answer has it all.
    assert_eq!((bench.proxy.count("GET", ""), bench.proxy.count("", "")), (1, 1));
}

#[tokio::test]
async fn a_slow_connection_gets_others_beside_it() {
    let bench = Bench::new().await;
    let state = noise(7, 21 << 20);
    bench.put("wide", &state, PutOptions::new()).await.unwrap();
    bench.proxy.clear();
    bench.proxy.fail(1, "GET", "wide", Fault::Slow(Duration::from_millis(70)));
    // One of those that are added breaks as well: in good order, since a reset may overtake bytes.
    bench.proxy.fail(1, "GET", "wide", Fault::EndResponse(1 << 20));
    assert!(bench.read("wide").await.unwrap() == state);
    let log = bench.proxy.log();
    assert_eq!(log[0].head.header("range"), None, "the first is asked for everything");
    assert!(log[1..].iter().all(|seen| seen.head.header("if-match").is_some()), "not bound to the version");
    // 5 MiB in more than 5 s show that it is slow; it gives 5 MiB more, and the others the rest.
    let mut ranges: Vec<_> = log[1..].iter().map(|seen| seen.head.header("range").unwrap()).collect();
    ranges.sort();
    let mib = |from: u64, to: u64| format!("bytes={}-{}", from << 20, (to << 20) - 1);
    let mut expected = vec![mib(10, 15), mib(11, 15), mib(15, 20), mib(20, 21)];
    expected.sort();
    assert_eq!(ranges, expected);
}

#[tokio::test]
async fn a_page_is_fetched_when_it_is_needed() {
    use futures_util::TryStreamExt;
    let bench = Bench::new().await;
    {
        let mut store = bench.strict.store();
        for n in 0..2500 {
            store.objects.insert(format!("many/{n:04}"), Default::default());
        }
    }
    let mut listing = bench.adapter.list(ListOptions::new().prefix("many/"));
    assert_eq!(bench.proxy.count("", ""), 0);
    for n in 0..1000 {
        assert_eq!(listing.try_next().await.unwrap().unwrap().name(), format!("many/{n:04}"));
    }
    assert_eq!(bench.proxy.count("", ""), 1);
    assert_eq!(listing.try_next().await.unwrap().unwrap().name(), "many/1000");
    assert_eq!(bench.proxy.count("", ""), 2);
    drop(listing);
    let all = bench.names(ListOptions::new().prefix("many/").start_after("many/0010")).await.unwrap();
    assert_eq!(all.len(), 2489);
    assert_eq!(bench.proxy.count("", ""), 2 + 3);
}

/// Names that are no keys take rows of a page, and are not shown.
#[tokio::test]
async fn one_row_behind_many_foreign_names_is_few_requests() {
    let bench = Bench::new().await;
    {
        let mut store = bench.strict.store();
        for n in 0..1500 {
            store.objects.insert(format!("of/{n:04}/"), Default::default());
        }
        store.objects.insert("of/state".into(), Default::default());
    }
    assert_eq!(bench.names(ListOptions::new().prefix("of/").limit(1)).await.unwrap(), ["of/state"]);
    assert_eq!(bench.proxy.count("", ""), 3);
}

#[tokio::test]
async fn a_second_adapter_of_the_same_configuration_is_free() {
    let strict = StrictServer::start().await;
    let proxy = Proxy::start(&strict.server.endpoint).await;
    let server = strict.server.behind(proxy.url());
    let first = server.open().await;
    let probe = proxy.count("", "");
    // ADR 7.
    assert_eq!(probe, 15);
    let second = server.open().await;
    assert_eq!(proxy.count("", ""), probe, "the probe runs once");
    assert_eq!(first.capabilities(), second.capabilities());
    assert!(first.capabilities().create_large && first.capabilities().tags && first.capabilities().tiers);
    assert!(strict.store().objects.is_empty(), "the probe left something behind");
}

/// Tags are fetched behind the answer that has the content; what happens to the object in between is no
/// matter of that.
#[tokio::test]
async fn a_load_does_not_fail_for_tags() {
    let bench = Bench::new().await;
    let state = noise(1, 1000);
    bench.put("tagged", &state, PutOptions::new().tag("team", "a")).await.unwrap();
    for (status, code) in [(404, "NoSuchKey"), (403, "AccessDenied")] {
        let error = format!("<Error><Code>{code}</Code><Message>scripted</Message></Error>");
        bench.proxy.fail(1, "GET", "tagging", Fault::answer_with(status, &[], &error));
        assert_eq!(bench.read("tagged").await.unwrap(), state, "{code}");
        assert!(bench.proxy.log().iter().any(|seen| seen.fault != Fault::Pass), "{code}");
        bench.proxy.clear();
    }
    assert_eq!(bench.adapter.head(&key("tagged")).await.unwrap().tags["team"], "a");
}
