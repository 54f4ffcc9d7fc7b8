//! Saves one of whose attempts got no answer: what comes out is what is there, or says that nobody knows.

use std::sync::Arc;

use persist::{DeleteOptions, ErrorKind, PutOptions, SnapshotAdapter, Version, sessions::Sessions};

use crate::{
    bench::{Bench, answer, key, kind, noise},
    support::{proxy::Fault, s3::LARGE},
};

/// What may follow an attempt that was carried out and whose answer was lost.
fn ends() -> [Fault; 5] {
    [
        answer(400, "ExpiredToken"),
        answer(403, "AccessDenied"),
        answer(503, "SlowDown"),
        answer(400, "InvalidRequest"),
        answer(409, "ConditionalRequestConflict"),
    ]
}

#[tokio::test]
async fn a_refusal_does_not_hide_a_save_that_was_done() {
    let bench = Bench::new().await;
    for (name, len, target) in [("small", 1000, "small"), ("large", LARGE, "uploadId=")] {
        let method = if len == LARGE { "POST" } else { "PUT" };
        for (at, end) in ends().into_iter().enumerate() {
            for (mode, number) in [("create", 0), ("replace", 1), ("overwrite", 2)] {
                if len == LARGE && at % 3 != number {
                    continue; // each end and each mode once: it is much to send
                }
                bench.proxy.clear();
                bench.strict.store().objects.clear();
                let options = match mode {
                    "create" => PutOptions::new().create(),
                    "replace" => {
                        let old = bench.put(name, &noise(7, 10), PutOptions::new()).await.unwrap();
                        PutOptions::new().replace(old.version)
                    }
                    _ => PutOptions::new(),
                };
                bench.proxy.fail(1, method, target, Fault::Swallow);
                bench.proxy.fail(99, method, target, end.clone());
                let context = format!("{mode} {name}, {end:?}");
                let bytes = noise(8, len);
                let outcome = bench.put(name, &bytes, options).await;
                assert!(bench.stored(name) == Some(bytes), "{context}");
                match outcome {
                    Ok(meta) => {
                        let head = bench.adapter.head(&key(name)).await.unwrap();
                        assert_eq!((meta.version, meta.size), (head.version, head.size), "{context}");
                    }
                    // Without a mark it cannot be told whose it is.
                    Err(error) => {
                        assert_eq!((mode, len), ("overwrite", 1000), "{context}: {error}");
                        assert_eq!(error.kind(), ErrorKind::Unavailable, "{context}: {error}");
                        assert!(error.to_string().contains("may have been carried out"), "{error}");
                    }
                }
            }
        }
    }
}

/// Where not even the look is allowed any more, and where somebody else has written since.
#[tokio::test]
async fn what_cannot_be_looked_at_may_have_been_done() {
    let bench = Bench::new().await;
    let create = || PutOptions::new().create();
    for (at, end) in ends().into_iter().enumerate().take(4) {
        let name = format!("refused-{at}");
        bench.proxy.fail(1, "PUT", &name, Fault::Swallow);
        bench.proxy.fail(99, "PUT", &name, end.clone());
        bench.proxy.fail(99, "HEAD", &name, Fault::answer(403));
        let error = bench.put(&name, &noise(1, 100), create()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{end:?}: {error}");
        assert!(std::error::Error::source(&error).is_some(), "{error}");
    }
    // Ours was removed, and theirs is there: it does not say that ours never was.
    bench.proxy.fail(1, "PUT", "theirs", Fault::ResetBefore);
    bench.proxy.fail(99, "PUT", "theirs", answer(403, "AccessDenied"));
    let outcome = bench.put("theirs", &noise(1, 100), create()).await;
    assert_eq!(kind(outcome), ErrorKind::Unavailable);
    // What was refused each time was never done, and is told as it is; so is what the service refused in its
    // own words before.
    bench.proxy.fail(1, "PUT", "refused", answer(503, "SlowDown"));
    bench.proxy.fail(99, "PUT", "refused", answer(403, "AccessDenied"));
    assert_eq!(kind(bench.put("refused", &noise(1, 100), create()).await), ErrorKind::AccessDenied);
    assert_eq!(
        bench
            .proxy
            .log()
            .iter()
            .filter(|seen| seen.method == "HEAD" && seen.target.ends_with("/refused"))
            .count(),
        0
    );
}

/// The key was taken, and now there is nothing: it was our own that somebody has removed, or a proxy hides it
/// for a moment.
#[tokio::test]
async fn what_is_not_there_is_no_rivals() {
    let bench = Bench::new().await;
    let create = || PutOptions::new().create();
    let missing = || Fault::answer_with(404, &[("x-amz-request-id", "R")], "");
    for (name, len, method, target) in
        [("small", 1000, "PUT", "small"), ("large", LARGE, "POST", "uploadId=")]
    {
        let bytes = noise(1, len);
        // Carried out, not answered; then the condition does not hold, and the look at it finds nothing.
        bench.proxy.fail(1, method, target, Fault::Swallow);
        bench.proxy.fail(1, method, target, answer(412, "PreconditionFailed"));
        bench.proxy.fail(1, "HEAD", name, missing());
        let meta = bench.put(name, &bytes, create()).await.unwrap();
        assert_eq!(meta.version, bench.adapter.head(&key(name)).await.unwrap().version, "{name}");
        bench.strict.store().objects.clear();
        bench.proxy.clear();
    }
    // It stays like that.
    bench.proxy.fail(1, "PUT", "small", Fault::Swallow);
    bench.proxy.fail(99, "PUT", "small", answer(412, "PreconditionFailed"));
    bench.proxy.fail(99, "HEAD", "small", missing());
    let error = bench.put("small", &noise(1, 1000), create()).await.unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unavailable, true), "{error}");
    assert!(error.to_string().contains("may have been carried out"), "{error}");
}

