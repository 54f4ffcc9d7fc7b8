//! Nothing that opens a door is ever written: every event of every crate, at every level, goes into a buffer.
//! Alone in its program, because tests beside it that log nothing would switch events off.
#![cfg(feature = "gcs")]
#![allow(clippy::unwrap_used, dead_code, unreachable_pub, unused_imports)]

#[path = "support/events.rs"]
mod events;
#[path = "gcs/strict/mod.rs"]
mod strict;
#[path = "gcs/support.rs"]
mod support;

use std::fmt::Write;

use persist::{GcsConfig, PutOptions, SnapshotAdapter, SnapshotAdapterExt, adapters::gcs::GcsAdapter};
use serde_json::json;

use crate::{
    events::Buffer,
    strict::{BUCKET, Fault, Kind, Rules, Server},
    support::{config, data, guarded, key, retry, streamed},
};

/// The older facade, which reqwest and its TLS write to. `yup_oauth2` is left out as `docs/gcs.md` says: it
/// shows tokens at level debug.
impl log::Log for Buffer {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        !metadata.target().starts_with("yup_oauth2")
    }

    fn log(&self, record: &log::Record<'_>) {
        if log::Log::enabled(self, record.metadata()) {
            write!(self.0.lock().unwrap(), "\n{} {}", record.target(), record.args()).unwrap();
        }
    }

    fn flush(&self) {}
}

// One thread, so that the subscriber sees the events of every task.
#[tokio::test]
async fn no_token_key_or_session_is_ever_written() {
    let buffer = Buffer::default();
    log::set_logger(Box::leak(Box::new(buffer.clone()))).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let _guard = tracing::subscriber::set_default(buffer.clone());
    let server = guarded().await;
    let csek = "U1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1M=";
    let (user, service) = {
        let state = server.state();
        (state.tokens.authorized_user(), state.tokens.service_account())
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "SECRET-SUBJECT").unwrap();
    let external = server.state().tokens.external_account(json!({ "file": file }), true);
    let impersonated = server.state().tokens.impersonated(user.clone());
    let mut shown = String::new();
    for credentials in [user, service, external, impersonated] {
        let config = GcsConfig {
            credentials_json: Some(credentials.to_string().into()),
            encryption_key: Some(csek.into()),
            ..config(&server)
        };
        let store = GcsAdapter::open(BUCKET, &config, &retry()).await.unwrap();
        let bytes = data(700_000, 1);
        // What works, what is retried, what is lost, what fails for good.
        server.script(
            Kind::Data,
            [Fault::Reset, Fault::Status(503), Fault::Persist(1000, Some(0)), Fault::Pass, Fault::Lost],
        );
        store.put(&key("k"), streamed(&bytes), PutOptions::new()).await.unwrap();
        server.state().tokens.revoke();
        server.script(Kind::Media, [Fault::Cut(1000)]);
        store.load("k").await.unwrap();
        for fault in [
            Fault::Answer(
                403,
                vec![],
                "PUT https://x/upload?upload_id=SECRET-SESSION-1 with Bearer ya29.SECRET-TOKEN".into(),
            ),
            Fault::Answer(
                400,
                vec![],
                "<html><p>The URL /upload/storage/v1/b/x/o?uploadType=resumable&upload_id=SECRET-SESSION-1 was odd: \
                 {\"authorization\":\"Bearer ya29.SECRET-TOKEN\"}</html>"
                    .into(),
            ),
            Fault::Forget(410),
        ] {
            server.script(Kind::Data, [Fault::Pass, fault]);
            let error = store.put(&key("k"), streamed(&bytes), PutOptions::new()).await.unwrap_err();
            let mut source: Option<&dyn std::error::Error> = Some(&error);
            while let Some(error) = source {
                write!(shown, "{error} {error:?}").unwrap();
                source = error.source();
            }
        }
        server.script(
            Kind::Token,
            (0..9).map(|_| Fault::Answer(400, vec![], r#"{"error":"invalid_grant"}"#.into())),
        );
        server.state().tokens.revoke();
        let error = store.load("k").await.unwrap_err();
        // Who refuses a form may quote it.
        server.state().faults = Default::default();
        let quoted = "in Request.Form: refresh_token=SECRET&assertion=SECRET, <b>SECRET</b>";
        server.script(Kind::Token, [Fault::Answer(400, vec![], quoted.into())]);
        let refused = store.load("k").await.unwrap_err();
        write!(shown, "{refused} {refused:?}").unwrap();
        write!(shown, "{error} {error:?} {store:?} {config:?} {store}").unwrap();
        server.state().faults = Default::default();
    }
    // Some servers have a session's id in its path.
    let server = Server::with(Rules { sessions_in_path: true, ..Rules::default() }).await;
    let store = GcsAdapter::open(BUCKET, &config(&server), &retry()).await.unwrap();
    let named = vec![("x-guploader-uploadid", "SECRET-SESSION-1".to_owned())];
    server.script(Kind::Data, [Fault::Pass, Fault::Reset, Fault::Answer(403, named, "no".into())]);
    let error = store.put(&key("k"), streamed(&data(700_000, 1)), PutOptions::new()).await.unwrap_err();
    write!(shown, "{error} {error:?}").unwrap();
    store.put(&key("k"), streamed(&data(700_000, 1)), PutOptions::new()).await.unwrap();
    assert!(server.count(Kind::Probe) > 0 && server.count(Kind::Cancel) == 1);
    let written = buffer.0.lock().unwrap().clone() + &shown;
    assert!(
        written.contains("retrying") && written.contains("access token fetched"),
        "the buffer sees events"
    );
    assert!(written.contains("hyper") && written.contains("reqwest"), "also those of other crates");
    let key_line = include_str!("gcs/strict/test_key.pem").lines().nth(3).unwrap();
    for secret in ["SECRET", "ya29", "U1NTU1NT", "upload_id=S", key_line] {
        if let Some(at) = written.find(secret) {
            panic!(
                "{secret} was written: {}",
                &written[at.saturating_sub(300)..(at + 60).min(written.len())]
            );
        }
    }
}
