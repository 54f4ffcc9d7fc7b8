use std::sync::atomic::{AtomicU32, Ordering};

use reqwest::Method;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::{
    GcsConfig, RetryBudget, RetryConfig,
    adapters::gcs::{auth::Found, client::Client, settings::Settings},
    retry,
};

/// How often a server that is not there is asked by so many operations, with the retries that everybody has.
async fn asked(expected: bool, operations: u32) -> u32 {
    // A port that is taken, and where nobody listens.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let host = socket.local_addr().unwrap().to_string();
    let server = MetadataServer::new(Some(host), expected).unwrap();
    let client = crate::http::client(Duration::from_secs(2), false).unwrap();
    let (count, config, budget) = (AtomicU32::new(0), RetryConfig::default(), RetryBudget::default());
    for _ in 0..operations {
        let outcome = retry(&config, &budget, |_| {
            count.fetch_add(u32::from(server.known_absent().is_none()), Ordering::Relaxed);
            server.fetch(&client)
        });
        let error = outcome.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
        assert!(error.message().starts_with("no Google credentials"), "{error}");
    }
    count.into_inner()
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_metadata_server_where_none_is_expected() {
    assert_eq!(asked(false, 5).await, 1, "it is remembered");
    assert_eq!(asked(true, 1).await, RetryConfig::default().max_attempts);
}

#[tokio::test]
async fn what_looks_like_a_machine_of_googles_expects_one() {
    for name in ["GCE_METADATA_HOST", "K_SERVICE", "CLOUD_RUN_JOB", "GAE_SERVICE"] {
        assert!(expected(&|wanted| (wanted == name).then(|| "x".into())).await);
    }
}

#[test]
fn the_host_is_a_host() {
    for host in ["metadata.google.internal", "169.254.169.254", "127.0.0.1:8080", "[::1]:80"] {
        MetadataServer::new(Some(host.into()), true).unwrap();
    }
    for host in ["http://x", "x/y", "x?y", "x#y", "a:b@x", "a b", ""] {
        let error = MetadataServer::new(Some(host.into()), true).unwrap_err();
        assert!(error.message().contains("GCE_METADATA_HOST"), "{error}");
    }
}

#[tokio::test]
async fn its_token_goes_to_the_storage_with_the_project_that_pays() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    // Both servers in one, an answer for each connection.
    let serving = tokio::spawn(async move {
        let mut asked = Vec::new();
        for body in [r#"{"access_token":"t","expires_in":60,"token_type":"Bearer"}"#, "{}"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            let answer = format!(
                "HTTP/1.1 200 OK\r\nmetadata-flavor: Google\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            asked.push(String::from_utf8(request).unwrap().to_ascii_lowercase());
        }
        asked
    });
    let public =
        GcsConfig { endpoint_url: Some("https://storage.googleapis.com".into()), ..GcsConfig::default() };
    let project = |name: &str| (name == "GOOGLE_CLOUD_QUOTA_PROJECT").then(|| "payer".to_owned());
    let mut settings = Settings::new(&public, &project).await.unwrap();
    assert!(matches!(settings.credentials, Found::MetadataServer(None, _)));
    settings.base = format!("http://{host}").parse().unwrap();
    settings.credentials = Found::MetadataServer(Some(host), true);
    let client = Client::shared(settings).await.unwrap();
    client.send(client.request(Method::GET, "/storage/v1/b/x".into())).await.unwrap();
    let asked = serving.await.unwrap();
    assert!(asked[0].starts_with("get /computemetadata/") && asked[0].contains("metadata-flavor: google"));
    assert!(asked[1].starts_with("get /storage/v1/b/x ") && asked[1].contains("authorization: bearer t\r\n"));
    assert!(asked[1].contains("x-goog-user-project: payer\r\n"), "{}", asked[1]);
}
