//! `persist save` to S3, interrupted in the middle of a large upload.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
};

use crate::{
    bench::{Bench, noise},
    support::{proxy::Fault, s3::LARGE, s3_server::BUCKET},
};

/// A save that waits for the rest of its input, with a part of it under way.
async fn waiting_save(bench: &Bench) -> Child {
    let mut child = Command::new(env!("CARGO_BIN_EXE_persist"))
        .env_clear()
        .env("HOME", std::env::temp_dir().join("persist-no-such-home"))
        .env("AWS_ACCESS_KEY_ID", "strictkey")
        .env("AWS_SECRET_ACCESS_KEY", "strictsecret")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ENDPOINT_URL", bench.proxy.url())
        .args(["--storage", &format!("s3://{BUCKET}/agents?part_size=5MiB"), "save", "--codec=none", "key"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&noise(1, LARGE)).await.unwrap();
    child.stdin = Some(stdin);
    bench.until(|bench| bench.proxy.count("PUT", "partNumber") > 0).await;
    child
}

/// By the signal that nobody ignores: in the background of a script the others may be.
async fn interrupt(child: &Child) {
    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").arg("-TERM").arg(id).status().await.unwrap().success());
}

/// The removal of an upload takes longer than the moment that everything else gets.
#[tokio::test]
async fn an_interrupted_save_removes_its_upload_before_it_ends() {
    let bench = Bench::new().await;
    bench.proxy.fail(1, "DELETE", "uploadId", Fault::Delay(Duration::from_secs(1)));
    let mut child = waiting_save(&bench).await;
    let asked = Instant::now();
    interrupt(&child).await;
    let status = child.wait().await.unwrap();
    assert_eq!(status.code(), Some(143));
    // It waits for five seconds; this machine may stand still for longer.
    assert!(bench.is_clean() || asked.elapsed() >= Duration::from_secs(5), "the process has not waited");
}

/// The removal would be over before the process ends by itself, as the test above shows.
#[tokio::test]
async fn a_second_signal_ends_the_wait() {
    let bench = Bench::new().await;
    bench.proxy.fail(9, "DELETE", "uploadId", Fault::Delay(Duration::from_secs(4)));
    let mut child = waiting_save(&bench).await;
    let asked = Instant::now();
    interrupt(&child).await;
    bench.until(|bench| bench.proxy.count("DELETE", "uploadId") >= 1).await;
    interrupt(&child).await;
    assert_eq!(child.wait().await.unwrap().code(), Some(143));
    assert!(!bench.is_clean() || asked.elapsed() >= Duration::from_secs(4), "it has waited for the removal");
}
