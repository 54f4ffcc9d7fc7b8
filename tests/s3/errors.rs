//! Errors: each its kind, a message that says what to do, and no secret.

use std::sync::Arc;

use persist::{
    DeleteOptions, ErrorKind, ListOptions, Optional, PutOptions, S3Config, SnapshotAdapter,
    SnapshotAdapterExt,
    adapters::s3::S3Adapter,
    sessions::{At, Sessions},
};

use crate::{
    bench::{Bench, key, kind, noise},
    support::{
        proxy::{Fault, Proxy},
        s3::{LARGE, quick, running},
        s3_server::StrictServer,
    },
};

fn xml(code: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>words of the service</Message></Error>"
    )
}

#[tokio::test]
async fn each_answer_has_its_kind_and_its_advice() {
    use ErrorKind::*;
    let bench = Bench::new().await;
    let cases = [
        (403, "AccessDenied", AccessDenied, "the credentials do not allow it"),
        (403, "InvalidAccessKeyId", Unauthenticated, "the access key id does not exist"),
        (403, "SignatureDoesNotMatch", Unauthenticated, "the secret access key is wrong"),
        (400, "ExpiredToken", Unauthenticated, "get new credentials"),
        (403, "InvalidObjectState", Unsupported, "restore it first"),
        (403, "ObjectNotInActiveTierError", Unsupported, "restore it first"),
        (404, "NoSuchBucket", NotFound, "there is no such bucket"),
        (404, "NoSuchKey", NotFound, "there is no snapshot"),
        (400, "KMS.DisabledException", AccessDenied, "the KMS key cannot be used"),
        (
            501,
            "NotImplemented",
            Unsupported,
            "the service cannot do it: NotImplemented, words of the service",
        ),
        (400, "MetadataTooLarge", InvalidInput, "MetadataTooLarge, words of the service"),
        (418, "Teapot", InvalidInput, "Teapot, words of the service"),
    ];
    let passing = [
        (400, "KMS.ThrottlingException", RateLimited, "fewer requests"),
        (500, "KMS.KMSInternalException", Unavailable, "the service failed"),
        (403, "RequestTimeTooSkewed", Unauthenticated, "this machine's clock is wrong"),
    ];
    for (status, code, kind, advice) in cases.into_iter().chain(passing) {
        bench.proxy.clear();
        bench.proxy.fail(
            9,
            "GET",
            "",
            Fault::answer_with(status, &[("x-amz-request-id", "REQ7")], &xml(code)),
        );
        let error = bench.read("some/key").await.unwrap_err();
        assert_eq!(error.kind(), kind, "{code}: {error}");
        let text = error.to_string();
        assert!(text.contains(advice), "{code}: {text}");
        assert!(text.starts_with("s3: get \"some/key\": ") && text.ends_with("(request id REQ7)"), "{text}");
        let attempts = if passing.iter().any(|row| row.1 == code) { 6 } else { 1 };
        assert_eq!(bench.proxy.count("", ""), attempts, "{code}");
    }
}

/// S3 repeats what a request was signed with where it refuses it, to help with debugging.
#[tokio::test]
async fn what_the_service_repeats_of_credentials_is_not_told() {
    let bench = Bench::new().await;
    let body = |code: &str| {
        format!(
            "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>words of the service</Message>\
             <AWSAccessKeyId>AKIASECRET</AWSAccessKeyId><Token-0>TOKENSECRET</Token-0>\
             <CanonicalRequest>x-amz-security-token:TOKENSECRET</CanonicalRequest></Error>"
        )
    };
    let headers = [("x-amz-request-id", "REQ7"), ("x-echo", "TOKENSECRET AKIASECRET")];
    let answers = [
        Fault::answer_with(403, &headers, &body("SignatureDoesNotMatch")),
        Fault::answer_with(400, &headers, &body("ExpiredToken")),
        Fault::answer_with(400, &headers, &body("InvalidToken")),
        Fault::answer_with(418, &headers, &body("Teapot")),
        Fault::answer_with(403, &headers, "TOKENSECRET AKIASECRET <no XML"),
        Fault::answer_with(200, &headers, "TOKENSECRET AKIASECRET <no XML"),
    ];
    for answer in answers {
        bench.proxy.clear();
        bench.proxy.fail(99, "GET", "", answer.clone());
        let listed = bench.names(ListOptions::new()).await.unwrap_err();
        let mut errors = vec![listed];
        if !matches!(answer, Fault::Answer { status: 200, .. }) {
            errors.push(bench.read("some/key").await.unwrap_err());
        }
        for error in errors {
            let (mut shown, mut cause) = (String::new(), Some(&error as &dyn std::error::Error));
            assert!(std::error::Error::source(&error).is_some(), "{error}");
            while let Some(inner) = cause {
                shown += &format!("{inner} {inner:?}\n");
                cause = inner.source();
            }
            assert!(!shown.contains("SECRET"), "{shown}");
        }
    }
}

