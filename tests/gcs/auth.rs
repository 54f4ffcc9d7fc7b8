//! Credentials of each kind against scripted token endpoints.

use std::time::Duration;

use futures_util::stream;
use persist::{
    Body, Error, ErrorKind, GcsConfig, PutOptions, SnapshotAdapter, SnapshotAdapterExt,
    adapters::gcs::GcsAdapter,
};
use serde_json::{Value, json};

use crate::{
    strict::{BUCKET, Fault, Kind, Logged, Server},
    support::{config, data, guarded, key, retry, streamed},
    wire::meanwhile,
};

async fn open(server: &Server, credentials: Value) -> GcsAdapter {
    let config = GcsConfig { credentials_json: Some(credentials.to_string().into()), ..config(server) };
    GcsAdapter::open(BUCKET, &config, &retry()).await.unwrap()
}

/// Saves and loads, and gives the requests for tokens.
async fn works(server: &Server, store: &GcsAdapter) -> Vec<Logged> {
    store.save("state", "k").await.unwrap();
    assert_eq!(store.load("k").await.unwrap(), "state");
    server.clean();
    server.logged(Kind::Token)
}

#[tokio::test]
async fn a_service_account_signs_for_a_token() {
    let server = guarded().await;
    let credentials = server.state().tokens.service_account();
    let tokens = works(&server, &open(&server, credentials).await).await;
    assert_eq!(tokens.len(), 1, "one token for everything");
    assert_eq!(server.count(Kind::Multipart), 1, "and one request for the save");
}

#[tokio::test]
async fn an_authorized_user_refreshes() {
    let server = guarded().await;
    let credentials = server.state().tokens.authorized_user();
    let tokens = works(&server, &open(&server, credentials).await).await;
    assert_eq!(tokens.len(), 1);
    assert_eq!(server.logged(Kind::Multipart)[0].header("x-goog-user-project"), Some("quota-project"));
}

