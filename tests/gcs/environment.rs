//! Application Default Credentials as a process finds them. Each test runs this program once more, with an
//! environment of its own.

use std::{
    process::{Command, Output},
    sync::{Arc, Mutex},
};

use tokio::io::AsyncReadExt;

use persist::{GcsConfig, RetryConfig, SnapshotAdapterExt, adapters::gcs::GcsAdapter};

use crate::{
    strict::{BUCKET, Fault, Kind, Server},
    support::{guarded, retry},
};

/// What the other process does; the parent's tests are its assertions.
#[tokio::test]
#[ignore = "run by the tests as a process"]
async fn helper_process_that_saves() {
    // Nobody, where all ignored tests are asked for.
    let Ok(endpoint) = std::env::var("PERSIST_TEST_ENDPOINT") else { return };
    let config =
        GcsConfig { endpoint_url: Some(endpoint).filter(|url| !url.is_empty()), ..GcsConfig::default() };
    let retry = RetryConfig { max_attempts: 2, ..retry() };
    let outcome = async { GcsAdapter::open(BUCKET, &config, &retry).await?.save("state", "k").await };
    match outcome.await {
        Ok(_) => println!("OUTCOME saved"),
        Err(error) => println!("OUTCOME {error}"),
    }
}

async fn run(endpoint: &str, env: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "environment::helper_process_that_saves", "--ignored", "--nocapture"])
        .env_clear();
    command.env("PERSIST_TEST_ENDPOINT", endpoint).envs(env.iter().copied());
    let Output { stdout, .. } = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let stdout = String::from_utf8(stdout).unwrap();
    let line = stdout.lines().find_map(|line| Some(line.split_once("OUTCOME ")?.1.to_owned()));
    line.unwrap_or_else(|| panic!("no outcome: {stdout}"))
}

