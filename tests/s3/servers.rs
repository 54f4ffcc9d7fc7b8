//! Servers that do less than Amazon's, or something else: what they cannot do is found out, and nothing wrong
//! comes of it.

use persist::{
    ByteRange, DeleteOptions, ErrorKind, GetOptions, ListOptions, PutOptions, S3Config, SnapshotAdapter,
    Tier, Version, adapters::s3::S3Adapter,
};

use crate::{
    bench::{Bench, key, kind, noise},
    support::{
        proxy::{Fault, Proxy},
        s3::{LARGE, Server, quick, running},
        s3_server::StrictServer,
        s3_store::Upload,
    },
};

fn xml(text: &str) -> Fault {
    Fault::answer_with(200, &[("content-type", "application/xml")], &format!("<?xml version=\"1.0\"?>{text}"))
}

fn refused() -> Fault {
    Fault::answer_with(403, &[], "<Error><Code>AccessDenied</Code><Message>scripted</Message></Error>")
}

async fn opened(server: &Server, class: &str) -> persist::Result<S3Adapter> {
    let config = S3Config { storage_class: Some(class.into()), ..server.config.clone() };
    S3Adapter::open(&server.bucket, &config, &quick()).await
}

/// S3 Express One Zone: neither order nor tags, and conditions of its own.
#[tokio::test]
async fn directory_buckets_are_refused() {
    let config = S3Config { region: Some("us-east-1".into()), anonymous: true, ..S3Config::default() };
    for name in ["agents--use1-az4--x-s3", "agents--use1-az4--xa-s3"] {
        let error = S3Adapter::open(name, &config, &quick()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("use a general purpose bucket"), "{error}");
    }
    S3Adapter::open("agents-x-s3", &config, &quick()).await.unwrap();
}

/// As MinIO, which knows two classes, and neither of them is a tier.
#[tokio::test]
async fn tags_need_no_classes() {
    let strict = StrictServer::start().await;
    strict.store().classes = vec!["STANDARD", "REDUCED_REDUNDANCY"];
    let adapter = strict.server.open().await;
    let can = adapter.capabilities();
    assert!(can.tags && !can.tiers, "{can:?}");
    adapter.put(&key("tagged"), "state".into(), PutOptions::new().tag("team", "a")).await.unwrap();
    assert_eq!(adapter.head(&key("tagged")).await.unwrap().tags["team"], "a");
    let tiered = adapter.put(&key("tiered"), "state".into(), PutOptions::new().tier(Tier::Cool)).await;
    assert_eq!(kind(tiered), ErrorKind::Unsupported);
    // A class of its own may be configured, and no other; listings are not needed to tell.
    strict.store().unlisted = true;
    let configured = opened(&strict.server, "REDUCED_REDUNDANCY").await.unwrap();
    configured.put(&key("reduced"), "state".into(), PutOptions::new()).await.unwrap();
    assert_eq!(
        strict.store().objects["reduced"].storage_class.as_ref().unwrap().as_str(),
        "REDUCED_REDUNDANCY"
    );
    let error = opened(&strict.server, "STANDARD_IA").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    assert!(strict.store().objects.keys().all(|name| !name.contains("probe")));
}

#[tokio::test]
async fn tiers_need_no_listing() {
    let strict = StrictServer::start().await;
    strict.store().unlisted = true;
    let adapter = opened(&strict.server, "ONEZONE_IA").await.unwrap();
    assert!(adapter.capabilities().tiers);
    adapter.put(&key("cold"), "state".into(), PutOptions::new().tier(Tier::Cold)).await.unwrap();
    adapter.set_tier(&key("cold"), Tier::Cool).await.unwrap();
    assert_eq!(adapter.head(&key("cold")).await.unwrap().tier, Some(Tier::Cool));
}

/// It says that it stored something, and keeps no class.
#[tokio::test]
async fn a_class_that_is_dropped_is_named() {
    let strict = StrictServer::start().await;
    let proxy = Proxy::start(&strict.server.endpoint).await;
    let server = strict.server.behind(proxy.url());
    proxy.fail(9, "HEAD", "", Fault::answer_with(200, &[("etag", "\"0123\"")], ""));
    let error = opened(&server, "GLACIER_IR").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.to_string().contains("storage_class: this server does not keep GLACIER_IR"), "{error}");
}