#[tokio::test]
async fn an_external_account_exchanges_the_token_of_another_provider() {
    let folder = tempfile::tempdir().unwrap();
    let (text, json_file) = (folder.path().join("token"), folder.path().join("token.json"));
    std::fs::write(&text, "SECRET-SUBJECT\n").unwrap();
    std::fs::write(&json_file, r#"{"t":"SECRET-SUBJECT"}"#).unwrap();
    let server = guarded().await;
    let url = format!("{}/subject", server.url);
    let json_format = |field: &str| json!({ "type": "json", "subject_token_field_name": field });
    for (source, impersonate, requests) in [
        (json!({ "file": text }), false, 1),
        // As templates write what is not there.
        (json!({ "file": text, "format": null, "executable": null, "certificate": null }), false, 1),
        (json!({ "file": text, "format": { "type": "text" } }), true, 2),
        (json!({ "file": json_file, "format": json_format("t") }), false, 1),
        (
            json!({ "url": url, "headers": { "Metadata": "True" }, "format": json_format("id_token") }),
            true,
            3,
        ),
    ] {
        server.forget_log();
        let mut credentials = server.state().tokens.external_account(source.clone(), impersonate);
        for field in ["service_account_impersonation_url", "service_account_impersonation"] {
            credentials.as_object_mut().unwrap().entry(field).or_insert(Value::Null);
        }
        let tokens = works(&server, &open(&server, credentials).await).await;
        assert_eq!(tokens.len(), requests, "{source}");
        assert_eq!(tokens[0].header("metadata"), source.get("url").map(|_| "True"));
    }
}

#[tokio::test]
async fn an_impersonated_account_goes_over_any_other() {
    let server = guarded().await;
    let bases = {
        let state = server.state();
        [state.tokens.authorized_user(), state.tokens.service_account()]
    };
    for base in bases {
        server.forget_log();
        let credentials = server.state().tokens.impersonated(base);
        let tokens = works(&server, &open(&server, credentials).await).await;
        assert_eq!(tokens.len(), 2);
        let asked: Value = serde_json::from_slice(&tokens[1].body).unwrap();
        assert_eq!(asked["delegates"][0], "projects/-/serviceAccounts/between@test");
        assert_eq!(asked["scope"][0], "https://www.googleapis.com/auth/devstorage.read_write");
    }
}

#[tokio::test]
async fn many_requests_at_once_fetch_one_token() {
    let server = guarded().await;
    let credentials = server.state().tokens.authorized_user();
    let store = open(&server, credentials).await;
    let saves = (0..20).map(|i| {
        let store = store.clone();
        async move { store.save("state", format!("k{i}")).await }
    });
    futures_util::future::try_join_all(saves).await.unwrap();
    assert_eq!(server.count(Kind::Token), 1);
    // So do twenty refusals of an old one.
    server.state().tokens.revoke();
    let loads = (0..20).map(|i| {
        let store = store.clone();
        async move { store.load(format!("k{i}")).await }
    });
    futures_util::future::try_join_all(loads).await.unwrap();
    assert_eq!(server.count(Kind::Token), 2);
}

#[tokio::test]
async fn a_failed_fetch_fails_all_that_waited_for_it() {
    let server = guarded().await;
    let credentials = server.state().tokens.authorized_user();
    let config = GcsConfig { credentials_json: Some(credentials.to_string().into()), ..config(&server) };
    // One client for all, with one token.
    let _client = GcsAdapter::open(BUCKET, &config, &retry()).await.unwrap();
    let late = || Fault::After(300, Box::new(Fault::Status(503)));
    let saves = |retry: persist::RetryConfig| {
        let config = config.clone();
        async move {
            let store = GcsAdapter::open(BUCKET, &config, &retry).await.unwrap();
            let save = |i| {
                let store = store.clone();
                async move { store.save("state", format!("k{i}")).await }
            };
            futures_util::future::join_all((0..20).map(save)).await
        }
    };
    server.script(Kind::Token, [late(), late()]);
    let outcomes = saves(persist::RetryConfig::none()).await;
    assert!(outcomes.iter().all(|saved| saved.as_ref().is_err_and(|e| e.kind() == ErrorKind::Unavailable)));
    assert_eq!(server.count(Kind::Token), 1);
    // Each of them tries again, and all meet in the next fetch.
    let outcomes = saves(retry()).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(server.count(Kind::Token), 3);
    // After a 401 as well.
    server.state().tokens.revoke();
    server.forget_log();
    server.script(Kind::Token, [late()]);
    assert!(saves(persist::RetryConfig::none()).await.iter().all(Result::is_err));
    assert_eq!(server.count(Kind::Token), 1);
}

#[tokio::test]
async fn adapters_of_one_configuration_share_token_and_connections() {
    let server = guarded().await;
    let credentials = server.state().tokens.authorized_user();
    let first = open(&server, credentials.clone()).await;
    first.save("state", "k").await.unwrap();
    let again = open(&server, credentials).await;
    assert_eq!(again.load("k").await.unwrap(), "state");
    assert_eq!(server.count(Kind::Token), 1);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let server = guarded().await;
    let credentials = server.state().tokens.service_account();
    let store = open(&server, credentials).await;
    store.save("state", "k").await.unwrap();
    server.state().tokens.revoke();
    store.save("state", "k").await.unwrap();
    assert_eq!((server.count(Kind::Token), server.count(Kind::Multipart)), (2, 3));
    // A service that takes no token at all.
    server.forget_log();
    server.script(Kind::Multipart, (0..9).map(|_| Fault::Status(401)));
    let error = store.save("state", "k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert_eq!((server.count(Kind::Token), server.count(Kind::Multipart)), (1, 2));
}

#[tokio::test]
async fn a_token_that_ends_in_mid_upload_is_replaced_in_mid_upload() {
    let server = guarded().await;
    let credentials = server.state().tokens.authorized_user();
    let store = open(&server, credentials).await;
    let bytes = data(4 * 256 * 1024, 1);
    let name = key("k");
    let put = store.put(&name, streamed(&bytes), PutOptions::new());
    meanwhile(put, || server.count(Kind::Data) >= 2, || server.state().tokens.revoke()).await.unwrap();
    assert_eq!((server.count(Kind::Token), server.count(Kind::Start)), (2, 1));
    assert!(server.logged(Kind::Data).iter().any(|request| request.status == 401));
    assert_eq!(server.bytes("k").unwrap(), bytes);
    server.clean();
}

#[tokio::test]
async fn an_upload_that_has_begun_needs_no_token() {
    let grant = || Fault::Answer(400, vec![], json!({ "error": "invalid_grant" }).to_string());
    let bytes = data(6 * 256 * 1024, 1);
    for refused in [false, true] {
        let server = guarded().await;
        // A token is good for one request, or is refused in mid-upload, and there is no other one.
        server.state().tokens.lifetime = if refused { 3600 } else { 0 };
        let credentials = server.state().tokens.authorized_user();
        let store = open(&server, credentials).await;
        let name = key("k");
        let begun = || server.logged(Kind::Start).iter().filter(|request| request.status == 200).count();
        let none = || {
            server.state().tokens.revoke();
            server.script(Kind::Token, (0..99).map(|_| grant()));
        };
        let put = store.put(&name, streamed(&bytes), PutOptions::new());
        meanwhile(put, || begun() == 1, none).await.unwrap();
        assert_eq!(server.bytes("k").unwrap(), bytes);
        assert!(refused || server.count(Kind::Token) == 1, "none was needed");
        // So has one that fails: its session ends all the same.
        server.state().faults = Default::default();
        let broken = stream::iter([Ok(bytes.clone()), Err(Error::new(ErrorKind::Io, "the disk is gone"))]);
        let put = store.put(&name, Body::from_stream(broken), PutOptions::new());
        meanwhile(put, || begun() == 2, none).await.unwrap_err();
        assert!(server.logged(Kind::Cancel).iter().any(|request| request.status == 499));
        server.clean();
    }
    // Something between wants one with every request.
    let server = guarded().await;
    server.state().tokens.lifetime = 0;
    let credentials = server.state().tokens.authorized_user();
    let store = open(&server, credentials).await;
    // The second time, the endpoint is down for a moment.
    for faults in [vec![], vec![Fault::Pass, Fault::Status(503)]] {
        server.forget_log();
        server.script(Kind::Token, faults);
        server.script(Kind::Data, [Fault::Status(401)]);
        store.put(&key("k"), streamed(&bytes), PutOptions::new()).await.unwrap();
        assert_eq!((server.count(Kind::Token), server.bytes("k").unwrap()), (2, bytes.to_vec()));
    }
    server.clean();
}

#[tokio::test]
async fn a_token_endpoint_that_fails_for_a_while_is_waited_for() {
    let server = guarded().await;
    let bases = {
        let state = server.state();
        [state.tokens.authorized_user(), state.tokens.service_account()]
    };
    let html = || Fault::Answer(503, vec![], "<html>try later</html>".into());
    let google =
        || Fault::Answer(500, vec![], json!({ "error": { "code": 500, "message": "x" } }).to_string());
    for credentials in bases {
        server.forget_log();
        server.script(Kind::Token, [html(), Fault::Reset, google(), Fault::Cut(5)]);
        let tokens = works(&server, &open(&server, credentials.clone()).await).await;
        assert_eq!(tokens.len(), 5);
        // For ever: the attempts end.
        server.forget_log();
        server.state().tokens.revoke();
        let store = open(&server, credentials).await;
        server.script(Kind::Token, (0..6).map(|_| Fault::Reset));
        let error = store.save("state", "k").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert_eq!(server.count(Kind::Token), 6);
    }
}

#[tokio::test]
async fn refused_credentials_are_not_tried_again() {
    let server = guarded().await;
    let bases = {
        let state = server.state();
        [state.tokens.authorized_user(), state.tokens.service_account()]
    };
    for credentials in bases {
        server.forget_log();
        let body =
            json!({ "error": "invalid_grant", "error_description": "Token has been expired or revoked." });
        server.script(Kind::Token, [Fault::Answer(400, vec![], body.to_string())]);
        let error = open(&server, credentials).await.save("state", "k").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        assert!(error.to_string().contains("invalid_grant"), "{error}");
        assert_eq!((server.count(Kind::Token), server.count(Kind::Multipart)), (1, 0));
    }
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends_and_an_outage_does_not_matter_while_it_lasts() {
    let server = guarded().await;
    server.state().tokens.lifetime = 400;
    let credentials = server.state().tokens.authorized_user();
    let store = open(&server, credentials).await;
    store.save("state", "k").await.unwrap();
    // A quarter of a short life before its end: renewed, but the endpoint is down. The old one goes on.
    pass(320).await;
    server.script(Kind::Token, [Fault::Status(503)]);
    store.save("state", "k").await.unwrap();
    tokens(&server, 2).await;
    assert_eq!(server.count(Kind::Multipart), 2);
    // Behind its end there must be a new one.
    pass(100).await;
    store.save("state", "k").await.unwrap();
    assert_eq!(server.count(Kind::Token), 3);
}

/// Lets so much time pass at once.
async fn pass(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

/// Waits for so many requests for tokens: early renewals go on in the background.
async fn tokens(server: &Server, count: usize) {
    for _ in 0..5000 {
        if server.count(Kind::Token) < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    assert_eq!(server.count(Kind::Token), count);
}

#[tokio::test]
async fn nobody_waits_for_an_early_renewal_and_there_is_only_one() {
    let server = guarded().await;
    server.state().tokens.lifetime = 400;
    let credentials = server.state().tokens.authorized_user();
    let store = open(&server, credentials).await;
    store.save("state", "k").await.unwrap();
    pass(320).await;
    // The endpoint never answers.
    server.script(Kind::Token, [Fault::Hang]);
    let saves = futures_util::future::try_join_all((0..20).map(|i| store.save("state", format!("k{i}"))));
    tokio::time::timeout(Duration::from_secs(10), saves).await.expect("they wait for the token").unwrap();
    tokens(&server, 2).await;
    server.clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn adapters_that_are_opened_at_once_share_as_well() {
    let server = guarded().await;
    let credentials = server.state().tokens.service_account().to_string();
    let config = GcsConfig { credentials_json: Some(credentials.into()), ..config(&server) };
    let opens = (0..8).map(|_| {
        let config = config.clone();
        tokio::spawn(async move { GcsAdapter::open(BUCKET, &config, &retry()).await.unwrap() })
    });
    let stores = futures_util::future::try_join_all(opens).await.unwrap();
    assert!(stores.iter().all(|store| store.can_copy_to(&stores[0])));
}

#[tokio::test]
async fn the_token_goes_to_the_endpoint_and_nowhere_else() {
    let (server, stranger) = (guarded().await, Server::start().await);
    let credentials = server.state().tokens.authorized_user();
    let store = open(&server, credentials.clone()).await;
    // An upload session elsewhere, as a broken proxy might name it: neither token nor data nor key go there.
    let elsewhere = |base: &str| {
        let location = format!("{base}/upload/storage/v1/b/{BUCKET}/o?uploadType=resumable&upload_id=SECRET");
        server.script(Kind::Start, [Fault::Answer(200, vec![("location", location)], String::new())]);
    };
    let encryption_key = Some("U1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1M=".into());
    let with_key = GcsConfig { encryption_key, ..config(&server) };
    let anonymous = GcsAdapter::open(BUCKET, &with_key, &retry()).await.unwrap();
    for (store, base) in [
        (&store, stranger.url.as_str()),
        (&anonymous, stranger.url.as_str()),
        (&store, "https://storage.googleapis.com"),
        (&store, "ftp://127.0.0.1"),
    ] {
        elsewhere(base);
        let error = store.put(&key("k"), streamed(&data(600_000, 2)), PutOptions::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains(base) && !error.to_string().contains("SECRET"), "{error}");
    }
    assert_eq!(stranger.log().len(), 0);
    // An emulator that names itself by another of its names: nothing of it is a secret.
    let emulator = Server::start().await;
    let store = GcsAdapter::open(BUCKET, &config(&emulator), &retry()).await.unwrap();
    emulator.state().url = emulator.url.replace("127.0.0.1", "localhost");
    store.put(&key("k"), streamed(&data(600_000, 2)), PutOptions::new()).await.unwrap();
}

/// A source of subject tokens that wants a bearer token.
fn guarded_source(url: &str) -> Value {
    json!({ "url": url, "headers": { "Authorization": "bearer SECRET" } })
}

#[tokio::test]
async fn credentials_that_cannot_be_used_say_why() {
    let server = guarded().await;
    let (user, service) = {
        let state = server.state();
        (state.tokens.authorized_user(), state.tokens.service_account())
    };
    let with = |mut json: Value, field: &str, value: Value| {
        json[field] = value;
        json.to_string()
    };
    let external = |source: Value| server.state().tokens.external_account(source, false).to_string();
    let file = || server.state().tokens.external_account(json!({ "file": "x" }), false);
    let impersonated = |base: String| {
        let base = serde_json::from_str(&base).unwrap();
        server.state().tokens.impersonated(base).to_string()
    };
    for (credentials, words) in [
        ("{".into(), "not JSON"),
        ("[1]".into(), "not a JSON object"),
        ("{}".into(), "no `type`"),
        (json!({ "type": "gdch_service_account" }).to_string(), "\"gdch_service_account\" are not supported"),
        (with(user.clone(), "refresh_token", json!(null)), "no `refresh_token`"),
        (with(user.clone(), "token_uri", json!("http://evil.example/token")), "must be an https URL"),
        (with(user.clone(), "universe_domain", json!("example.com")), "universe"),
        (impersonated(with(user, "universe_domain", json!("example.com"))), "universe"),
        (with(service.clone(), "private_key", json!("SECRET")), "not an RSA key"),
        (with(service.clone(), "client_email", json!(7)), "no `client_email`"),
        (with(service, "token_uri", json!("\u{7f}: SECRET")), "not a URL"),
        (external(json!({ "environment_id": "aws1" })), "AWS"),
        (external(json!({ "executable": { "command": "x" } })), "executable"),
        (external(json!({ "file": "x", "format": { "type": "xml" } })), "use text or json"),
        (external(json!({})), "no `url`"),
        (external(json!({ "url": "ftp://127.0.0.1/token" })), "http or https"),
        (external(guarded_source("http://tokens.example/token")), "must be https"),
        (external(guarded_source("http://8.8.8.8/token")), "must be https"),
        (with(file(), "client_id", json!("SECRET")), "`client_id`"),
        (with(file(), "client_secret", json!("SECRET")), "`client_secret`"),
        (
            with(file(), "service_account_impersonation", json!({ "token_lifetime_seconds": 5 })),
            "600 to 43200",
        ),
        (
            with(file(), "service_account_impersonation", json!({ "token_lifetime_seconds": "x" })),
            "600 to 43200",
        ),
    ] {
        let credentials: String = credentials;
        let config = GcsConfig { credentials_json: Some(credentials.clone().into()), ..config(&server) };
        let error = GcsAdapter::open(BUCKET, &config, &retry()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(!format!("{error:?}").contains("SECRET"), "{error:?}");
    }
    // Near, or without a secret that could be seen on the way.
    let plain = json!({ "url": "http://tokens.example/token" });
    let near = ["127.0.0.1", "169.254.169.254", "10.1.2.3", "[::1]", "[fd00:ec2::254]", "localhost"];
    let sources = near.map(|host| guarded_source(&format!("http://{host}/token")));
    for source in sources.into_iter().chain([plain, guarded_source("https://tokens.example/token")]) {
        let credentials = server.state().tokens.external_account(source, false);
        open(&server, credentials).await;
    }
    let missing = GcsConfig { credentials_path: Some("/no/such/file.json".into()), ..config(&server) };
    let error = GcsAdapter::open(BUCKET, &missing, &retry()).await.unwrap_err();
    assert!(error.to_string().contains("/no/such/file.json cannot be read"), "{error}");
    let gone = external(json!({ "file": "/no/such/token" }));
    let store = open(&server, serde_json::from_str(&gone).unwrap()).await;
    let error = store.save("state", "k").await.unwrap_err();
    assert!(error.to_string().contains("/no/such/token cannot be read"), "{error}");
}