/// A session whose save failed like that goes on with its own commit.
#[tokio::test]
async fn a_session_is_no_rival_of_itself() {
    let bench = Bench::new().await;
    let sessions = Sessions::new(Arc::new(bench.adapter.clone())).unwrap();
    let session = sessions.session("bot", "s").unwrap();
    session.save("one").await.unwrap();
    bench.proxy.fail(1, "PUT", "sessions/", Fault::Swallow);
    bench.proxy.fail(99, "", "", answer(400, "ExpiredToken"));
    let error = session.save("two").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    bench.proxy.clear();
    let commit = session.save("two").await.unwrap();
    let stored = session.load(persist::sessions::At::Latest).await.unwrap();
    assert_eq!((stored.commit.seq, &stored.state[..]), (commit.seq, &b"two"[..]));
}

/// A 412 says that the key is taken; without s3:GetObject nobody can say by whom.
#[tokio::test]
async fn a_create_that_cannot_be_recognised_is_not_a_rivals() {
    let bench = Bench::new().await;
    bench.proxy.fail(99, "HEAD", "", Fault::answer(403));
    bench.proxy.fail(1, "PUT", "small", Fault::Swallow);
    let create = || PutOptions::new().create();
    let error = bench.put("small", &noise(1, 100), create()).await.unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unavailable, false), "{error}");
    assert!(error.to_string().contains("s3:GetObject"), "{error}");
    assert_eq!(bench.stored("small"), Some(noise(1, 100)));
    bench.proxy.fail(1, "POST", "uploadId=", Fault::Swallow);
    let error = bench.put("large", &noise(1, LARGE), create()).await.unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unavailable, false), "{error}");
    assert!(bench.stored("large").is_some() && bench.is_clean());
    // A second attempt behind a refusal is no doubt: it is a rival's, and nobody has to look.
    let looked = bench.proxy.count("HEAD", "");
    bench.proxy.fail(1, "PUT", "small", answer(503, "SlowDown"));
    assert_eq!(kind(bench.put("small", &noise(2, 100), create()).await), ErrorKind::AlreadyExists);
    assert_eq!(bench.proxy.count("HEAD", ""), looked);
}

/// A removal that was refused has removed nothing, whatever these credentials may see of it.
#[tokio::test]
async fn a_refused_removal_is_not_done() {
    let bench = Bench::new().await;
    bench.put("state", &noise(1, 100), PutOptions::new()).await.unwrap();
    bench.proxy.fail(99, "HEAD", "", Fault::answer(403));
    let stale = DeleteOptions::new().if_version(Version::new("0123"));
    let error = bench.adapter.delete(&key("state"), stale.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AccessDenied, "{error}");
    assert!(error.to_string().contains("s3:GetObject"), "{error}");
    assert_eq!(bench.stored("state"), Some(noise(1, 100)));
    bench.proxy.clear();
    assert_eq!(kind(bench.adapter.delete(&key("state"), stale).await), ErrorKind::Conflict);
}

/// An upload that is gone behind an attempt at its end that got no answer: that one may have been carried
/// out, and overwritten since, or may still show.
#[tokio::test]
async fn an_upload_that_is_gone_may_have_been_completed() {
    let bench = Bench::new().await;
    let theirs = bench.put("taken", &noise(2, 100), PutOptions::new()).await.unwrap();
    for (name, options, right) in [
        ("taken", PutOptions::new(), ErrorKind::Unavailable),
        ("free", PutOptions::new(), ErrorKind::Unavailable),
        ("free", PutOptions::new().create(), ErrorKind::Unavailable),
        ("taken", PutOptions::new().replace(theirs.version), ErrorKind::Unavailable),
        // What is there cannot be ours, nor ever become so.
        ("taken", PutOptions::new().create(), ErrorKind::AlreadyExists),
        ("taken", PutOptions::new().replace(Version::new("0123")), ErrorKind::Conflict),
    ] {
        bench.proxy.fail(1, "POST", "uploadId=", Fault::ResetBefore);
        bench.proxy.fail(1, "POST", "uploadId=", answer(404, "NoSuchUpload"));
        let context = format!("{name}, {:?}", options.mode);
        let error = bench.put(name, &noise(1, LARGE), options).await.unwrap_err();
        assert_eq!(error.kind(), right, "{context}: {error}");
        assert_eq!(error.retryable(), right == ErrorKind::Unavailable, "{context}: {error}");
    }
    assert_eq!(bench.stored("taken"), Some(noise(2, 100)));
    assert!(bench.is_clean());
}

/// What a gateway in between says about itself is not that somebody has the key.
#[tokio::test]
async fn a_404_to_the_end_of_a_creation_is_no_rival() {
    let bench = Bench::new().await;
    let no_such_key = "<Error><Code>NoSuchKey</Code><Message>scripted</Message></Error>";
    let create = || bench.put("large", &*Box::leak(Box::new(noise(1, LARGE))), PutOptions::new().create());
    let own = Fault::answer_with(404, &[("x-amz-request-id", "R")], "");
    for fault in [own.clone(), Fault::answer_with(404, &[], no_such_key)] {
        bench.proxy.fail(1, "POST", "uploadId", fault);
        let error = create().await.unwrap_err();
        assert_eq!((error.kind(), error.retryable()), (ErrorKind::Conflict, true), "{error}");
    }
    bench.put("large", &noise(2, 100), PutOptions::new()).await.unwrap();
    bench.proxy.fail(1, "POST", "uploadId", own);
    assert_eq!(kind(create().await), ErrorKind::AlreadyExists);
    assert!(bench.is_clean());
}