/// SeaweedFS takes a backslash for a slash. Who may not find that out gets no other object than the one that
/// was named.
#[tokio::test]
async fn names_with_a_backslash_are_those_of_one_object() {
    let writer = running("SEAWEEDFS").open().await;
    let (slash, backslash) = (key("folded/a/b"), key("folded/a\\b"));
    writer.put(&slash, "slash".into(), PutOptions::new()).await.unwrap();
    writer.put(&backslash, "backslash".into(), PutOptions::new()).await.unwrap();
    // Who may not list finds it out all the same.
    let proxy = Proxy::start(&running("SEAWEEDFS").endpoint).await;
    proxy.fail(999, "GET", "list-type", refused());
    let unlisted = running("SEAWEEDFS").behind(proxy.url()).open().await;
    unlisted.put(&backslash, "new".into(), PutOptions::new()).await.unwrap();
    for (key, content) in [(&slash, "slash"), (&backslash, "new")] {
        let object = unlisted.get(key, GetOptions::new()).await.unwrap();
        assert_eq!(object.body.collect(10).await.unwrap(), content);
    }
    // Who may not write cannot.
    let mut server = running("SEAWEEDFS");
    server.config.access_key_id = Some("readerkey".into());
    server.config.secret_access_key = Some("readersecret".into());
    let reader = server.open().await;
    for error in [
        reader.get(&backslash, GetOptions::new()).await.unwrap_err(),
        reader.head(&backslash).await.unwrap_err(),
        reader.put(&backslash, "state".into(), PutOptions::new()).await.unwrap_err(),
        reader.delete(&backslash, DeleteOptions::new()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains("take a backslash for a slash"), "{error}");
    }
    use futures_util::TryStreamExt;
    let listed: Vec<_> = reader.list(ListOptions::new().prefix("folded/")).try_collect().await.unwrap();
    assert_eq!(listed.iter().map(|entry| entry.name()).collect::<Vec<_>>(), ["folded/a/b", "folded/a\\b"]);
    let listed: Result<Vec<_>, _> = reader.list(ListOptions::new().prefix("folded/a\\")).try_collect().await;
    assert_eq!(kind(listed), ErrorKind::Unsupported);
    for key in [slash, backslash] {
        writer.delete(&key, DeleteOptions::new()).await.unwrap();
    }
}

/// Proxies that compress mark versions as weak; a condition that names a weak one never holds.
#[tokio::test]
async fn weak_versions_are_those_of_the_service() {
    let bench = Bench::new().await;
    bench.strict.store().weak = true;
    let (small, large) = (noise(1, 1000), noise(2, LARGE));
    for (name, bytes) in [("small", &small), ("large", &large)] {
        let version = bench.put(name, bytes, PutOptions::new().create()).await.unwrap().version;
        assert_eq!(bench.adapter.head(&key(name)).await.unwrap().version, version);
        let unchanged =
            bench.adapter.get(&key(name), GetOptions::new().if_not_version(version.clone())).await;
        assert_eq!(kind(unchanged), ErrorKind::NotModified, "{name}");
        bench.proxy.fail(1, "GET", name, Fault::CutResponse(500));
        assert!(bench.read(name).await.unwrap() == *bytes, "{name}");
        let version = bench.put(name, bytes, PutOptions::new().replace(version)).await.unwrap().version;
        bench.adapter.delete(&key(name), DeleteOptions::new().if_version(version)).await.unwrap();
    }
}

