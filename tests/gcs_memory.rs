//! Memory of a save and a load, of the whole process, at its highest. Alone in its program, since others
//! would be counted as well. The server in it keeps nothing in memory: it makes up what it sends, or has it
//! in a file.
#![cfg(all(feature = "gcs", target_os = "linux"))]
#![allow(clippy::unwrap_used)]

#[path = "support/small.rs"]
mod small;

use std::{
    convert::Infallible,
    fs::File,
    os::unix::fs::FileExt,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response,
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use persist::{
    Body, Codec, GcsConfig, Key, PutOptions, RetryConfig, SnapshotAdapter, SnapshotAdapterExt,
    adapters::gcs::GcsAdapter,
};
use serde_json::{Value, json};
use small::{on_two_cores, peak, test_bytes};
use tokio::io::AsyncReadExt;

const MIB: u64 = 1024 * 1024;

/// 64 KiB of the object, at any place that is a multiple of that.
fn block() -> Bytes {
    Bytes::from((0..65_536u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect::<Vec<_>>())
}

/// 64 KiB of a state that gzip makes half as long.
fn noise(place: u64) -> Bytes {
    let mut state = (place + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = Vec::with_capacity(65_536);
    while bytes.len() < 65_536 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&(state & 0x0f0f_0f0f_0f0f_0f0f).to_le_bytes());
    }
    bytes.into()
}

type Sent = UnsyncBoxBody<Bytes, Infallible>;

fn sent(bytes: impl Into<Bytes>) -> Sent {
    Full::new(bytes.into()).boxed_unsync()
}

/// What of the upload has arrived.
#[derive(Default)]
struct Upload {
    size: u64,
    crc32c: String,
    metadata: Value,
    /// What arrived, if it is to be sent back as it is.
    kept: Option<Arc<File>>,
}

async fn serve(
    upload: Arc<Mutex<Upload>>,
    url: String,
    request: Request<Incoming>,
) -> Result<Response<Sent>, Infallible> {
    let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let hash = header("x-goog-hash");
    let (query, range, content_range) =
        (request.uri().query().unwrap_or_default().to_owned(), header("range"), header("content-range"));
    let describe = |upload: &Upload| {
        let (crc32c, size) = (&upload.crc32c, upload.size.to_string());
        json!({ "name": "k", "size": size, "generation": "7", "crc32c": crc32c, "timeCreated": "2026-01-01T00:00:00Z",
            "metadata": upload.metadata })
        .to_string()
    };
    let method = request.method().clone();
    let answer = Response::builder();
    let response = match (method.as_str(), query.contains("upload_id"), query.contains("alt=media")) {
        ("POST", ..) => {
            let kept = query.contains("name=gzip").then(|| Arc::new(tempfile::tempfile().unwrap()));
            let resource = request.into_body().collect().await.unwrap().to_bytes();
            let mut resource: Value = serde_json::from_slice(&resource).unwrap();
            *upload.lock().unwrap() =
                Upload { kept, metadata: resource["metadata"].take(), ..Upload::default() };
            answer.header("location", format!("{url}/upload?upload_id=1")).body(sent(""))
        }
        ("PUT", true, _) => {
            let mut body = request.into_body();
            while let Some(frame) = body.frame().await {
                let data = frame.unwrap().into_data().unwrap();
                let mut upload = upload.lock().unwrap();
                if let Some(file) = &upload.kept {
                    file.write_all_at(&data, upload.size).unwrap();
                }
                upload.size += data.len() as u64;
            }
            let mut upload = upload.lock().unwrap();
            // Taken on trust: checksums are other tests' business, and slow without optimization.
            upload.crc32c = hash.unwrap_or_default().trim_start_matches("crc32c=").into();
            if content_range.unwrap().ends_with("/*") {
                answer.status(308).header("range", format!("bytes=0-{}", upload.size - 1)).body(sent(""))
            } else {
                answer.body(sent(describe(&upload)))
            }
        }
        ("GET", _, true) => {
            let (size, kept) = {
                let upload = upload.lock().unwrap();
                (upload.size, upload.kept.clone())
            };
            let bounds = range.as_deref().and_then(|range| range["bytes=".len()..].split_once('-'));
            let (first, last) =
                bounds.map_or((0, size - 1), |(first, last)| (first.parse().unwrap(), last.parse().unwrap()));
            let answer = match range {
                Some(_) => answer.status(206).header("content-range", format!("bytes {first}-{last}/{size}")),
                None => answer,
            };
            let (mut at, end, block) = (first, last.min(size - 1) + 1, block());
            let frames = std::iter::from_fn(move || {
                let mut frame = block.slice(..(end - at).min(block.len() as u64) as usize);
                if let Some(file) = &kept {
                    let mut bytes = vec![0; frame.len()];
                    file.read_exact_at(&mut bytes, at).unwrap();
                    frame = bytes.into();
                }
                at += frame.len() as u64;
                (!frame.is_empty()).then_some(Ok(Frame::data(frame)))
            });
            answer.header("x-goog-generation", "7").body(StreamBody::new(stream::iter(frames)).boxed_unsync())
        }
        _ => answer.body(sent(describe(&upload.lock().unwrap()))),
    };
    Ok(response.unwrap())
}

#[test]
fn memory_does_not_grow_with_what_is_saved_and_loaded() {
    on_two_cores();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(save_and_load());
}

async fn save_and_load() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (upload, address) = (Arc::new(Mutex::new(Upload::default())), url.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (upload, url) = (upload.clone(), address.clone());
            tokio::spawn(async move {
                let service = service_fn(move |request| serve(upload.clone(), url.clone(), request));
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    let config = GcsConfig { endpoint_url: Some(url), ..GcsConfig::default() };
    let store = GcsAdapter::open("bucket", &config, &RetryConfig::default()).await.unwrap();
    let (key, block, size) = (Key::new("k").unwrap(), block(), test_bytes(256));
    let source = block.clone();
    let body = stream::iter((0..size / block.len() as u64).map(move |_| Ok(source.clone())));
    let put = store.put(&key, Body::from_stream(body), PutOptions::new()).await.unwrap();
    assert_eq!(put.size, size);
    let saved = peak("self");
    let mut object = store.get(&key, Default::default()).await.unwrap();
    let mut loaded = 0;
    while let Some(chunk) = object.body.chunk().await.unwrap() {
        loaded += chunk.len() as u64;
    }
    assert_eq!(loaded, size);
    let plain = peak("self");
    assert!(plain <= 64, "{plain} MiB for {} MiB ({saved} to put)", size / MIB);
    // As a user has it, through gzip. A quarter is enough: most of the time goes into compressing.
    let size = size / 4;
    let made = stream::iter((0..size / block.len() as u64).map(|i| Ok(noise(i))));
    let saved = store.save_body(Body::from_stream(made), "gzip").await.unwrap();
    assert_eq!((saved.size, saved.codec), (size, Codec::Gzip { level: 6 }));
    let after_save = peak("self");
    let mut reader = store.load_stream("gzip").await.unwrap();
    let mut buffer = vec![0; block.len()];
    for i in 0..size / block.len() as u64 {
        reader.read_exact(&mut buffer).await.unwrap();
        assert!(buffer == noise(i));
    }
    assert_eq!(reader.read(&mut buffer).await.unwrap(), 0);
    let (all, stored) = (peak("self"), saved.meta.size / MIB);
    println!(
        "{} MiB: {plain} MiB for four times that, {after_save} to save {stored} MiB of gzip, {all} in all",
        size / MIB
    );
    assert!(stored > size / MIB / 4, "{stored} MiB are no load");
    assert!(all <= 96, "{all} MiB for {} MiB ({after_save} to save)", size / MIB);
}
