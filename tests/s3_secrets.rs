//! Nothing that opens a door is ever written: every event of every crate, at every level, goes into a buffer.
//! Alone in its program, because tests beside it that log nothing would switch events off.
#![cfg(all(feature = "s3", feature = "testing"))]
#![allow(clippy::unwrap_used, dead_code)]

#[path = "s3/bench.rs"]
mod bench;
#[path = "support/events.rs"]
mod events;
mod support;

use std::fmt::Write;

use persist::{ErrorKind, PutOptions, SnapshotAdapter, SnapshotAdapterExt};

use crate::{
    bench::{Bench, key, noise},
    events::Buffer,
    support::{
        proxy::Fault,
        s3::{LARGE, quick},
    },
};

// One thread, so that the subscriber sees the events of every task.
#[tokio::test]
async fn no_key_or_token_is_ever_written() {
    let buffer = Buffer::default();
    let _guard = tracing::subscriber::set_default(buffer.clone());
    let bench = Bench::changed(&quick(), |config| {
        config.session_token = Some("SESSION-TOKEN-1".into());
    })
    .await;
    let mut shown = String::new();
    // What works, what is retried, what is lost, what fails for good.
    bench.proxy.fail(1, "PUT", "small", Fault::answer(503));
    bench.proxy.fail(1, "PUT", "small", Fault::Swallow);
    bench.put("small", &noise(1, 1000), PutOptions::new().create()).await.unwrap();
    bench.proxy.fail(1, "PUT", "partNumber", Fault::ResetBefore);
    bench.put("large", &noise(1, LARGE), PutOptions::new()).await.unwrap();
    bench.proxy.fail(1, "GET", "large", Fault::CutResponse(1000));
    assert!(bench.read("large").await.unwrap() == noise(1, LARGE));
    bench.adapter.set_tier(&key("small"), persist::Tier::Cool).await.unwrap();
    bench.names(Default::default()).await.unwrap();
    bench.adapter.save("state", "snapshot.gz").await.unwrap();
    let told = "<Error><Code>SignatureDoesNotMatch</Code><Message>words</Message><AWSAccessKeyId>strictkey</AWSAccessKeyId>\
                <CanonicalRequest>x-amz-security-token:SESSION-TOKEN-1</CanonicalRequest></Error>";
    bench.proxy.fail(1, "GET", "snapshot", Fault::answer_with(403, &[], told));
    let error = bench.adapter.load("snapshot.gz").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    let mut source: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = source {
        write!(shown, "{error} {error:?}").unwrap();
        source = error.source();
    }
    write!(shown, "{:?} {} {:?}", bench.adapter, bench.adapter, bench.strict.server.config).unwrap();
    assert!(
        bench
            .proxy
            .log()
            .iter()
            .all(|seen| seen.head.header("x-amz-security-token") == Some("SESSION-TOKEN-1"))
    );
    let written = buffer.0.lock().unwrap().clone() + &shown;
    assert!(written.contains("retrying"), "the buffer sees events");
    assert!(written.contains("hyper") && written.contains("aws_smithy"), "also those of other crates");
    for secret in ["strictsecret", "SESSION-TOKEN-1"] {
        assert!(!written.contains(secret), "{secret} was written: {}", around(&written, secret));
    }
    // The id of a key opens nothing. The SDK shows it, as `docs/s3.md` says; nobody else does.
    let id = "strictkey";
    let sdk = [" aws_smithy_runtime::", " aws_sigv4::"];
    let others = written.lines().filter(|line| !sdk.iter().any(|target| line.contains(target)));
    for line in others {
        assert!(!line.contains(id), "{id} was written: {}", around(line, id));
    }
}

/// The place where it stands, to see who wrote it.
fn around<'a>(written: &'a str, secret: &str) -> &'a str {
    let at = written.find(secret).unwrap();
    &written[written.floor_char_boundary(at.saturating_sub(600))..written.floor_char_boundary(at + 80)]
}