/// A server that walks folders, behind a page on which nothing is ours: folder markers, or nothing at all.
#[tokio::test]
async fn a_page_without_a_row_of_ours_lets_nothing_out_of_order() {
    for middle in [&["agents/old/", "agents//x"][..], &[]] {
        let bench = Bench::new().await;
        let adapter = {
            // Nothing is known about its order.
            bench.proxy.fail(99, "PUT", "", refused());
            let server = bench.strict.server.behind(bench.proxy.url());
            let config = S3Config { region: Some("eu-west-1".into()), ..server.config.clone() };
            S3Adapter::open(&server.bucket, &config, &quick()).await.unwrap()
        };
        bench.proxy.clear();
        let pages = [&["agents/1"][..], middle, &["agents/2", "agents-b/x"][..]];
        for (number, names) in pages.into_iter().enumerate() {
            let row = |name: &&str| {
                format!("<Contents><Key>{name}</Key><Size>1</Size><ETag>\"0\"</ETag></Contents>")
            };
            let rows: String = names.iter().map(row).collect();
            let token = format!("<NextContinuationToken>t{number}</NextContinuationToken>");
            let (more, token) = if number < 2 { ("true", &*token) } else { ("false", "") };
            let page = format!(
                "<ListBucketResult><IsTruncated>{more}</IsTruncated>{token}{rows}</ListBucketResult>"
            );
            bench.proxy.fail(1, "GET", "list-type", xml(&page));
        }
        use futures_util::TryStreamExt;
        let listed: Vec<_> = adapter.list(ListOptions::new()).try_collect().await.unwrap();
        let listed: Vec<_> = listed.iter().map(|entry| entry.name()).collect();
        assert_eq!(listed, ["agents-b/x", "agents/1", "agents/2"], "{middle:?}");
        assert_eq!(bench.proxy.count("GET", "list-type"), 3);
    }
}

/// Proxies drop the conditions of loads: what comes is compared with what was asked for.
#[tokio::test]
async fn a_load_of_a_version_is_of_that_version_or_none() {
    let bench = Bench::new().await;
    let old = bench.put("state", &noise(1, 100), PutOptions::new()).await.unwrap().version;
    let new = bench.put("state", &noise(2, 100), PutOptions::new()).await.unwrap().version;
    let unconditional = |etag: &str| Fault::answer_with(200, &[("etag", etag)], "new state");
    let state = key("state");
    for mark in ["", "W/"] {
        let shown = format!("{mark}\"{new}\"");
        let get = |options: GetOptions| {
            bench.proxy.fail(1, "GET", "state", unconditional(&shown));
            bench.adapter.get(&state, options)
        };
        assert_eq!(kind(get(GetOptions::new().if_version(old.clone())).await), ErrorKind::Conflict);
        let ranged = GetOptions::new().if_version(old.clone()).range(ByteRange::Last(5));
        assert_eq!(kind(get(ranged).await), ErrorKind::Conflict);
        let unchanged = get(GetOptions::new().if_not_version(new.clone())).await;
        assert_eq!(kind(unchanged), ErrorKind::NotModified);
        for right in
            [GetOptions::new().if_version(new.clone()), GetOptions::new().if_not_version(old.clone())]
        {
            let object = get(right).await.unwrap();
            assert_eq!(
                (&object.meta.version, &*object.body.collect(100).await.unwrap()),
                (&new, &b"new state"[..])
            );
        }
    }
    // Without an ETag, what is there may be as new as not; plain web servers give no id of the request
    // either.
    for header in [("x-amz-request-id", "R"), ("last-modified", "Wed, 21 Oct 2026 07:28:00 GMT")] {
        bench.proxy.fail(1, "GET", "state", Fault::answer_with(200, &[header], "new state"));
        let object =
            bench.adapter.get(&state, GetOptions::new().if_not_version(Version::new(""))).await.unwrap();
        assert_eq!(object.body.collect(100).await.unwrap(), "new state");
    }
}

/// The rest might be of another version.
#[tokio::test]
async fn a_load_of_what_has_no_etag_does_not_go_on() {
    let strict = StrictServer::start().await;
    let server = Proxy::start(&strict.server.endpoint).await;
    let line = Proxy::start(&server.url()).await;
    let adapter = strict.server.behind(line.url()).open().await;
    let date = ("last-modified", "Wed, 21 Oct 2026 07:28:00 GMT");
    let whole = "a".repeat(100);
    server.fail(1, "GET", "state", Fault::answer_with(200, &[date], &whole));
    let rest = [date, ("content-range", "bytes 10-99/100")];
    server.fail(2, "GET", "state", Fault::answer_with(206, &rest, &"b".repeat(90)));
    line.fail(1, "GET", "state", Fault::CutResponse(10));
    let object = adapter.get(&key("state"), GetOptions::new()).await.unwrap();
    assert_eq!(kind(object.body.collect(200).await), ErrorKind::Unsupported);
}

