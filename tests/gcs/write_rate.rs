//! One write a second to an object, as the service has it. The command line believes that it speaks to
//! Google's own host: by an endpoint in plain http, behind a proxy that is the strict server.

use std::{
    path::Path,
    process::{Command, Output},
};

use crate::strict::{BUCKET, Rules, Server};

/// `persist ARGS`, with one attempt at everything.
async fn once(server: &Server, args: &[&str]) -> Output {
    // Another process, a second after the one before.
    server.state().a_second_later();
    let mut command = Command::new(env!("CARGO_BIN_EXE_persist"));
    command.env_clear().args(["--storage", &format!("gs://{BUCKET}/team")]).args(args);
    command.env("HTTP_PROXY", &server.url).env("http_proxy", &server.url);
    command.env("PERSIST_GCS_ENDPOINT_URL", "http://storage.googleapis.com");
    command.env("PERSIST_GCS_ANONYMOUS", "true").env("PERSIST_RETRY_ATTEMPTS", "1");
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_writes_a_key_again_waits_for_its_turn() {
    let server = Server::with(Rules { limits_writes: true, ..Rules::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    let [state, archive] = ["state", "s.tar"].map(|name| path(folder.path(), name));
    std::fs::write(&state, "state").unwrap();
    for args in [
        &["doctor"][..],
        &["session", "save", "a", "s", &state],
        &["session", "save", "a", "s", &state],
        &["session", "tag", "a", "s", "best", "--at", "1"],
        &["session", "tag", "a", "s", "best", "--at", "2", "--force"],
        &["session", "prune", "a", "s", "--keep-last", "1"],
        &["session", "prune", "a", "s", "--keep-last", "1"],
        &["session", "export", "a", "s", &archive],
        &["session", "import", "a", "t", &archive],
    ] {
        let output = once(&server, args).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("retrying"), "{args:?}: {said}");
    }
    let log = server.log();
    assert!(log.len() > 20 && log.iter().all(|request| request.status != 429), "{log:?}");
    server.clean();
}
