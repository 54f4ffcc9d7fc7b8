//! The fault proxy itself: a test tool that spoils the wrong bytes would prove nothing.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use support::proxy::{Fault, Proxy};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// A server that answers every request with "hello world" (chunked for `/chunked`) and tells which bodies it
/// got.
async fn server() -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, (tell, told)) = (listener.local_addr().unwrap().to_string(), mpsc::unbounded_channel());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let (from, mut to) = client.split();
                let mut from = tokio::io::BufReader::new(from);
                while let Ok(Some(head)) = support::http1::Head::read(&mut from).await {
                    let (mut framing, mut body) = (head.request_body(), String::new());
                    while let Ok(Some(piece)) = framing.next(&mut from).await {
                        body += &String::from_utf8_lossy(&piece.raw);
                    }
                    tell.send(body).unwrap();
                    let answer: &[u8] = match head.word(1) {
                        "/chunked" => {
                            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n"
                        }
                        _ => b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world",
                    };
                    to.write_all(answer).await.unwrap();
                }
            });
        }
    });
    (address, told)
}

/// Sends one request; what came back, and whether the connection was reset.
async fn ask(proxy: &Proxy, target: &str, body: &str) -> (String, bool) {
    ask_for(Duration::from_secs(30), proxy, target, body).await
}

/// What comes in this time. A stalled connection has to be waited for.
async fn ask_for(limit: Duration, proxy: &Proxy, target: &str, body: &str) -> (String, bool) {
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    let request = format!("PUT {target} HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    loop {
        let mut buffer = [0; 1024];
        match tokio::time::timeout(limit, stream.read(&mut buffer)).await {
            Err(_) | Ok(Ok(0)) => return (answer, false),
            Ok(Ok(n)) => answer += std::str::from_utf8(&buffer[..n]).unwrap(),
            Ok(Err(_)) => return (answer, true),
        }
        if complete(&answer) {
            return (answer, false);
        }
    }
}

fn complete(answer: &str) -> bool {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return false };
    match head.to_ascii_lowercase().split_once("content-length: ") {
        Some((_, rest)) => rest.lines().next() == Some(body.len().to_string().as_str()),
        None => body.ends_with("0\r\n\r\n"),
    }
}

#[tokio::test]
async fn passes_every_byte_and_counts() {
    let (address, mut told) = server().await;
    let proxy = Proxy::start(&address).await;
    let plain = "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world";
    assert_eq!(ask(&proxy, "/a?b=c", "body").await, (plain.into(), false));
    assert_eq!(told.recv().await.unwrap(), "body");
    assert!(ask(&proxy, "/chunked", "").await.0.ends_with("5\r\nworld\r\n0\r\n\r\n"));
    assert_eq!((proxy.count("PUT", "/a"), proxy.count("", ""), proxy.count("GET", "")), (1, 2, 0));
}

#[tokio::test]
async fn each_fault_does_what_it_says() {
    let (address, mut told) = server().await;
    let proxy = Proxy::start(&address).await;
    proxy.fail(1, "PUT", "/a", Fault::answer_with(503, &[("Retry-After", "1")], "slow"));
    let (answer, _) = ask(&proxy, "/a", "x").await;
    assert_eq!(answer, "HTTP/1.1 503 Scripted\r\ncontent-length: 4\r\nRetry-After: 1\r\n\r\nslow");
    proxy.fail(1, "", "", Fault::ResetBefore);
    assert_eq!(ask(&proxy, "/b", "x").await, (String::new(), true));
    assert!(told.try_recv().is_err(), "the server must not see either");

    proxy.fail(1, "", "", Fault::Swallow);
    assert_eq!(ask(&proxy, "/c", "acted").await, (String::new(), true));
    assert_eq!(told.recv().await.unwrap(), "acted");

    proxy.fail(1, "", "", Fault::CutRequest(3));
    assert_eq!(ask(&proxy, "/d", "abcdef").await, (String::new(), true));
    assert_eq!(told.recv().await.unwrap(), "abc");

    proxy.fail(1, "", "", Fault::CutResponse(4));
    let (answer, reset) = ask(&proxy, "/e", "").await;
    assert!(answer.ends_with("\r\n\r\nhell") && reset, "{answer}");
    proxy.fail(1, "", "", Fault::EndResponse(4));
    let (answer, reset) = ask(&proxy, "/e", "").await;
    assert!(answer.ends_with("\r\n\r\nhell") && !reset, "{answer}");
    proxy.fail(1, "", "", Fault::Stall(2));
    let moment = Duration::from_secs(1);
    assert!(ask_for(moment, &proxy, "/f", "").await.0.ends_with("\r\n\r\nhe"));
    proxy.fail(1, "", "", Fault::Silence);
    assert_eq!(ask_for(moment, &proxy, "/f", "").await.0, "");
    proxy.fail(1, "", "", Fault::Flip(8));
    assert!(ask(&proxy, "/chunked", "").await.0.ends_with("6\r\nhello \r\n5\r\nwosld\r\n0\r\n\r\n"));
}

#[tokio::test]
async fn a_seed_decides_the_same_way_again() {
    let (address, _told) = server().await;
    let proxy = Proxy::start(&address).await;
    let mut runs = Vec::new();
    for seed in [1, 1, 2] {
        proxy.clear();
        proxy.seeded(seed, 50, vec![Fault::answer(500), Fault::answer(503)]);
        for n in 0..20 {
            ask(&proxy, &format!("/{}", n % 4), "").await;
        }
        runs.push(proxy.log().into_iter().map(|seen| seen.fault).collect::<Vec<_>>());
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
    assert!(runs[0].contains(&Fault::Pass) && runs[0].contains(&Fault::answer(503)));
}
