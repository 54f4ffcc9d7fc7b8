//! What is done at Amazon alone: a process that takes the strict server for it, because an HTTP proxy leads
//! there.

use std::process::Output;

use crate::{
    bench::{Bench, noise},
    support::{proxy::Fault, s3::LARGE, s3_server::BUCKET},
};

/// Of no other server: it keeps all of Amazon's promises, so that nothing is probed.
const AMAZON: &str = "http://s3.eu-west-1.amazonaws.com";

async fn persist(bench: &Bench, arguments: &[&str], state: &[u8]) -> (Option<i32>, Vec<u8>, String) {
    at(bench, AMAZON, &format!("s3://{BUCKET}/of?path_style=true&part_size=5MiB"), arguments, state).await
}

async fn at(
    bench: &Bench,
    endpoint: &str,
    storage: &str,
    arguments: &[&str],
    state: &[u8],
) -> (Option<i32>, Vec<u8>, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    std::fs::write(&file, state).unwrap();
    let run = tokio::process::Command::new(env!("CARGO_BIN_EXE_persist"))
        .env_clear()
        .env("HOME", folder.path())
        .env("AWS_ACCESS_KEY_ID", "strictkey")
        .env("AWS_SECRET_ACCESS_KEY", "strictsecret")
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("HTTP_PROXY", bench.proxy.url())
        .env("PERSIST_RETRY_ATTEMPTS", "2")
        .args(["--storage", storage])
        .args(arguments.iter().map(|text| if *text == "FILE" { file.to_str().unwrap() } else { text }))
        .output()
        .await;
    let Output { status, stdout, stderr } = run.unwrap();
    (status.code(), stdout, String::from_utf8(stderr).unwrap())
}

#[tokio::test]
async fn nothing_is_probed_and_everything_is_checked() {
    let bench = Bench::new().await;
    let small = noise(1, 1000);
    let (code, _, error) = persist(&bench, &["save", "--codec=none", "small", "FILE"], &small).await;
    assert_eq!(code, Some(0), "{error}");
    assert_eq!(bench.stored("of/small"), Some(small.clone()));
    let log = bench.proxy.log();
    assert_eq!(log.len(), 1, "a save of 1000 bytes is one request");
    assert!(log[0].target.starts_with(AMAZON), "{}", log[0].target);
    assert!(log[0].head.header("x-amz-checksum-crc32").is_some());
    let (_, loaded, error) = persist(&bench, &["load", "small"], &[]).await;
    assert!(loaded == small, "{error}");

    // Large and conditional at once, with the checksum of the whole.
    bench.proxy.clear();
    let large = noise(2, LARGE);
    let create = ["save", "--codec=none", "--if-absent", "large", "FILE"];
    let (code, _, error) = persist(&bench, &create, &large).await;
    assert_eq!(code, Some(0), "{error}");
    assert!(bench.stored("of/large") == Some(large.clone()) && bench.is_clean());
    let posts: Vec<_> = bench.proxy.log().into_iter().filter(|seen| seen.method == "POST").collect();
    assert_eq!(posts.len(), 2);
    assert_eq!(posts[0].head.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
    assert_eq!(posts[1].head.header("if-none-match"), Some("*"));
    assert!(posts[1].head.header("x-amz-checksum-crc32").is_some());
    let (code, _, error) = persist(&bench, &create, &large).await;
    assert!(code != Some(0) && error.contains("already there"), "{error}");
    assert!(bench.is_clean());
    // A damaged load is found by that checksum.
    bench.proxy.fail(9, "GET", "large", Fault::Flip(700_000));
    let (code, _, error) = persist(&bench, &["load", "large"], &[]).await;
    assert!(code != Some(0) && error.contains("do not match"), "{error}");
}

/// Amazon's buckets are names of hosts unless `path_style` says otherwise.
#[tokio::test]
async fn the_bucket_is_in_the_hosts_name() {
    let bench = Bench::new().await;
    for (query, target) in [
        ("", "http://agents-here.s3.eu-west-1.amazonaws.com/state"),
        ("?path_style=true", "http://s3.eu-west-1.amazonaws.com/agents-here/state"),
    ] {
        bench.proxy.clear();
        bench.proxy.fail(9, "", "", Fault::answer(403));
        let storage = format!("s3://agents-here{query}");
        let (code, _, error) = at(&bench, AMAZON, &storage, &["stat", "state"], &[]).await;
        assert!(code != Some(0) && error.contains("the credentials do not allow it"), "{error}");
        assert!(bench.proxy.log()[0].target.starts_with(target), "{}", bench.proxy.log()[0].target);
    }
}

/// A load balancer at Amazon, or a machine there, is somebody's own server.
#[tokio::test]
async fn what_only_runs_at_amazon_is_probed() {
    let bench = Bench::new().await;
    // It does what the probe asks for on a condition that does not hold.
    bench.proxy.fail(1, "PUT", "a/x", Fault::Pass);
    bench.proxy.fail(2, "PUT", "a/x", Fault::answer_with(200, &[("etag", "\"0123\"")], ""));
    let storage = format!("s3://{BUCKET}/of?path_style=true");
    let garage = "http://garage-0123.elb.eu-west-1.amazonaws.com:3900";
    let (code, _, error) =
        at(&bench, garage, &storage, &["save", "--if-absent", "new", "FILE"], b"state").await;
    assert!(code != Some(0) && error.contains("conditional creation"), "{error}");
    let first = &bench.proxy.log()[0];
    assert!(first.method == "PUT" && first.target.contains(".persist-probe-"), "{}", first.target);
    assert!(first.head.header("x-amz-checksum-crc32").is_none());
    assert_eq!(bench.stored("of/new"), None);
}

/// XML cannot hold every character that a name can have.
#[tokio::test]
async fn names_that_xml_cannot_hold_are_listed() {
    let bench = Bench::new().await;
    let names = ["a b+c%2B&d=e", "odd \u{fffe}\u{ffff}", "é/🦀"];
    for name in names {
        let (code, _, error) = persist(&bench, &["save", name, "FILE"], b"state").await;
        assert_eq!(code, Some(0), "{error}");
    }
    let (code, listed, error) = persist(&bench, &["ls", "--json"], &[]).await;
    assert_eq!(code, Some(0), "{error}");
    let listed: Vec<_> = String::from_utf8(listed)
        .unwrap()
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["key"].as_str().unwrap().to_string()
        })
        .collect();
    assert_eq!(listed, names);
}

/// Nor can it hold those of unfinished uploads, which another program may have begun.
#[tokio::test]
async fn uploads_under_odd_names_are_found_and_removed() {
    let bench = Bench::new().await;
    for name in ["of/odd \u{fffe}\u{1}", "of/a+b%2B"] {
        let begun = std::time::SystemTime::now() - std::time::Duration::from_secs(30 * 3600);
        let upload = crate::support::s3_store::Upload { key: name.into(), begun, ..Default::default() };
        bench.strict.store().uploads.insert(format!("id of {}", name.len()), upload);
    }
    let (code, shown, error) = persist(&bench, &["doctor", "--clean-uploads"], &[]).await;
    let shown = String::from_utf8(shown).unwrap() + &error;
    assert!(code == Some(0) && shown.contains("unfinished uploads: 2 removed, 0 left"), "{shown}");
    assert!(bench.is_clean());
}