/// A server that wants tokens, behind an address that does not look like an emulator's to the child: TLS is
/// out of reach here, so the child is told explicitly where credentials come from.
async fn setup() -> (Server, tempfile::TempDir) {
    (guarded().await, tempfile::tempdir().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_emulator_variable_means_no_credentials() {
    let server = Server::start().await;
    let host = server.url.trim_start_matches("http://").to_owned();
    let broken = ("GOOGLE_APPLICATION_CREDENTIALS", "/no/such/file");
    assert_eq!(run("", &[("STORAGE_EMULATOR_HOST", &host), broken]).await, "saved");
    assert!(server.log().iter().all(|request| request.header("authorization").is_none()));
    assert_eq!(server.count(Kind::Multipart), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credentials_file_that_is_missing_or_broken_is_an_error_and_not_another_identity() {
    let (server, folder) = setup().await;
    let broken = folder.path().join("broken.json");
    std::fs::write(&broken, "{").unwrap();
    let metadata = ("GCE_METADATA_HOST", server.url.trim_start_matches("http://").to_owned());
    for (path, word) in [("/no/such/file.json", "cannot be read"), (broken.to_str().unwrap(), "not JSON")] {
        let env = [("GOOGLE_APPLICATION_CREDENTIALS", path), (metadata.0, metadata.1.as_str())];
        let outcome = run("https://127.0.0.1:1", &env).await;
        assert!(outcome.contains(word) && outcome.contains("GOOGLE_APPLICATION_CREDENTIALS"), "{outcome}");
    }
    assert_eq!(server.log().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sources_are_asked_in_their_order() {
    let (server, folder) = setup().await;
    let (user, service) = {
        let state = server.state();
        (state.tokens.authorized_user().to_string(), state.tokens.service_account().to_string())
    };
    let gcloud = folder.path().join(".config/gcloud");
    let moved = folder.path().join("moved");
    let explicit = folder.path().join("service.json");
    std::fs::create_dir_all(&gcloud).unwrap();
    std::fs::create_dir_all(&moved).unwrap();
    std::fs::write(&explicit, service).unwrap();
    std::fs::write(moved.join("application_default_credentials.json"), &user).unwrap();
    let host = server.url.trim_start_matches("http://").to_owned();
    let (home, moved, explicit) =
        (folder.path().to_str().unwrap(), moved.to_str().unwrap(), explicit.to_str().unwrap());
    // The storage itself is a port that nobody listens on: only the tokens are of interest.
    let nowhere = "https://127.0.0.1:1";
    let metadata = ("GCE_METADATA_HOST", host.as_str());
    let asked = || {
        let log = server.logged(Kind::Token);
        server.forget_log();
        let form = log.first().map(|request| String::from_utf8_lossy(&request.body).into_owned());
        (log.first().map(|request| request.path.clone()).unwrap_or_default(), form.unwrap_or_default())
    };
    let outcome = run(nowhere, &[("HOME", home), metadata]).await;
    assert!(outcome.contains("cannot be reached"), "{outcome}");
    let scopes = server.logged(Kind::Token)[0].query("scopes").map(str::to_owned);
    assert_eq!(scopes.as_deref(), Some("https://www.googleapis.com/auth/devstorage.read_write"));
    assert!(asked().0.starts_with("/computeMetadata/v1/instance/service-accounts/default/token"));
    run(nowhere, &[("HOME", home), ("CLOUDSDK_CONFIG", moved), metadata]).await;
    assert!(asked().1.contains("refresh_token"));
    std::fs::write(gcloud.join("application_default_credentials.json"), &user).unwrap();
    run(nowhere, &[("HOME", home), metadata]).await;
    assert!(asked().1.contains("refresh_token"));
    run(nowhere, &[("HOME", home), ("GOOGLE_APPLICATION_CREDENTIALS", explicit), metadata]).await;
    assert!(asked().1.contains("jwt-bearer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_credentials_the_error_names_the_ways_to_get_some() {
    let (nobody, _port) = crate::wire::nobody();
    let nobody = nobody.to_string();
    let outcome = run("https://127.0.0.1:1", &[("GCE_METADATA_HOST", &nobody)]).await;
    for word in [
        "no Google credentials",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "gcloud auth application-default login",
        &nobody,
    ] {
        assert!(outcome.contains(word), "{outcome}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_metadata_server_says_instead_of_a_token_is_understood() {
    let (server, folder) = setup().await;
    let host = server.url.trim_start_matches("http://").to_owned();
    let env = [("HOME", folder.path().to_str().unwrap()), ("GCE_METADATA_HOST", host.as_str())];
    let token = r#"{"access_token":"ya29.SECRET","expires_in":60,"token_type":"Bearer"}"#;
    for (fault, words) in [
        (Fault::Answer(404, vec![], "<html>no such account</html>".into()), "attach a service account"),
        (Fault::Answer(403, vec![], String::new()), "attach a service account"),
        (Fault::Answer(200, vec![], token.into()), "is not Google's metadata server"),
    ] {
        server.forget_log();
        server.script(Kind::Token, [fault]);
        let outcome = run("https://127.0.0.1:1", &env).await;
        assert!(outcome.contains(words) && !outcome.contains("SECRET"), "{outcome}");
        assert_eq!(server.count(Kind::Token), 1, "not retried");
    }
    let url = ("GCE_METADATA_HOST", server.url.as_str());
    let outcome = run("https://127.0.0.1:1", &[env[0], url]).await;
    assert!(outcome.contains("without http://"), "{outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn public_token_endpoints_are_asked_through_the_proxy() {
    let (server, folder) = setup().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(String::new()));
    let heard = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = [0; 1000];
            let len = stream.read(&mut bytes).await.unwrap();
            heard.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..len]));
        }
    });
    let mut service = server.state().tokens.service_account();
    service["token_uri"] = "https://token.example/token".into();
    let subject = serde_json::json!({ "url": "https://subject.example/id" });
    let external = server.state().tokens.external_account(subject, false);
    for (credentials, host) in [(service, "token.example:443"), (external, "subject.example:443")] {
        let file = folder.path().join("credentials.json");
        std::fs::write(&file, credentials.to_string()).unwrap();
        let file = ("GOOGLE_APPLICATION_CREDENTIALS", file.to_str().unwrap());
        run("https://127.0.0.1:1", &[file, ("HTTPS_PROXY", proxy.as_str())]).await;
        let asked = std::mem::take(&mut *seen.lock().unwrap());
        assert!(asked.starts_with(&format!("CONNECT {host} ")), "{asked}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn googles_other_variables_are_honoured_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let home = ("HOME", folder.path().to_str().unwrap());
    let outcome = run("https://127.0.0.1:1", &[home, ("GOOGLE_CLOUD_UNIVERSE_DOMAIN", "example.com")]).await;
    assert!(
        outcome.contains("GOOGLE_CLOUD_UNIVERSE_DOMAIN") && outcome.contains("not supported"),
        "{outcome}"
    );
}
