//! `persist doctor` on S3: what crashed writers left is shown, and removed when asked for.

use std::{
    process::Output,
    sync::Arc,
    time::{Duration, SystemTime},
};

use persist::{PutOptions, SnapshotAdapter, Tier, layers::Namespace, sessions::Sessions};

use crate::{
    bench::key,
    support::{
        proxy::{Fault, Proxy},
        s3_server::StrictServer,
        s3_store::Upload,
    },
};

pub(crate) async fn doctor(strict: &StrictServer, arguments: &[&str]) -> (bool, String) {
    let (code, text) = command(strict, &[&["doctor"], arguments].concat()).await;
    (code == Some(0), text)
}

/// The exit code, and what was said.
pub(crate) async fn command(strict: &StrictServer, arguments: &[&str]) -> (Option<i32>, String) {
    let secret = |secret: &Option<persist::Secret>| secret.clone().unwrap().expose().to_string();
    let config = &strict.server.config;
    let run = tokio::process::Command::new(env!("CARGO_BIN_EXE_persist"))
        .env_clear()
        .env("HOME", std::env::temp_dir().join("persist-no-such-home"))
        .env("AWS_ACCESS_KEY_ID", secret(&config.access_key_id))
        .env("AWS_SECRET_ACCESS_KEY", secret(&config.secret_access_key))
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ENDPOINT_URL", &strict.server.endpoint)
        .env("PERSIST_RETRY_INITIAL_DELAY", "5ms")
        .args(["--storage", &format!("s3://{}/agents", strict.server.bucket)])
        .args(arguments)
        .output()
        .await;
    let Output { status, stdout, stderr } = run.unwrap();
    (status.code(), String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
}

fn leave(strict: &StrictServer, name: &str, hours: u64) {
    let begun = SystemTime::now() - Duration::from_secs(hours * 3600);
    let upload = Upload { key: name.into(), begun, ..Default::default() };
    strict.store().uploads.insert(format!("id of {name}"), upload);
}

fn left(strict: &StrictServer) -> Vec<String> {
    strict.store().uploads.values().map(|upload| upload.key.clone()).collect()
}

#[tokio::test]
async fn old_uploads_are_shown_and_removed_when_asked_for() {
    let strict = StrictServer::start().await;
    let (well, text) = doctor(&strict, &[]).await;
    assert!(well && text.contains("ok   unfinished uploads: none"), "{text}");
    // All that `capabilities()` tells; the large conditional ones need `atomic_multipart`, which is not set
    // here.
    let offers = "ok   offers: conditional removal, tags, storage tiers; not: conditional saves of any size";
    assert!(text.contains(offers), "{text}");
    for (name, hours) in
        [("agents/old", 30), ("agents/new", 2), ("agents-of-others/old", 30), ("elsewhere", 30)]
    {
        leave(&strict, name, hours);
    }
    let (well, text) = doctor(&strict, &[]).await;
    assert!(well && text.contains("unfinished uploads: 2, 1 of them older than 24 h"), "{text}");
    assert_eq!(left(&strict).len(), 4, "removed without being asked");

    let (well, text) = doctor(&strict, &["--clean-uploads"]).await;
    assert!(well && text.contains("unfinished uploads: 1 removed, 1 left"), "{text}");
    assert!(text.lines().any(|line| line.contains("agents/old, begun") && line.ends_with(": removed")));
    assert_eq!(left(&strict), ["agents-of-others/old", "agents/new", "elsewhere"]);

    let (well, text) = doctor(&strict, &["--clean-uploads", "--older-than", "90m"]).await;
    assert!(well && text.contains("unfinished uploads: 1 removed, 0 left"), "{text}");
    assert_eq!(left(&strict), ["agents-of-others/old", "elsewhere"]);
    let (well, text) = doctor(&strict, &["--clean-uploads", "--older-than", "soon"]).await;
    assert!(!well && text.contains("such as 36h"), "{text}");
    assert!(strict.store().objects.is_empty(), "the doctor left something behind");
}

/// What has no time may have begun just now. Ages are by the service's clock.
#[tokio::test]
async fn uploads_of_unknown_age_are_left() {
    let strict = StrictServer::start().await;
    leave(&strict, "agents/old", 30);
    strict.store().undated = true;
    let (well, text) = doctor(&strict, &["--clean-uploads"]).await;
    assert!(well && text.contains("unfinished uploads: 0 removed, 1 left"), "{text}");
    assert!(text.contains("agents/old, begun at a time that the server does not tell: left"), "{text}");
    let (well, text) = doctor(&strict, &[]).await;
    assert!(well && text.contains("unfinished uploads: 1, none known to be older than 24 h"), "{text}");
    {
        let mut store = strict.store();
        (store.undated, store.behind) = (false, Duration::from_secs(20 * 3600));
    }
    let (well, text) = doctor(&strict, &["--clean-uploads"]).await;
    assert!(!well && text.contains("unfinished uploads: 0 removed, 1 left"), "{text}");
    // Signatures, ages and fence windows need clocks that agree.
    let clock = text.lines().find(|line| line.contains("clock: ")).unwrap_or_default();
    assert!(clock.starts_with("FAIL clock: this machine and the storage differ by 720"), "{text}");
}

/// What an identity may do that does not write is found out all the same.
#[tokio::test]
async fn an_identity_that_only_reads_is_examined() {
    let strict = StrictServer::start().await;
    let own = |action: &str, what: &str| {
        (action.to_string(), format!("arn:aws:s3:::{}{what}", strict.server.bucket))
    };
    let (list, read) = (own("s3:ListBucket", ""), own("s3:GetObject", "/agents/*"));
    let uploads = own("s3:ListBucketMultipartUploads", "");
    strict.store().allowed = Some(vec![list.clone(), read, uploads.clone()]);
    let (well, text) = doctor(&strict, &[]).await;
    assert!(!well && text.contains("FAIL write"), "{text}");
    assert!(text.contains("ok   list: permitted; there is nothing yet"), "{text}");
    assert!(text.contains("skip read: there is no snapshot to read"), "{text}");
    assert!(text.contains("skip clock, create once, replace, remove: they need a write"), "{text}");
    assert!(text.contains("ok   unfinished uploads: none"), "{text}");
    let object = crate::support::s3_store::Object { bytes: "state".into(), ..Default::default() };
    strict.store().objects.insert("agents/state".into(), object);
    let (_, text) = doctor(&strict, &[]).await;
    assert!(text.contains("ok   read: permitted; \"state\" can be read"), "{text}");
    let (_, json) = doctor(&strict, &["--json"]).await;
    assert!(
        json.lines().any(|row| row.contains("\"ok\":null") && row.contains("they need a write")),
        "{json}"
    );
    // What is archived, or has gone since, is not the answer.
    let allowed = strict.store().allowed.take();
    let archive = PutOptions::new().tier(Tier::Archive);
    strict.server.open().await.put(&key("agents/archived"), "old".into(), archive).await.unwrap();
    strict.store().allowed = allowed;
    let (_, text) = doctor(&strict, &[]).await;
    assert!(text.contains("ok   read: permitted; \"state\" can be read"), "{text}");
    // It may list and not read.
    strict.store().allowed = Some(vec![list, uploads]);
    let (well, text) = doctor(&strict, &[]).await;
    assert!(!well && text.contains("ok   list") && text.contains("FAIL read"), "{text}");
}

/// Credentials that only read find nothing out about conditions, and reads need none.
#[tokio::test]
async fn an_identity_that_only_reads_sees_what_is_wrong_with_a_session() {
    let strict = StrictServer::start().await;
    let inner = Arc::new(strict.server.open().await);
    let sessions = Sessions::new(Arc::new(Namespace::new(inner, "agents").unwrap())).unwrap();
    let session = sessions.session("bot", "s").unwrap();
    for state in ["one", "two", "three"] {
        session.save(state).await.unwrap();
    }
    let own = |action: &str, what: &str| {
        (action.to_string(), format!("arn:aws:s3:::{}{what}", strict.server.bucket))
    };
    let may = |action: &str| own(action, "/agents/*");
    strict.store().allowed = Some(vec![own("s3:ListBucket", ""), may("s3:GetObject")]);
    let (code, text) = command(&strict, &["verify", "--all"]).await;
    assert!(code == Some(0) && text.contains("all well: 0 snapshots, 1 session"), "{text}");
    let commits: Vec<String> = strict.store().objects.keys().cloned().collect();
    assert_eq!(commits.len(), 3, "{commits:?}");
    // The newest is listed first.
    for gone in &commits[1..] {
        strict.store().objects.remove(gone);
    }
    let (code, text) = command(&strict, &["verify", "--all"]).await;
    assert!(code == Some(5) && text.contains("corrupt  session bot/s"), "{text}");
    // Nor does one that may remove and not write take a session apart unawares.
    strict.store().allowed =
        Some(vec![own("s3:ListBucket", ""), may("s3:GetObject"), may("s3:DeleteObject")]);
    let (code, text) = command(&strict, &["rm", commits[0].strip_prefix("agents/").unwrap()]).await;
    assert!(code == Some(2) && text.contains("it is part of the session bot/s"), "{text}");
    assert!(strict.store().objects.contains_key(&commits[0]));
}

/// Each of the other checks would wait for it once more.
#[tokio::test]
async fn a_storage_that_goes_away_is_waited_for_once() {
    let mut strict = StrictServer::start().await;
    let proxy = Proxy::start(&strict.server.endpoint).await;
    strict.server = strict.server.behind(proxy.url());
    // The probe of the server, and then the doctor's write.
    proxy.fail(99, "PUT", "/agents/.persist-probe/", Fault::answer(503));
    let (well, text) = doctor(&strict, &[]).await;
    assert!(!well && text.contains("FAIL write"), "{text}");
    let skipped = "skip read, list, clock, create once, replace, remove: the storage is away";
    assert!(text.contains(skipped), "{text}");
    assert!(text.contains("skip unfinished uploads: the storage is away"), "{text}");
    assert_eq!(proxy.count("PUT", "/agents/.persist-probe/"), 8);
    assert_eq!(proxy.count("GET", "uploads"), 0);
}
