use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use proptest::prelude::*;

use super::{Pace, Parts, ranges::in_parallel, resuming, widening};
use crate::{Body, Error, ErrorKind, RetryBudget, RetryConfig};

fn data(len: usize) -> Bytes {
    (0..len).map(|i| (i * 31 % 251) as u8).collect()
}

fn chunked(bytes: &Bytes, sizes: &[usize]) -> Body {
    let (mut rest, mut chunks, mut sizes) = (bytes.clone(), Vec::new(), sizes.iter().cycle());
    while !rest.is_empty() {
        let size = sizes.next().copied().unwrap_or(1).max(1).min(rest.len());
        chunks.push(Ok(rest.split_to(size)));
    }
    Body::from_stream(stream::iter(chunks))
}

proptest! {
    #[test]
    fn parts_are_full_but_the_last(len in 0usize..400, sizes in prop::collection::vec(1usize..50, 1..5), size in 1usize..60) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let bytes = data(len);
        for body in [chunked(&bytes, &sizes), Body::from(bytes.clone())] {
            let mut parts = Parts::new(body);
            let mut all = Vec::new();
            loop {
                let (part, last) = runtime.block_on(parts.next(size)).unwrap();
                all.extend_from_slice(&part);
                prop_assert!(last || part.len() == size);
                prop_assert!(!last || !part.is_empty() || len == 0);
                if last { break }
            }
            prop_assert_eq!(&all, &bytes);
        }
    }
}

/// A part may be larger than memory; only what comes takes any.
#[tokio::test]
async fn a_part_takes_no_more_memory_than_its_bytes() {
    let bytes = data(100);
    for body in [chunked(&bytes, &[60]), chunked(&bytes, &[60]).with_len(1 << 46)] {
        let part = Parts::new(body).next(1 << 46).await;
        assert!(part.map_or_else(|_| true, |(part, last)| last && part == bytes));
    }
}

#[tokio::test(start_paused = true)]
async fn resumes_where_it_broke_off() {
    let (bytes, requests) = (data(1000), Arc::new(AtomicUsize::new(0)));
    let (source, count) = (bytes.clone(), requests.clone());
    // Every answer brings 100 bytes, then breaks or ends: ten requests, more than the attempts that one
    // stretch has.
    let body = resuming(
        0..1000,
        None,
        RetryConfig { max_attempts: 2, ..Default::default() },
        Default::default(),
        move |range| {
            let n = count.fetch_add(1, Ordering::Relaxed);
            let piece =
                source.slice(range.start as usize..(range.start as usize + 100).min(range.end as usize));
            async move {
                let broken = Err(Error::new(ErrorKind::Unavailable, "reset"));
                Ok(Body::from_stream(stream::iter(if n % 2 == 0 {
                    vec![Ok(piece), broken]
                } else {
                    vec![Ok(piece)]
                })))
            }
        },
    );
    assert_eq!(body.collect(1000).await.unwrap(), bytes);
    assert_eq!(requests.load(Ordering::Relaxed), 10);
}

