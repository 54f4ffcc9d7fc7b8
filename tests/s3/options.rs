//! Encryption, placement, tags, metadata, and who pays.

use persist::{
    DeleteOptions, ErrorKind, PutOptions, S3Config, SnapshotAdapter, Tier, adapters::s3::S3Adapter,
};

use crate::{
    bench::{Bench, key, kind, noise},
    support::{
        meanwhile,
        proxy::{Fault, Proxy},
        s3::{LARGE, Server, quick, running},
        s3_server::StrictServer,
    },
};

#[tokio::test]
async fn the_mark_of_a_put_is_nobodys_business() {
    let bench = Bench::new().await;
    for (name, len) in [("small", 10), ("large", LARGE)] {
        let meta =
            bench.put(name, &noise(1, len), PutOptions::new().create().metadata("a", "1")).await.unwrap();
        let stored = bench.strict.store().objects[name].metadata.clone();
        assert!(stored.contains_key("persist-put-id"), "{name}");
        let head = bench.adapter.head(&key(name)).await.unwrap();
        let got = bench.adapter.get(&key(name), Default::default()).await.unwrap().meta;
        for meta in [meta, head, got] {
            assert_eq!(meta.metadata.into_iter().collect::<Vec<_>>(), [("a".to_string(), "1".to_string())]);
        }
    }
    let taken = bench.put("x", &noise(1, 1), PutOptions::new().metadata("persist-put-id", "mine")).await;
    assert_eq!(kind(taken), ErrorKind::InvalidInput);
}

/// S3 counts the mark as well.
#[tokio::test]
async fn as_much_metadata_as_is_allowed_fits_into_every_save() {
    let bench = Bench::new().await;
    let most = || PutOptions::new().metadata("agent", "x".repeat(2008 - 5));
    for (name, len) in [("small", 10), ("large", LARGE)] {
        let bytes = noise(1, len);
        let version = bench.put(name, &bytes, most().create()).await.unwrap().version;
        bench.put(name, &bytes, most().replace(version)).await.unwrap();
        bench.put(name, &bytes, most()).await.unwrap();
        assert_eq!(bench.adapter.head(&key(name)).await.unwrap().metadata["agent"].len(), 2003);
    }
    let more = bench.put("small", &noise(1, 1), PutOptions::new().metadata("agent", "x".repeat(2004))).await;
    assert_eq!(kind(more), ErrorKind::InvalidInput);
}

/// A copy has what its request names.
#[tokio::test]
async fn a_move_keeps_what_other_programs_set() {
    let bench = Bench::new().await;
    let version = bench.put("page", &noise(1, 10), PutOptions::new()).await.unwrap().version;
    let told = [
        ("etag", &*format!("\"{version}\"")),
        ("expires", "Thu, 01 Dec 2044 16:00:00 GMT"),
        ("x-amz-website-redirect-location", "/elsewhere"),
        ("cache-control", "no-store"),
    ];
    bench.proxy.fail(1, "HEAD", "page", Fault::answer_with(200, &told, ""));
    bench.adapter.set_tier(&key("page"), Tier::Cool).await.unwrap();
    let copy = bench
        .proxy
        .log()
        .into_iter()
        .find(|seen| seen.method == "PUT" && seen.head.header("x-amz-copy-source").is_some());
    for (name, value) in &told[1..] {
        assert_eq!(copy.as_ref().unwrap().head.header(name), Some(*value), "{name}");
    }
}

async fn opened(server: &Server, change: impl FnOnce(&mut S3Config)) -> persist::Result<S3Adapter> {
    let mut config = server.config.clone();
    change(&mut config);
    S3Adapter::open(&server.bucket, &config, &quick()).await
}