/// Web servers with a page for whatever is asked for: login pages, consoles, maintenance. It may be dated,
/// and have an ETag.
#[tokio::test]
async fn a_page_is_no_answer_of_s3() {
    let bench = Bench::new().await;
    bench.put("state", &noise(1, 100), PutOptions::new()).await.unwrap();
    let upload = Upload { key: "state".into(), begun: std::time::SystemTime::now(), ..Default::default() };
    bench.strict.store().uploads.insert("begun".into(), upload);
    let begun = bench.adapter.list_uploads("").await.unwrap().remove(0);
    let (html, date) =
        (("content-type", "text/html; charset=utf-8"), ("last-modified", "Wed, 21 Oct 2026 07:28:00 GMT"));
    let state = key("state");
    for headers in [&[html][..], &[html, date], &[html, date, ("etag", "\"5f-1\"")]] {
        bench.proxy.clear();
        bench.proxy.fail(99, "", "", Fault::answer_with(200, headers, "<html>log in"));
        for error in [
            bench.adapter.get(&state, GetOptions::new()).await.unwrap_err(),
            bench.adapter.head(&state).await.unwrap_err(),
            bench.adapter.delete(&state, DeleteOptions::new()).await.unwrap_err(),
            bench.adapter.abort_upload(&begun).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert!(error.to_string().contains("not S3's"), "{error}");
        }
    }
    assert!(bench.stored("state").is_some() && !bench.is_clean());
    // Where the key says so it may be what was asked for, on a mirror that goes by the extension.
    let page = Fault::answer_with(200, &[html, date], "<html>report");
    bench.proxy.clear();
    bench.proxy.fail(1, "GET", "report.html", page);
    assert_eq!(bench.read("report.html").await.unwrap(), "<html>report");
    // A server may answer 200 in place of 204, and frameworks mark whatever has no content as a page.
    for empty in [&[][..], &[html]] {
        bench.proxy.fail(1, "DELETE", "state", Fault::answer_with(200, empty, ""));
        bench.adapter.delete(&state, DeleteOptions::new()).await.unwrap();
    }
}

/// No condition can name what has no ETag: a server may say of it that it does not hold.
#[tokio::test]
async fn no_condition_names_an_empty_version() {
    let bench = Bench::new().await;
    let date = ("last-modified", "Wed, 21 Oct 2026 07:28:00 GMT");
    bench.proxy.fail(2, "GET", "state", Fault::answer_with(200, &[date], "state"));
    let version = bench.adapter.get(&key("state"), GetOptions::new()).await.unwrap().meta.version;
    let again = bench.adapter.get(&key("state"), GetOptions::new().if_version(version)).await.unwrap();
    assert_eq!(again.body.collect(100).await.unwrap(), "state");
    assert_eq!(bench.proxy.log()[1].head.header("if-match"), None);
    // What has one by now is another.
    bench.proxy.fail(1, "GET", "state", Fault::answer_with(200, &[("etag", "\"0123\"")], "state"));
    let replaced = bench.adapter.get(&key("state"), GetOptions::new().if_version(Version::new(""))).await;
    assert_eq!(kind(replaced), ErrorKind::Conflict);
}

/// Caches cut objects into ranges of their own.
#[tokio::test]
async fn another_range_than_was_asked_for_is_no_answer() {
    let bench = Bench::new().await;
    let part = |range| Fault::answer_with(206, &[("etag", "\"0123\""), ("content-range", range)], "12345");
    let middle = ByteRange::Bounded { start: 10, length: 5 };
    for (asked, told, right) in [
        (Some(middle), "bytes 10-14/100", true),
        (Some(middle), "bytes 0-4/100", false),
        (Some(ByteRange::Bounded { start: 95, length: 50 }), "bytes 95-99/100", true),
        (Some(ByteRange::Last(5)), "bytes 95-99/100", true),
        (Some(ByteRange::Last(5)), "bytes 94-98/100", false),
        (None, "bytes 0-4/5", true),
        (None, "bytes 0-4/100", false),
    ] {
        bench.proxy.fail(1, "GET", "state", part(told));
        let options = asked.into_iter().fold(GetOptions::new(), GetOptions::range);
        match bench.adapter.get(&key("state"), options).await {
            Ok(_) => assert!(right, "{asked:?}: {told}"),
            Err(error) => {
                assert_eq!((error.kind(), right), (ErrorKind::Unsupported, false), "{asked:?}: {told}")
            }
        }
    }
}