#[tokio::test]
async fn a_wrong_region_is_told_with_the_right_one() {
    let bench = Bench::new().await;
    let malformed = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region is wrong</Message>\
                     <Region>eu-west-1</Region></Error>";
    for fault in [
        Fault::answer_with(301, &[("x-amz-bucket-region", "eu-west-1")], &xml("PermanentRedirect")),
        Fault::answer_with(400, &[], malformed),
    ] {
        bench.proxy.fail(1, "GET", "", fault);
        let error = bench.read("k").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.to_string().contains("set region to eu-west-1"), "{error}");
    }
    // A HEAD has no body, and no code.
    bench.proxy.fail(1, "HEAD", "", Fault::answer_with(400, &[("x-amz-bucket-region", "eu-west-1")], ""));
    let error = bench.adapter.head(&key("k")).await.unwrap_err();
    assert!(error.to_string().contains("set region to eu-west-1"), "{error}");
    // Nor does it say that the token has expired.
    bench.proxy.fail(1, "HEAD", "", Fault::answer(400));
    let error = bench.adapter.head(&key("k")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.to_string().contains("get new credentials"), "{error}");
    bench.proxy.fail(1, "HEAD", "", Fault::answer(403));
    assert_eq!(kind(bench.adapter.head(&key("k")).await), ErrorKind::AccessDenied);
    // Where no other region is named, it is about the credentials.
    bench.proxy.fail(1, "GET", "", Fault::answer_with(400, &[], &xml("AuthorizationHeaderMalformed")));
    let error = bench.read("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    assert!(error.to_string().contains("words of the service"), "{error}");
}

/// To a HEAD there is no code; the service's clock stands in its answer.
#[tokio::test]
async fn a_wrong_clock_is_told_without_a_code() {
    let bench = Bench::new().await;
    for (minutes, right) in [(60, ErrorKind::Unauthenticated), (5, ErrorKind::AccessDenied)] {
        let then = std::time::SystemTime::now() - std::time::Duration::from_secs(minutes * 60);
        let date = aws_smithy_types::DateTime::from(then)
            .fmt(aws_smithy_types::date_time::Format::HttpDate)
            .unwrap();
        bench.proxy.clear();
        bench.proxy.fail(1, "HEAD", "", Fault::answer_with(403, &[("date", &*date)], ""));
        let error = bench.adapter.head(&key("k")).await.unwrap_err();
        assert_eq!(error.kind(), right, "{error}");
        assert_eq!(error.to_string().contains("clock is wrong"), minutes == 60, "{error}");
    }
}