#[tokio::test]
async fn encryption_is_asked_for_and_confirmed() {
    let strict = StrictServer::start().await;
    let kms = |config: &mut S3Config| (config.kms_key, config.bucket_key) = (Some("key-1".into()), true);
    let adapter = opened(&strict.server, kms).await.unwrap();
    for (name, len) in [("small", 10), ("large", LARGE)] {
        let put = adapter.put(&key(name), noise(1, len).into(), PutOptions::new()).await.unwrap();
        let head = adapter.head(&key(name)).await.unwrap();
        assert_eq!(put.encryption.as_deref(), Some("aws:kms key-1"), "{name}");
        assert_eq!(head.encryption, put.encryption, "{name}");
        assert_eq!(strict.store().objects[name].bucket_key, Some(true), "{name}");
    }
    adapter.set_tier(&key("small"), Tier::Cool).await.unwrap();
    assert_eq!(adapter.head(&key("small")).await.unwrap().encryption.as_deref(), Some("aws:kms key-1"));
    // Real servers, with the two kinds.
    for name in ["SEAWEEDFS", "MOTO"] {
        let adapter =
            opened(&running(name), |config| config.encryption = Some("AES256".into())).await.unwrap();
        let put = adapter.put(&key("encrypted"), "state".into(), PutOptions::new()).await.unwrap();
        assert_eq!(put.encryption.as_deref(), Some("AES256"), "{name}");
        let object = adapter.get(&key("encrypted"), Default::default()).await.unwrap();
        assert_eq!(object.body.collect(10).await.unwrap(), "state");
        let adapter =
            opened(&running(name), |config| config.kms_key = Some("alias/persist".into())).await.unwrap();
        let put = adapter.put(&key("encrypted"), "state".into(), PutOptions::new()).await.unwrap();
        assert!(put.encryption.unwrap().starts_with("aws:kms"), "{name}");
        adapter.delete(&key("encrypted"), DeleteOptions::new()).await.unwrap();
    }
}

/// S3 gives a copy the bucket's encryption where the request names none.
#[tokio::test]
async fn a_move_keeps_encryption_and_tags() {
    let strict = StrictServer::start().await;
    let proxy = Proxy::start(&strict.server.endpoint).await;
    let kms = |config: &mut S3Config| (config.kms_key, config.bucket_key) = (Some("key-1".into()), true);
    let writer = opened(&strict.server, kms).await.unwrap();
    let plain = opened(&strict.server.behind(proxy.url()), |_| {}).await.unwrap();
    let options = PutOptions::new().tag("team", "a b").metadata("m", "1").content_type("text/x");
    writer.put(&key("a"), "state".into(), options).await.unwrap();
    let before = writer.head(&key("a")).await.unwrap();
    for (tier, silent) in [(Tier::Cool, false), (Tier::Cold, true)] {
        strict.store().silent_copies = silent;
        plain.set_tier(&key("a"), tier).await.unwrap();
        let after = plain.head(&key("a")).await.unwrap();
        assert_eq!(after.encryption.as_deref(), Some("aws:kms key-1"));
        assert_eq!(strict.store().objects["a"].bucket_key, Some(true));
        assert_eq!((after.tags, after.metadata), (before.tags.clone(), before.metadata.clone()));
        assert_eq!((after.content_type, after.tier), (before.content_type.clone(), Some(tier)));
    }
    // The service's own keys as well, and none where there was none.
    plain.put(&key("b"), "state".into(), PutOptions::new()).await.unwrap();
    plain.set_tier(&key("b"), Tier::Cool).await.unwrap();
    assert_eq!(plain.head(&key("b")).await.unwrap().encryption, None);
    // A server that says that it copied, and has dropped the encryption; also where the first answer is lost.
    proxy.clear();
    let copied = "<?xml version=\"1.0\"?><CopyObjectResult><ETag>\"0123\"</ETag></CopyObjectResult>";
    proxy.fail(1, "PUT", "a", Fault::answer_with(200, &[], copied));
    strict.store().objects.get_mut("a").unwrap().kms_key = Some("key-2".into());
    let copy = || strict.store().objects.get_mut("a").unwrap().encryption = None;
    let (key, moved) = (key("a"), Tier::Hot);
    let outcome = meanwhile(plain.set_tier(&key, moved), || proxy.count("PUT", "a") > 0, copy).await;
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("it is none now"), "{error}");
}