/// A move names what it overwrites where conditions of saves are honoured, and only there.
#[tokio::test]
async fn a_move_is_bound_to_the_version_at_both_ends() {
    for honoured in [true, false] {
        let strict = StrictServer::start().await;
        let proxy = Proxy::start(&strict.server.endpoint).await;
        if !honoured {
            // It does what the probe asks for on a condition that does not hold.
            proxy.fail(1, "PUT", "a/x", Fault::Pass);
            proxy.fail(2, "PUT", "a/x", Fault::answer_with(200, &[("etag", "\"0123\"")], ""));
        }
        let adapter = strict.server.behind(proxy.url()).open().await;
        assert_eq!(adapter.capabilities().replace, honoured);
        adapter.put(&key("state"), "state".into(), PutOptions::new()).await.unwrap();
        proxy.clear();
        adapter.set_tier(&key("state"), Tier::Cool).await.unwrap();
        let log = proxy.log();
        let copy = log.iter().find(|seen| seen.head.header("x-amz-copy-source").is_some()).unwrap();
        let (source, target) = (copy.head.header("x-amz-copy-source-if-match"), copy.head.header("if-match"));
        assert!(source.is_some() && target == source.filter(|_| honoured), "{target:?}");
    }
}

/// A server that knows only the first version of the listing, or does not go on where it was.
#[tokio::test]
async fn listings_that_cannot_go_on_do_not_end() {
    let bench = Bench::new().await;
    let page = |rest: &str| {
        let row = "<Contents><Key>a</Key><Size>1</Size><ETag>\"0\"</ETag></Contents>";
        xml(&format!("<ListBucketResult><IsTruncated>true</IsTruncated>{rest}{row}</ListBucketResult>"))
    };
    for (rest, requests) in
        [("<NextMarker>a</NextMarker>", 1), ("<NextContinuationToken>t</NextContinuationToken>", 2)]
    {
        bench.proxy.fail(9, "GET", "list-type", page(rest));
        let error = bench.names(ListOptions::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains("cannot go on with a listing"), "{error}");
        assert_eq!(bench.proxy.count("GET", "list-type"), requests);
        bench.proxy.clear();
    }
}

#[tokio::test]
async fn unfinished_uploads_are_followed_to_the_last_page() {
    let bench = Bench::new().await;
    let page = |rest: &str, id: &str| {
        let row = format!("<Upload><Key>a</Key><UploadId>{id}</UploadId></Upload>");
        xml(&format!("<ListMultipartUploadsResult>{rest}{row}</ListMultipartUploadsResult>"))
    };
    let truncated = |markers: &str| format!("<IsTruncated>true</IsTruncated>{markers}");
    let both = truncated("<NextKeyMarker>a</NextKeyMarker><NextUploadIdMarker>u1</NextUploadIdMarker>");
    // As SeaweedFS: it goes on behind the upload alone.
    let one = truncated("<NextKeyMarker></NextKeyMarker><NextUploadIdMarker>u2</NextUploadIdMarker>");
    bench.proxy.fail(1, "GET", "uploads", page(&both, "u1"));
    bench.proxy.fail(1, "GET", "uploads", page(&one, "u2"));
    bench.proxy.fail(1, "GET", "uploads", page("<IsTruncated>false</IsTruncated>", "u3"));
    let found = bench.adapter.list_uploads("").await.unwrap();
    let ids: Vec<_> = found.iter().map(|upload| upload.id.as_str()).collect();
    assert_eq!(ids, ["u1", "u2", "u3"]);
    let log = bench.proxy.log();
    assert!(log[1].target.contains("key-marker=a") && log[1].target.contains("upload-id-marker=u1"));
    assert!(!log[2].target.contains("key-marker=") && log[2].target.contains("upload-id-marker=u2"));
    // Not every server tells when they were begun.
    assert!(found.iter().all(|upload| upload.begun.is_none() && upload.age.is_none()));
    for (markers, requests) in [("", 1), ("<NextUploadIdMarker>u1</NextUploadIdMarker>", 2)] {
        bench.proxy.clear();
        bench.proxy.fail(9, "GET", "uploads", page(&truncated(markers), "u1"));
        assert_eq!(kind(bench.adapter.list_uploads("").await), ErrorKind::Unsupported);
        assert_eq!(bench.proxy.count("GET", "uploads"), requests);
    }
}
