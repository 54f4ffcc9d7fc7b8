//! Token endpoints that fail, of each kind of credentials: what passes is tried again, what stays says what
//! to do.

use std::time::Duration;

use persist::{ErrorKind, GcsConfig, SnapshotAdapterExt, adapters::gcs::GcsAdapter};
use serde_json::{Value, json};

use crate::{
    strict::{BUCKET, Fault, Kind, Server},
    support::{config, guarded, retry},
};

/// Credentials of every kind that asks somebody.
struct All {
    server: Server,
    _folder: tempfile::TempDir,
    service: Value,
    user: Value,
    /// Token of another provider from a file.
    file: Value,
    /// From a URL, and then acting as a service account.
    url: Value,
    over_user: Value,
    over_file: Value,
}

impl All {
    /// Each, and how many requests a token takes.
    fn kinds(&self) -> [(&Value, usize); 6] {
        [
            (&self.service, 1),
            (&self.user, 1),
            (&self.file, 1),
            (&self.url, 3),
            (&self.over_user, 2),
            (&self.over_file, 2),
        ]
    }
}

async fn all() -> All {
    let (server, folder) = (guarded().await, tempfile::tempdir().unwrap());
    let path = folder.path().join("token");
    std::fs::write(&path, "SECRET-SUBJECT").unwrap();
    let subject = format!("{}/subject", server.url);
    let state = server.state();
    let (service, user) = (state.tokens.service_account(), state.tokens.authorized_user());
    let file = state.tokens.external_account(json!({ "file": path }), false);
    let format = json!({ "type": "json", "subject_token_field_name": "id_token" });
    let url = state.tokens.external_account(json!({ "url": subject, "format": format }), true);
    let over_user = state.tokens.impersonated(user.clone());
    let over_file = state.tokens.impersonated(file.clone());
    drop(state);
    All { server, _folder: folder, service, user, file, url, over_user, over_file }
}

/// Saves with these credentials while the token endpoints fail so; gives the outcome and the requests for
/// tokens.
async fn save(all: &All, credentials: &Value, faults: Vec<Fault>) -> (persist::Result<()>, usize) {
    all.server.forget_log();
    all.server.state().faults = Default::default();
    all.server.script(Kind::Token, faults);
    let json = Some(credentials.to_string().into());
    let config = GcsConfig { credentials_json: json, ..config(&all.server) };
    let store = GcsAdapter::open(BUCKET, &config, &retry()).await.unwrap();
    (store.save("state", "k").await.map(drop), all.server.count(Kind::Token))
}

fn answer(status: u16, body: impl ToString) -> Fault {
    Fault::Answer(status, vec![("retry-after", "0".into())], body.to_string())
}

#[tokio::test]
async fn what_passes_is_tried_again_whatever_the_kind() {
    let all = all().await;
    let passing = [
        answer(503, "<html>try later</html>"),
        answer(429, json!({ "error": "rate_limit_exceeded", "error_description": "slow down" })),
        answer(403, json!({ "error": "rate_limit_exceeded" })),
        answer(400, json!({ "error": "temporarily_unavailable" })),
        answer(408, ""),
        Fault::Status(500),
        Fault::Reset,
        Fault::Cut(3),
    ];
    for (credentials, steps) in all.kinds() {
        for step in 0..steps {
            for fault in &passing {
                let before = (0..step).map(|_| Fault::Pass);
                let faults = before.chain([fault.clone(), Fault::Pass]).collect();
                let (outcome, requests) = save(&all, credentials, faults).await;
                let context = format!("{} at step {step}: {fault:?}", credentials["type"]);
                outcome.unwrap_or_else(|error| panic!("{context}: {error}"));
                assert_eq!(requests, step + 1 + steps, "{context}");
            }
        }
    }
    all.server.clean();
}