#[tokio::test]
async fn a_server_that_drops_the_encryption_is_refused_and_keeps_nothing() {
    let strict = StrictServer::start().await;
    let proxy = Proxy::start(&strict.server.endpoint).await;
    let server = strict.server.behind(proxy.url());
    // It says that it stored something, and nothing of encryption.
    let dropped = Fault::answer_with(200, &[("etag", "\"0123\"")], "");
    proxy.fail(1, "PUT", "", dropped.clone());
    let encrypted = |config: &mut S3Config| config.encryption = Some("AES256".into());
    let error = opened(&server, encrypted).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("encryption was asked for"), "{error}");
    assert_eq!(proxy.count("DELETE", "a/x"), 1, "the probe's object was not removed");

    let adapter = opened(&server, encrypted).await.unwrap();
    proxy.clear();
    proxy.fail(1, "PUT", "state", dropped);
    let error = adapter.put(&key("state"), "state".into(), PutOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert_eq!(proxy.count("DELETE", "state"), 1, "not removed");
    assert!(error.to_string().contains("the object was removed"), "{error}");
    // An upload is refused before a byte of it is sent.
    proxy.clear();
    let begun = "<?xml version=\"1.0\"?><InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>";
    proxy.fail(1, "POST", "uploads", Fault::answer_with(200, &[], begun));
    let error = adapter.put(&key("state"), noise(1, LARGE).into(), PutOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert_eq!((proxy.count("PUT", ""), proxy.count("DELETE", "uploadId=u")), (0, 1));
}

/// Without a condition a removal may hit what another writer has stored meanwhile.
#[tokio::test]
async fn a_server_without_conditional_removal_removes_nothing_of_others() {
    let strict = StrictServer::start().await;
    let proxy = Proxy::start(&strict.server.endpoint).await;
    let server = strict.server.behind(proxy.url());
    // It ignores the condition of the probe's removal.
    proxy.fail(1, "DELETE", "", Fault::answer(204));
    let adapter = opened(&server, |config| config.encryption = Some("AES256".into())).await.unwrap();
    assert!(!adapter.capabilities().conditional_delete);
    proxy.clear();
    proxy.fail(1, "PUT", "state", Fault::answer_with(200, &[("etag", "\"0123\"")], ""));
    let error = adapter.put(&key("state"), "state".into(), PutOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("the object is there: remove it"), "{error}");
    assert_eq!(proxy.count("DELETE", ""), 0);
}

#[tokio::test]
async fn classes_tags_and_metadata_on_real_servers() {
    for name in ["SEAWEEDFS", "MOTO"] {
        let adapter = running(name).open().await;
        let capabilities = adapter.capabilities();
        let found = (
            capabilities.create,
            capabilities.replace,
            capabilities.create_large,
            capabilities.conditional_delete,
        );
        assert_eq!(found, (true, true, false, true), "{name}: conditions");
        assert!(capabilities.tags && capabilities.tiers, "{name}: tags and tiers");
        let options =
            PutOptions::new().tag("team", "a b+c").tier(Tier::Cold).metadata("m", "1").content_type("text/x");
        let put = adapter.put(&key("adorned"), "state".into(), options).await.unwrap();
        let head = adapter.head(&key("adorned")).await.unwrap();
        assert_eq!((head.tags, head.metadata, head.tier), (put.tags, put.metadata, put.tier), "{name}");
        assert_eq!(head.content_type.as_deref(), Some("text/x"), "{name}");
        adapter.delete(&key("adorned"), DeleteOptions::new()).await.unwrap();
        let configured =
            opened(&running(name), |config| config.storage_class = Some("ONEZONE_IA".into())).await.unwrap();
        let put = configured.put(&key("adorned"), "state".into(), PutOptions::new()).await.unwrap();
        assert_eq!(put.tier, Some(Tier::Cool));
        assert_eq!(configured.head(&key("adorned")).await.unwrap().tier, Some(Tier::Cool), "{name}");
        configured.delete(&key("adorned"), DeleteOptions::new()).await.unwrap();
    }
}

#[tokio::test]
async fn payers_and_the_nameless_show_in_the_headers() {
    let strict = StrictServer::start().await;
    let proxy = Proxy::start(&strict.server.endpoint).await;
    let server = strict.server.behind(proxy.url());
    let adapter = opened(&server, |config| config.requester_pays = true).await.unwrap();
    adapter.put(&key("small"), "state".into(), PutOptions::new()).await.unwrap();
    adapter.put(&key("large"), noise(1, LARGE).into(), PutOptions::new().tag("a", "b")).await.unwrap();
    adapter.get(&key("small"), Default::default()).await.unwrap();
    adapter.set_tier(&key("small"), Tier::Cool).await.unwrap();
    adapter.head(&key("large")).await.unwrap();
    // A lost upload, which is looked at and removed.
    let options = persist::ListOptions::new().prefix("").delimiter();
    futures_util::TryStreamExt::try_collect::<Vec<_>>(adapter.list(options)).await.unwrap();
    proxy.fail(1, "POST", "uploads", Fault::Swallow);
    adapter.put(&key("large"), noise(1, LARGE).into(), PutOptions::new()).await.unwrap();
    adapter.delete(&key("large"), DeleteOptions::new()).await.unwrap();
    let log = proxy.log();
    for (method, target) in [
        ("GET", "list-type"),
        ("GET", "tagging"),
        ("GET", "uploads"),
        ("GET", "max-parts"),
        ("DELETE", "uploadId"),
        ("DELETE", "/large"),
        ("PUT", "partNumber"),
        ("POST", "uploadId"),
    ] {
        assert!(proxy.count(method, target) > 0, "no {method} {target}");
    }
    // A server that walks folders is asked what is left in each.
    let walker = Proxy::start(&running("SEAWEEDFS").endpoint).await;
    let walking = running("SEAWEEDFS").behind(walker.url());
    let adapter = opened(&walking, |config| config.requester_pays = true).await.unwrap();
    adapter.put(&key("payer/folder/state"), "state".into(), PutOptions::new()).await.unwrap();
    let options = persist::ListOptions::new().prefix("payer/").delimiter();
    futures_util::TryStreamExt::try_collect::<Vec<_>>(adapter.list(options)).await.unwrap();
    adapter.delete(&key("payer/folder/state"), DeleteOptions::new()).await.unwrap();
    assert!(walker.count("GET", "max-keys=1&") > 0);
    for seen in log.into_iter().chain(walker.log()) {
        let payer = seen.head.header("x-amz-request-payer");
        assert_eq!(payer, Some("requester"), "{} {}", seen.method, seen.target);
    }
    proxy.clear();
    let nameless = |config: &mut S3Config| {
        (config.access_key_id, config.secret_access_key, config.anonymous) = (None, None, true);
    };
    // The strict server refuses requests without a signature.
    let refused = match opened(&server, nameless).await {
        Ok(adapter) => kind(adapter.head(&key("small")).await),
        Err(error) => error.kind(),
    };
    assert!(matches!(refused, ErrorKind::AccessDenied | ErrorKind::Unauthenticated), "{refused}");
    let log = proxy.log();
    assert!(!log.is_empty() && log.iter().all(|seen| seen.head.header("authorization").is_none()));
}

#[tokio::test]
async fn large_conditional_saves_are_refused_where_they_race() {
    let adapter = running("SEAWEEDFS").open().await;
    let fits = noise(1, 10 << 20);
    adapter.put(&key("fence"), fits.clone().into(), PutOptions::new().create()).await.unwrap();
    let again = adapter.put(&key("fence"), fits.into(), PutOptions::new().create()).await;
    assert_eq!(kind(again), ErrorKind::AlreadyExists);
    let error =
        adapter.put(&key("fence2"), noise(1, LARGE).into(), PutOptions::new().create()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(
        error.to_string().contains("atomic_multipart") && error.to_string().contains("10485760"),
        "{error}"
    );
    adapter.delete(&key("fence"), DeleteOptions::new()).await.unwrap();
}

/// The table in `docs/backends.md` says what is found here.
#[tokio::test]
async fn the_table_of_servers_is_right() {
    let page = include_str!("../../docs/backends.md");
    let strict = StrictServer::start().await;
    let servers =
        [("SeaweedFS", running("SEAWEEDFS")), ("moto", running("MOTO")), ("strict", strict.server.clone())];
    for (name, server) in servers {
        let can = server.open().await.capabilities();
        let row = page.lines().find(|line| line.starts_with(&format!("| {name}"))).unwrap();
        let told: Vec<_> = row.split('|').skip(2).take(6).map(|cell| cell.trim() != "no").collect();
        let found = [can.create, can.replace, can.conditional_delete, can.create_large, can.tags, can.tiers];
        assert_eq!(told, found, "{row}");
    }
}