#[tokio::test(start_paused = true)]
async fn a_long_download_over_a_bad_line_keeps_the_budget() {
    let (budget, source) = (Arc::new(RetryBudget::new(10)), data(1000));
    // One byte, then a break: a thousand requests.
    let body = resuming(0..1000, None, RetryConfig::default(), budget.clone(), move |range| {
        let byte = source.slice(range.start as usize..range.start as usize + 1);
        async move { Ok(Body::from(byte)) }
    });
    assert_eq!(body.collect(1000).await.unwrap(), data(1000));
    for _ in 0..10 {
        let broken = Error::new(ErrorKind::Unavailable, "reset");
        RetryConfig::default().start().wait(broken, &budget).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_version_ends_the_download() {
    let first =
        Body::from_stream(stream::iter([Ok(data(10)), Err(Error::new(ErrorKind::Unavailable, "reset"))]));
    let body = resuming(0..100, Some(first), RetryConfig::default(), Default::default(), |_| async {
        Err(Error::new(ErrorKind::Conflict, "the object was replaced"))
    });
    assert_eq!(body.collect(100).await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test(start_paused = true)]
async fn too_many_bytes_are_corrupt() {
    let body =
        resuming(0..5, Some(Body::from(data(6))), RetryConfig::default(), Default::default(), |_| async {
            Ok(Body::empty())
        });
    assert_eq!(body.collect(100).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test(start_paused = true)]
async fn bytes_behind_the_last_are_corrupt() {
    let whole = Body::from_stream(stream::iter([Ok(data(5)), Ok(data(1))]));
    let body = resuming(0..5, Some(whole), RetryConfig::default(), Default::default(), |_| async {
        Ok(Body::empty())
    });
    assert_eq!(body.collect(100).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test(start_paused = true)]
async fn ranges_come_in_order_and_no_more_than_the_window() {
    let bytes = data(1000);
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (source, running2, most2) = (bytes.clone(), running, most.clone());
    let body = in_parallel(3..1000, 64, 4, move |range| {
        let (running, most) = (running2.clone(), most2.clone());
        let piece = source.slice(range.start as usize..range.end as usize);
        async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(1000 - range.start)).await; // later pieces finish first
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(Body::from(piece))
        }
    });
    assert_eq!(body.collect(1000).await.unwrap(), bytes.slice(3..));
    assert_eq!(most.load(Ordering::SeqCst), 4);
}

/// Loads 100 KiB over a connection that takes `wire` for each KiB, by a reader that takes `reader` for it:
/// the ranges that were added.
async fn added(wire: Duration, reader: Duration) -> Vec<u64> {
    let bytes = data(100 << 10);
    let starts = Arc::new(std::sync::Mutex::new(vec![]));
    let (source, seen) = (bytes.clone(), starts.clone());
    let slow = move |bytes: Bytes| {
        let kib =
            (0..bytes.len()).step_by(1 << 10).map(move |at| bytes.slice(at..bytes.len().min(at + 1024)));
        Body::from_stream(stream::iter(kib.map(Ok)).then(move |chunk| async move {
            tokio::time::sleep(wire).await;
            chunk
        }))
    };
    let pace = Pace { enough: 128 << 20, patience: Duration::from_millis(20) };
    let mut body = widening(0..bytes.len() as u64, 16 << 10, 4, pace, slow(bytes.clone()), move |part| {
        seen.lock().unwrap().push(part.start >> 10);
        slow(source.slice(part.start as usize..part.end as usize))
    });
    let mut read = vec![];
    while let Some(chunk) = body.chunk().await.unwrap() {
        tokio::time::sleep(reader).await;
        read.extend_from_slice(&chunk);
    }
    assert!(read == bytes);
    let starts = starts.lock().unwrap();
    starts.clone()
}

#[tokio::test(start_paused = true)]
async fn only_a_connection_that_is_waited_for_gets_others_beside_it() {
    let (none, ms) = (Duration::ZERO, Duration::from_millis(1));
    // A mebibyte a second: after 20 ms and two pieces it shows, the third comes the same way, the rest as
    // ranges.
    assert_eq!(added(ms, none).await, [48, 64, 80, 96]);
    assert_eq!(added(ms, 5 * ms).await, [48, 64, 80, 96]);
    // As quick as the clock tells, whatever the reader takes.
    assert_eq!(added(none, none).await, [0; 0]);
    assert_eq!(added(none, 5 * ms).await, [0; 0]);
}

/// Each of them would go on to bring what nobody reads, and is billed.
#[tokio::test(start_paused = true)]
async fn a_download_that_is_dropped_ends_its_requests() {
    let (held, mut ended) = tokio::sync::mpsc::channel::<()>(1);
    let mut body = in_parallel(0..100, 10, 4, move |part| {
        let held = held.clone();
        async move {
            if part.start > 0 {
                std::future::pending::<()>().await;
            }
            drop(held);
            Ok(Body::from(data(10)))
        }
    });
    assert_eq!(body.chunk().await.unwrap(), Some(data(10)));
    drop(body);
    let ended = tokio::time::timeout(Duration::from_secs(60), ended.recv()).await;
    assert_eq!(ended, Ok(None), "a request is still under way");
}