/// Without s3:ListBucket what is gone is answered with 403; other refusals are told as they are.
#[tokio::test]
async fn a_snapshot_that_is_gone_while_it_is_read_is_a_conflict() {
    let bench = Bench::new().await;
    bench.put("state", &noise(1, 1 << 20), PutOptions::new()).await.unwrap();
    for (status, code, right) in [
        (403, "AccessDenied", ErrorKind::Conflict),
        (404, "NoSuchKey", ErrorKind::Conflict),
        (416, "InvalidRange", ErrorKind::Conflict),
        (400, "InvalidRequest", ErrorKind::InvalidInput),
    ] {
        bench.proxy.fail(1, "GET", "state", Fault::EndResponse(1000));
        bench.proxy.fail(1, "GET", "state", Fault::answer_with(status, &[], &xml(code)));
        let error = bench.read("state").await.unwrap_err();
        assert_eq!(error.kind(), right, "{code}: {error}");
        assert!(std::error::Error::source(&error).is_some(), "{code}: {error}");
    }
    // A page is a proxy's word.
    let page = Fault::answer_with(413, &[], "<html>413 Request Entity Too Large</html>");
    bench.proxy.fail(1, "PUT", "large", page);
    let error = bench.put("large", &noise(1, 1000), PutOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    assert!(error.to_string().contains("client_max_body_size"), "{error}");
    bench.proxy.fail(1, "GET", "state", Fault::EndResponse(1000));
    let page = Fault::answer_with(403, &[("content-type", "text/html")], "<html>blocked</html>");
    bench.proxy.fail(1, "GET", "state", page);
    assert_eq!(kind(bench.read("state").await), ErrorKind::AccessDenied);
}

/// An attempt at a part that was given up may arrive behind the one that was answered, with another ETag
/// where KMS encrypts.
#[tokio::test]
async fn parts_that_were_mixed_up_are_to_be_saved_again() {
    let bench = Bench::new().await;
    bench.proxy.fail(9, "POST", "uploadId=", Fault::answer_with(400, &[], &xml("InvalidPart")));
    let error = bench.put("large", &noise(1, LARGE), PutOptions::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Conflict, true), "{error}");
    assert!(error.to_string().contains("save again"), "{error}");
    assert_eq!((bench.proxy.count("POST", "uploadId="), bench.is_clean()), (1, true));
    // The same behind a 200: it is no failure in the middle of the work.
    bench.proxy.clear();
    bench.proxy.fail(9, "POST", "uploadId=", Fault::answer_with(200, &[], &xml("InvalidPart")));
    let error = bench.put("large", &noise(1, LARGE), PutOptions::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Conflict, true), "{error}");
    assert_eq!((bench.proxy.count("POST", "uploadId="), bench.is_clean()), (1, true));
    bench.proxy.clear();
    bench.proxy.fail(9, "POST", "uploadId=", Fault::answer_with(200, &[], &xml("InvalidRequest")));
    let error = bench.put("large", &noise(1, LARGE), PutOptions::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::InvalidInput, false), "{error}");
    assert_eq!((bench.proxy.count("POST", "uploadId="), bench.is_clean()), (1, true));
}

/// As Cloudflare's R2 refuses parts that grow: saved again they would be refused again.
#[tokio::test]
async fn parts_that_must_be_alike_are_not_saved_again() {
    let bench = Bench::new().await;
    for status in [400, 200] {
        bench.proxy.clear();
        let words = "All non-trailing parts must have the same length.";
        let text = format!("<Error><Code>InvalidPart</Code><Message>{words}</Message></Error>");
        bench.proxy.fail(9, "POST", "uploadId=", Fault::answer_with(status, &[], &text));
        let error = bench.put("large", &noise(1, LARGE), PutOptions::new()).await.unwrap_err();
        assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unsupported, false), "{error}");
        assert!(error.to_string().contains("raise part_size"), "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!((bench.proxy.count("POST", "uploadId="), bench.is_clean()), (1, true));
    }
}

/// A login page says 200, and has stored nothing.
#[tokio::test]
async fn a_success_that_is_not_the_services_is_an_outage() {
    let bench = Bench::new().await;
    let page = || Fault::answer_with(200, &[("content-type", "text/html")], "<html>Please log in</html>");
    let foreign = |error: persist::Error| {
        assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unavailable, true), "{error}");
        assert!(error.to_string().contains("is not S3's"), "{error}");
        assert!(error.to_string().contains(&bench.proxy.url()), "{error}");
    };
    for (name, len, target) in [("small", 1000, "small"), ("large", LARGE, "partNumber=1")] {
        let bytes = noise(1, len);
        bench.proxy.fail(6, "PUT", target, page());
        foreign(bench.put(name, &bytes, PutOptions::new()).await.unwrap_err());
        assert!(bench.stored(name).is_none() && bench.is_clean(), "{name}");
        // One of a moment is carried.
        bench.proxy.fail(1, "PUT", target, page());
        bench.put(name, &bytes, PutOptions::new()).await.unwrap();
        assert!(bench.stored(name) == Some(bytes), "{name}");
    }
    bench.proxy.fail(6, "GET", "small", page());
    foreign(bench.read("small").await.unwrap_err());
    assert_eq!(bench.read("small").await.unwrap(), noise(1, 1000));
    // Whether it was stored is not known: what a later attempt finds there is looked at.
    bench.proxy.fail(1, "PUT", "created", page());
    bench.put("created", &noise(2, 100), PutOptions::new().create()).await.unwrap();
    assert_eq!(bench.stored("created"), Some(noise(2, 100)));
    // A gateway in front of other programs' files may know no ETag of them.
    let file = Fault::answer_with(200, &[("x-amz-request-id", "REQ7")], "content");
    bench.proxy.fail(1, "GET", "file", file);
    assert_eq!(bench.read("file").await.unwrap(), "content");
}