/// No endpoint may hold an operation for ever: each is given up after a while, and asked again.
#[tokio::test]
async fn a_silent_endpoint_is_given_up_whatever_the_kind() {
    let all = all().await;
    for (credentials, steps) in all.kinds() {
        for step in 0..steps {
            let faults = (0..step).map(|_| Fault::Pass).chain([Fault::Hang]).collect();
            let silence = async {
                while all.server.count(Kind::Token) <= step {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                tokio::time::pause();
                tokio::time::advance(Duration::from_secs(16)).await;
                tokio::time::resume();
            };
            let both = futures_util::future::join(save(&all, credentials, faults), silence);
            let context = format!("{} at step {step}", credentials["type"]);
            let waited = tokio::time::timeout(Duration::from_secs(60), both).await;
            let ((outcome, requests), ()) = waited.unwrap_or_else(|_| panic!("{context}: for ever"));
            outcome.unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_eq!(requests, step + 1 + steps, "{context}");
        }
    }
    all.server.clean();
}

#[tokio::test]
async fn what_stays_is_not_tried_again_and_says_what_to_do() {
    use ErrorKind::{AccessDenied, InvalidConfig, Unauthenticated};
    let all = all().await;
    let grant = || answer(400, json!({ "error": "invalid_grant", "error_description": "no" }));
    let denied = || {
        answer(403, json!({ "error": { "code": 403, "message": "denied", "status": "PERMISSION_DENIED" } }))
    };
    let page = || answer(403, "<html>a proxy says no</html>");
    for (credentials, before, fault, kind, words) in [
        (&all.service, 0, grant(), Unauthenticated, "clock"),
        (&all.service, 0, denied(), Unauthenticated, "answered 403: denied"),
        (
            &all.service,
            0,
            page(),
            Unauthenticated,
            "answered 403 with what is no JSON; something between may answer for it",
        ),
        (&all.over_user, 1, page(), AccessDenied, "something between may answer for it"),
        (&all.service, 0, answer(302, "<html>log in"), InvalidConfig, "sends requests elsewhere"),
        (&all.over_user, 1, answer(307, ""), InvalidConfig, "sends requests elsewhere"),
        (&all.user, 0, grant(), Unauthenticated, "gcloud auth application-default login"),
        (&all.user, 0, denied(), Unauthenticated, "denied"),
        (&all.file, 0, grant(), Unauthenticated, "workload identity pool"),
        (&all.url, 0, answer(404, ""), Unauthenticated, "`credential_source`"),
        (&all.url, 1, grant(), Unauthenticated, "workload identity pool"),
        (&all.url, 2, denied(), AccessDenied, "Service Account Token Creator"),
        (&all.over_user, 0, grant(), Unauthenticated, "invalid_grant"),
        (&all.over_user, 1, denied(), AccessDenied, "Service Account Token Creator"),
        (&all.over_user, 1, answer(404, ""), Unauthenticated, "no such service account"),
        (&all.over_file, 1, denied(), AccessDenied, "Service Account Token Creator"),
    ] {
        let faults = (0..before).map(|_| Fault::Pass).chain([fault]).collect();
        let (outcome, requests) = save(&all, credentials, faults).await;
        let error = outcome.unwrap_err();
        let text = error.to_string();
        assert_eq!((error.kind(), error.retryable(), requests), (kind, false, before + 1), "{text}");
        assert!(text.contains(words) && !text.contains("SECRET"), "{text}");
    }
}

#[tokio::test]
async fn a_token_endpoint_is_not_asked_sooner_than_it_wants() {
    let all = all().await;
    let busy = Fault::Answer(429, vec![("retry-after", "3600".into())], "{}".into());
    for credentials in [&all.service, &all.file, &all.over_user] {
        let (outcome, requests) = save(&all, credentials, vec![busy.clone()]).await;
        let error = outcome.unwrap_err();
        assert_eq!((error.kind(), requests), (ErrorKind::RateLimited, 1));
        assert_eq!(error.retry_after(), Some(std::time::Duration::from_secs(3600)));
    }
}

#[tokio::test]
async fn what_a_file_says_about_the_exchange_is_sent() {
    let all = all().await;
    let mut credentials = all.file.clone();
    credentials["workforce_pool_user_project"] = "the \"project\"".into();
    save(&all, &credentials, vec![]).await.0.unwrap();
    let form = all.server.logged(Kind::Token)[0].body.clone();
    let options =
        url::form_urlencoded::parse(&form).find(|(name, _)| name == "options").unwrap().1.into_owned();
    assert_eq!(serde_json::from_str::<Value>(&options).unwrap(), json!({ "userProject": "the \"project\"" }));
    // The lifetime of the account's token.
    for (given, lifetime) in [(json!({ "token_lifetime_seconds": 7200 }), "7200s"), (json!({}), "3600s")] {
        let mut credentials = all.url.clone();
        credentials["service_account_impersonation"] = given;
        save(&all, &credentials, vec![]).await.0.unwrap();
        let asked: Value = serde_json::from_slice(&all.server.logged(Kind::Token)[2].body).unwrap();
        assert_eq!(asked["lifetime"], lifetime);
    }
}

/// A machine that has just started or woken sets its clock in a moment, and signs anew.
#[tokio::test]
async fn a_clock_that_is_set_meanwhile_is_waited_for() {
    let all = all().await;
    let said = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. \
                Check your iat and exp values in the JWT claim.";
    let answer = |said: &str| answer(400, json!({ "error": "invalid_grant", "error_description": said }));
    let (outcome, requests) = save(&all, &all.service, vec![answer(said); 2]).await;
    outcome.unwrap();
    assert_eq!(requests, 3);
    let (outcome, requests) = save(&all, &all.service, vec![answer("Invalid JWT Signature."); 2]).await;
    assert_eq!((outcome.unwrap_err().kind(), requests), (ErrorKind::Unauthenticated, 1));
}
