//! The command line against the strict server, as a user has it: another process, with an environment of its
//! own.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use serde_json::json;

use crate::{
    strict::{BUCKET, Fault, Kind, Server},
    support::data,
};

/// `persist ARGS` with standard input, against `server`, as an emulator.
async fn persist(server: &Server, args: &[&str], env: &[(&str, &str)], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_persist"));
    command.args(args).env_clear().env("STORAGE_EMULATOR_HOST", &server.url).envs(env.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let input = input.to_vec();
    let run = move || {
        let mut child = command.spawn().unwrap();
        // A command that fails early does not read it.
        let _ = child.stdin.take().unwrap().write_all(&input);
        child.wait_with_output().unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_of_a_bucket_needs_no_permission_on_the_bucket() {
    let server = Server::start().await;
    let storage = format!("gs://{BUCKET}/team");
    let output = persist(&server, &["--storage", &storage, "doctor"], &[], b"").await;
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("create once"), "{}", text(&output));
    // Anything but objects, `buckets.get` among them, would be an unknown request.
    assert_eq!(server.count(Kind::Unknown), 0);
    assert!(server.state().objects.is_empty(), "the probe is gone");
    server.clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn cp_within_the_service_moves_no_bytes() {
    let server = Server::start().await;
    let (storage, state) = (format!("gs://{BUCKET}/team"), data(300_000, 1));
    let saved = persist(&server, &["--storage", &storage, "save", "a.gz"], &[], &state).await;
    assert!(saved.status.success(), "{}", text(&saved));
    server.forget_log();
    let copied = persist(&server, &["--storage", &storage, "--json", "cp", "a.gz", "b.gz"], &[], b"").await;
    let row: serde_json::Value = serde_json::from_slice(&copied.stdout).unwrap();
    assert_eq!(row["key"], "b.gz", "{}", text(&copied));
    assert_eq!(
        (server.count(Kind::Media), server.count(Kind::Multipart), server.count(Kind::Start)),
        (0, 0, 0)
    );
    assert_eq!(server.bytes("team/b.gz"), server.bytes("team/a.gz"));
    let once = ["--storage", &storage, "cp", "--if-absent", "a.gz", "b.gz"];
    assert!(text(&persist(&server, &once, &[], b"").await).contains("already there"));
    let loaded = persist(&server, &["--storage", &storage, "load", "b.gz"], &[], b"").await;
    assert!(loaded.stdout == state, "{}", String::from_utf8_lossy(&loaded.stderr));
    // To another storage the bytes go through here.
    let folder = tempfile::tempdir().unwrap();
    let target = format!("file://{}/c.gz", folder.path().display());
    let away = persist(&server, &["--storage", &storage, "cp", "a.gz", &target], &[], b"").await;
    assert!(away.status.success(), "{}", text(&away));
    assert_eq!(std::fs::read(folder.path().join("c.gz")).unwrap(), server.bytes("team/a.gz").unwrap());
    server.clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_printed_at_the_highest_level_of_logs() {
    let server = crate::support::guarded().await;
    let (user, service) = {
        let state = server.state();
        (state.tokens.authorized_user(), state.tokens.service_account())
    };
    let csek = "U1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1M=";
    let storage = format!("gs://{BUCKET}");
    let key_line = crate::strict::TEST_KEY.lines().nth(3).unwrap();
    for credentials in [user, service] {
        let credentials = credentials.to_string();
        let env = [
            ("RUST_LOG", "trace"), // which the command does not even look at: it is `-vv` that shows most
            ("PERSIST_GCS_CREDENTIALS_JSON", credentials.as_str()),
            ("PERSIST_GCS_ENCRYPTION_KEY", csek),
            ("PERSIST_GCS_CHUNK_SIZE", "256KiB"),
        ];
        let mut all = String::new();
        // A session with failures of each kind, a load that breaks, refusals, and what the configuration
        // looks like.
        server.script(
            Kind::Data,
            [Fault::Reset, Fault::Status(503), Fault::Persist(1000, Some(0)), Fault::Lost],
        );
        server.script(Kind::Media, [Fault::Cut(1000)]);
        let save = ["-vv", "--storage", &storage, "save", "k.gz"];
        let saved = persist(&server, &save, &env, &data(700_000, 1)).await;
        assert!(saved.status.success(), "{}", text(&saved));
        all += &text(&saved);
        server.state().tokens.revoke();
        let load = ["-vv", "--storage", &storage, "load", "k.gz", "-o", "/dev/null"];
        all += &text(&persist(&server, &load, &env, b"").await);
        all += &text(&persist(&server, &["-vv", "--storage", &storage, "doctor"], &env, b"").await);
        all += &text(&persist(&server, &["-vv", "--storage", &storage, "env"], &env, b"").await);
        let leak = "PUT https://x/upload?upload_id=SECRET-SESSION-1 with Bearer ya29.SECRET-TOKEN";
        server.script(Kind::Data, [Fault::Answer(403, vec![], leak.into())]);
        all += &text(&persist(&server, &save, &env, &data(700_000, 2)).await);
        let refusal = json!({ "error": "invalid_grant" }).to_string();
        server.script(Kind::Token, (0..9).map(|_| Fault::Answer(400, vec![], refusal.clone())));
        all += &text(&persist(&server, &load, &env, b"").await);
        server.state().faults = Default::default();
        assert!(all.contains("DEBUG") && all.contains("retrying") && all.contains("invalid_grant"), "{all}");
        for secret in ["SECRET-", "ya29", "U1NTU1NT", "upload_id=S", key_line] {
            if let Some(at) = all.find(secret) {
                panic!("{secret} was printed: {}", &all[at.saturating_sub(300)..(at + 60).min(all.len())]);
            }
        }
    }
}