#[tokio::test]
async fn wrong_credentials_and_missing_buckets_on_real_servers() {
    for name in ["SEAWEEDFS", "MOTO"] {
        let mut server = running(name);
        server.bucket = "no-such-bucket-here".into();
        let error = S3Adapter::open(&server.bucket, &server.config, &quick()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{name}: {error}");
        assert!(error.to_string().contains("there is no such bucket"), "{name}: {error}");
    }
    let strict = StrictServer::start().await;
    for (mut server, name) in [(running("SEAWEEDFS"), "SeaweedFS"), (strict.server.clone(), "strict")] {
        server.config.secret_access_key = Some("not-the-right-secret".into());
        let opened = S3Adapter::open(&server.bucket, &server.config, &quick()).await;
        // Some servers call it AccessDenied; then nothing is promised, and the first use says it.
        let error = match opened {
            Err(error) => error,
            Ok(adapter) => adapter.head(&key("k")).await.unwrap_err(),
        };
        assert!(
            matches!(error.kind(), ErrorKind::Unauthenticated | ErrorKind::AccessDenied),
            "{name}: {error}"
        );
        let shown = format!("{error} {error:?} {:?}", std::error::Error::source(&error));
        assert!(!shown.contains("not-the-right-secret"), "{name}: {shown}");
    }
}

#[tokio::test]
async fn credentials_that_only_read_can_read() {
    let writer = running("SEAWEEDFS").open().await;
    writer.put(&key("reader/state"), "state".into(), PutOptions::new()).await.unwrap();
    let mut server = running("SEAWEEDFS");
    server.config.access_key_id = Some("readerkey".into());
    server.config.secret_access_key = Some("readersecret".into());
    let reader = server.open().await;
    let capabilities = reader.capabilities();
    assert!(!capabilities.create && !capabilities.replace && !capabilities.conditional_delete);
    let object = reader.get(&key("reader/state"), Default::default()).await.unwrap();
    assert_eq!(object.body.collect(10).await.unwrap(), "state");
    let refused = reader.put(&key("reader/new"), "x".into(), PutOptions::new()).await;
    assert_eq!(kind(refused), ErrorKind::AccessDenied);
    let refused = reader.put(&key("reader/new"), "x".into(), PutOptions::new().create()).await;
    assert_eq!(kind(refused), ErrorKind::Unsupported);
    // A session, too, is read.
    let session = |adapter: &S3Adapter| {
        Sessions::new(Arc::new(adapter.clone())).unwrap().session("reader", "s").unwrap()
    };
    session(&writer).save("one").await.unwrap();
    assert_eq!(session(&reader).load(At::Latest).await.unwrap().state, "one");
    let refused = session(&reader).save("two").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.to_string().contains("these credentials may not try it"), "{refused}");
    let parts = writer.list(ListOptions::new().prefix("sessions/reader/"));
    let parts: Vec<_> = futures_util::TryStreamExt::try_collect(parts).await.unwrap();
    for part in parts {
        writer.delete(&key(part.name()), DeleteOptions::new()).await.unwrap();
    }
    writer.delete(&key("reader/state"), DeleteOptions::new()).await.unwrap();
}

/// What credentials may not do under one prefix says nothing about another, or about later.
#[tokio::test]
async fn a_refused_probe_is_forgotten() {
    let strict = StrictServer::start().await;
    let proxy = Proxy::start(&strict.server.endpoint).await;
    let server = strict.server.behind(proxy.url());
    let open = |prefix: &'static str| {
        let server = server.clone();
        async move { S3Adapter::open_under(&server.bucket, prefix, &server.config, &quick()).await.unwrap() }
    };
    proxy.fail(99, "PUT", "/forbidden/", Fault::answer_with(403, &[], &xml("AccessDenied")));
    assert!(!open("forbidden").await.capabilities().create);
    assert!(open("allowed").await.capabilities().create);
    // What a server does, it does under all of its prefixes.
    proxy.clear();
    assert!(open("forbidden").await.capabilities().create);
    assert_eq!(proxy.count("", ""), 0);
}

