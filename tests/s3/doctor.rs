//! `persist doctor` on S3: what crashed writers left is shown, and removed when asked for.

use std::{
    process::Output,
    time::{Duration, SystemTime},
};

use crate::support::{s3_server::StrictServer, s3_store::Upload};

pub(crate) async fn doctor(strict: &StrictServer, arguments: &[&str]) -> (bool, String) {
    let secret = |secret: &Option<persist::Secret>| secret.clone().unwrap().expose().to_string();
    let config = &strict.server.config;
    let run = tokio::process::Command::new(env!("CARGO_BIN_EXE_persist"))
        .env_clear()
        .env("HOME", std::env::temp_dir().join("persist-no-such-home"))
        .env("AWS_ACCESS_KEY_ID", secret(&config.access_key_id))
        .env("AWS_SECRET_ACCESS_KEY", secret(&config.secret_access_key))
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ENDPOINT_URL", &strict.server.endpoint)
        .args(["--storage", &format!("s3://{}/agents", strict.server.bucket), "doctor"])
        .args(arguments)
        .output()
        .await;
    let Output { status, stdout, stderr } = run.unwrap();
    (status.success(), String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
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
    // All that `capabilities()` tells; the large conditional ones need `atomic_multipart`, which is not set here.
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
    assert!(well && text.contains("unfinished uploads: 0 removed, 1 left"), "{text}");
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
    // It may list and not read.
    strict.store().allowed = Some(vec![list, uploads]);
    let (well, text) = doctor(&strict, &[]).await;
    assert!(!well && text.contains("ok   list") && text.contains("FAIL read"), "{text}");
}
