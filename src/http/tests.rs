use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use reqwest::header::{DATE, HeaderMap, HeaderValue, RETRY_AFTER};

use super::{Lost, client, redact, retry_after, send, text};
use crate::ErrorKind;

#[test]
fn messages_lose_queries_tokens_markup_and_length() {
    let message = "PUT https://host/upload?upload_id=SECRET&x=1 failed, sent Bearer ya29.SECRET at once";
    assert_eq!(redact(message), "PUT https://host/upload?… failed, sent Bearer … at once");
    for (text, shown) in [
        (
            "/upload/storage/v1/b/x/o?uploadType=resumable&upload_id=SECRET was not found",
            "/upload/storage/v1/b/x/o?… was not found",
        ),
        (r#"{"authorization":"Bearer SECRET","x":1}"#, r#"{"authorization":"Bearer …"#),
        ("(Authorization: bearer: SECRET)", "(Authorization: bearer: …"),
        ("Bearer%20SECRET and upload_id=SECRET; UPLOAD_ID: SECRET", "… and … … …"),
        ("x-guploader-uploadid: SECRET, access_token: SECRET", "x-guploader-… … access_token: …"),
        ("{\"t\":\"ya29.SECRET\"}", "{\"t\":\"…"),
        ("client_id=me&refresh_token=SECRET&client_secret=SECRET", "client_id=me&refresh_token=…"),
        ("{\"client_secret\": \"SECRET\"}", "{\"client_secret\": …"),
        ("{\"client_secret\":\"SECRET\"}", "{\"client_secret\":\"…"),
        ("is it there? a=b why?", "is it there? a=b why?"),
    ] {
        assert_eq!(redact(text), shown);
    }
    let page =
        "<!DOCTYPE html>\n<html><style>*{margin:0}</style><title>Error 502</title>\n<p>Try <b>again</b>.";
    assert_eq!(redact(page), "Error 502 Try again .");
    assert_eq!(redact("<broken"), "");
    assert_eq!(redact(&"x".repeat(1000)).chars().count(), 301);
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let mut headers = HeaderMap::new();
    assert_eq!(retry_after(&headers), None);
    headers.insert(RETRY_AFTER, HeaderValue::from_static("7"));
    assert_eq!(retry_after(&headers), Some(Duration::from_secs(7)));
    headers.insert(DATE, HeaderValue::from_static("Wed, 21 Oct 2026 07:28:00 GMT"));
    headers.insert(RETRY_AFTER, HeaderValue::from_static("Wed, 21 Oct 2026 07:28:30 GMT"));
    assert_eq!(retry_after(&headers), Some(Duration::from_secs(30)));
    headers.insert(RETRY_AFTER, HeaderValue::from_static("soon"));
    assert_eq!(retry_after(&headers), None);
}

/// Otherwise a byte a minute would hold a request for ever.
#[tokio::test(start_paused = true)]
async fn an_answer_that_trickles_has_an_end() {
    let quiet = Duration::from_secs(30);
    let answer = |bytes: usize| {
        let trickle = stream::unfold(bytes, |left| async move {
            tokio::time::sleep(Duration::from_secs(29)).await;
            Some((Ok::<_, Infallible>(Bytes::from_static(b"x")), left.checked_sub(1)?))
        });
        reqwest::Response::from(hyper::Response::new(reqwest::Body::wrap_stream(trickle)))
    };
    assert_eq!(text(answer(9), 1024, quiet).await.unwrap().len(), 9);
    assert_eq!(text(answer(1024), 1024, quiet).await.unwrap_err().kind(), ErrorKind::Timeout);
}

/// A piece without bytes is no end, where the length is not announced.
#[tokio::test]
async fn an_empty_piece_is_not_all_of_an_answer() {
    let pieces = ["", "all", "", " of it"].map(|piece| Ok::<_, Infallible>(Bytes::from(piece)));
    let answer = hyper::Response::new(reqwest::Body::wrap_stream(stream::iter(pieces)));
    assert_eq!(text(answer.into(), 1024, Duration::from_secs(30)).await.unwrap(), "all of it");
}

/// Another crate in a user's tree may turn reqwest's decompression on, and no test of ours has such a tree.
#[test]
fn decompression_is_refused_by_name() {
    let client = include_str!("client.rs");
    for coding in ["gzip", "brotli", "deflate", "zstd"] {
        assert!(client.contains(&format!("\n        .no_{coding}()\n")), "{coding}");
    }
}

/// After a connection that could not be made nothing has happened; after any other failure it may have.
#[tokio::test]
async fn only_what_a_server_may_have_got_is_in_doubt() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let http = client(Duration::from_secs(10), false).unwrap();
    let attempt = || send(http.post(&url), Some(Bytes::from("state").into()), Duration::from_secs(30));
    let gone = async { drop(listener.accept().await.unwrap()) };
    let (outcome, ()) = tokio::join!(attempt(), gone);
    assert!(matches!(outcome, Err(Lost { sent: true, .. })));
    drop(listener);
    let refused = attempt().await.unwrap_err();
    assert_eq!((refused.sent, refused.error.kind()), (false, ErrorKind::Unavailable), "{}", refused.error);
}