#[tokio::test]
async fn bad_settings_are_named() {
    let base = S3Config { endpoint_url: Some("http://127.0.0.1:1".into()), ..S3Config::default() };
    let keys = |id: &str, secret: &str, token: Option<&str>| S3Config {
        access_key_id: Some(id.into()),
        secret_access_key: Some(secret.into()),
        session_token: token.map(Into::into),
        ..base.clone()
    };
    let cases = [
        (S3Config { part_size: Some(1000), ..base.clone() }, "part_size"),
        (S3Config { parallel: Some(0), ..base.clone() }, "parallel"),
        (S3Config { parallel: Some(65), ..base.clone() }, "parallel"),
        (S3Config { encryption: Some("rot13".into()), ..base.clone() }, "encryption"),
        (
            S3Config { encryption: Some("AES256".into()), kms_key: Some("k".into()), ..base.clone() },
            "kms_key",
        ),
        (S3Config { bucket_key: true, ..base.clone() }, "bucket_key"),
        (S3Config { checksums: Some("always".into()), ..base.clone() }, "checksums"),
        (S3Config { access_key_id: Some("id".into()), ..base.clone() }, "secret_access_key"),
        (S3Config { session_token: Some("t".into()), ..base.clone() }, "session_token"),
        (S3Config { anonymous: true, profile: Some("p".into()), ..base.clone() }, "anonymous"),
        (S3Config { endpoint_url: Some("localhost:9000".into()), ..base.clone() }, "endpoint_url"),
        (S3Config { endpoint_url: Some("https://user:SECRET@host".into()), ..base.clone() }, "endpoint_url"),
        (S3Config { endpoint_url: Some("https://SECRET@host".into()), ..base.clone() }, "endpoint_url"),
        (
            S3Config { endpoint_url: Some("https://host/?token=SECRET".into()), ..base.clone() },
            "endpoint_url",
        ),
        (S3Config { read_timeout: Some(std::time::Duration::ZERO), ..base.clone() }, "read_timeout"),
        // No header can hold them.
        (keys("AKIA\n", "SECRET", None), "access_key_id"),
        (keys("AKIAé", "SECRET", None), "access_key_id"),
        (keys("AKIA", "SECRET\n", None), "secret_access_key"),
        (keys("AKIA", "SECRET", Some("SECRET\r\n")), "session_token"),
        (S3Config { region: Some("eu-west-1\n".into()), ..keys("AKIA", "SECRET", None) }, "region"),
    ];
    for (config, setting) in cases {
        let error = S3Adapter::open("bucket", &config, &quick()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{setting}");
        assert!(error.to_string().starts_with("s3: ") && error.to_string().contains(setting), "{error}");
        assert!(!format!("{error} {error:?}").contains("SECRET"), "{error}");
    }
    assert_eq!(kind(S3Adapter::open("", &base, &quick()).await), ErrorKind::InvalidConfig);
    // Requests are signed with the secret and none contains it: servers with users of their own take any
    // text.
    let phrase = keys("minioadmin", "correct horse, gewiß", None);
    assert_eq!(kind(S3Adapter::open("bucket", &phrase, &quick()).await), ErrorKind::Unavailable);
}

#[tokio::test]
async fn no_credentials_says_where_to_put_some() {
    let strict = StrictServer::start().await;
    // A profile without keys: the chain behind it must not reach out to the network for long, so the read
    // fails at once.
    let folder = std::env::temp_dir().join(format!("persist-no-credentials-{}", std::process::id()));
    let config = S3Config {
        access_key_id: None,
        secret_access_key: None,
        profile: Some(format!("persist-no-such-profile-{}", folder.display())),
        ..strict.server.config.clone()
    };
    let error = S3Adapter::open(&strict.server.bucket, &config, &quick()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    assert!(error.to_string().contains("credentials"), "{error}");
    assert!(strict.store().objects.is_empty());
}

#[tokio::test]
async fn archived_objects_say_how_to_get_them_back() {
    let bench = Bench::new().await;
    let options = PutOptions::new().tier(persist::Tier::Archive);
    bench.put("cold", &noise(1, 100), options).await.unwrap();
    let error = bench.read("cold").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("archived; restore it first"), "{error}");
    assert_eq!(bench.adapter.head(&key("cold")).await.unwrap().tier, Some(persist::Tier::Archive));
    assert_eq!(bench.names(ListOptions::new()).await.unwrap(), ["cold"]);
}

/// Everything but listings works without `s3:ListBucket` and `s3:ListBucketMultipartUploads`.
#[tokio::test]
async fn credentials_that_may_not_list_save_and_load() {
    let strict = StrictServer::start().await;
    strict.store().unlisted = true;
    let proxy = Proxy::start(&strict.server.endpoint).await;
    let mut server = strict.server.behind(proxy.url());
    server.config.atomic_multipart = Some(true);
    let adapter = server.open().await;
    let can = adapter.capabilities();
    assert!(can.create && can.replace && can.create_large && can.conditional_delete && can.tags, "{can:?}");
    for (name, len) in [("small", 1000), ("large", LARGE)] {
        let (key, bytes) = (key(name), noise(1, len));
        // With a lost answer each: one's own object is recognised.
        proxy.fail(1, if len == LARGE { "POST" } else { "PUT" }, name, Fault::Swallow);
        let meta = adapter.put(&key, bytes.clone().into(), PutOptions::new().create()).await.unwrap();
        let again = adapter.put(&key, bytes.clone().into(), PutOptions::new().create()).await;
        assert_eq!(kind(again), ErrorKind::AlreadyExists);
        let object = adapter.get(&key, Default::default()).await.unwrap();
        assert!(object.body.collect(u64::MAX).await.unwrap() == bytes);
        adapter.put(&key, "new".into(), PutOptions::new().replace(meta.version)).await.unwrap();
        adapter.delete(&key, DeleteOptions::new()).await.unwrap();
    }
    // A race that is lost to a removal is a race.
    let refused = Fault::answer_with(412, &[], &xml("PreconditionFailed"));
    proxy.clear();
    proxy.fail(1, "PUT", "raced", Fault::answer(503));
    proxy.fail(1, "PUT", "raced", refused.clone());
    let stale = persist::Version::new("0123");
    let raced = adapter.put(&key("raced"), "x".into(), PutOptions::new().replace(stale.clone())).await;
    assert_eq!(kind(raced), ErrorKind::Conflict);
    // Whether there is another version cannot be told.
    proxy.fail(1, "DELETE", "raced", refused);
    let removed = adapter.delete(&key("raced"), DeleteOptions::new().if_version(stale)).await;
    assert_eq!(kind(removed), ErrorKind::AccessDenied);
    assert_eq!(proxy.count("HEAD", "raced"), 2);
    let error = adapter.head(&key("small")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AccessDenied);
    assert!(error.to_string().contains("without s3:ListBucket a missing key looks the same"), "{error}");
    let listed = futures_util::TryStreamExt::try_next(&mut adapter.list(ListOptions::new())).await;
    assert_eq!(kind(listed), ErrorKind::AccessDenied);
}

/// A first run may find nothing; a bucket of a wrong name is no first run.
#[tokio::test]
async fn a_missing_bucket_is_no_missing_snapshot() {
    let bench = Bench::new().await;
    let refused = |code| Fault::answer_with(404, &[("x-amz-request-id", "REQ7")], &xml(code));
    bench.proxy.fail(1, "GET", "", refused("NoSuchBucket"));
    let error = bench.adapter.load("key").await.optional().unwrap_err();
    assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains("no such bucket"), "{error}");
    bench.proxy.fail(1, "GET", "", refused("NoSuchKey"));
    assert!(bench.adapter.load("key").await.optional().unwrap().is_none());
    // Also of sessions, whose first request is a listing.
    let session = Sessions::new(Arc::new(bench.adapter.clone())).unwrap().session("a", "s").unwrap();
    bench.proxy.fail(1, "GET", "", refused("NoSuchBucket"));
    assert!(session.load(At::Latest).await.optional().is_err());
    assert!(session.load(At::Latest).await.optional().unwrap().is_none());
}
