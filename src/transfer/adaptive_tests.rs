use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;

use super::{LEG, Line, adaptive};
use crate::Body;

const MIB: u64 = 1024 * 1024;
const PIECE: u64 = 8 * MIB;

type Log = Arc<Mutex<Vec<u64>>>;

/// Reads `mib` MiB over a line on which each connection brings a MiB in `pace`. Gives the lengths of the requests in the order of their starts.
async fn read(line: &Arc<Line>, mib: u64, pace: Duration) -> Vec<u64> {
    let asked: Log = Arc::default();
    let log = asked.clone();
    let body = adaptive(0..mib * MIB, line.first(PIECE), PIECE, line.clone(), move |range| {
        log.lock().unwrap().push(range.end - range.start);
        let chunks = stream::unfold(range, move |mut rest| async move {
            if rest.is_empty() {
                return None;
            }
            tokio::time::sleep(pace).await;
            let len = (rest.end - rest.start).min(MIB);
            rest.start += len;
            Some((Ok(Bytes::from(vec![7; len as usize])), rest))
        });
        std::future::ready(Ok(Body::from_stream(chunks)))
    });
    let (mut body, mut len) = (body, 0);
    while let Some(chunk) = body.chunk().await.unwrap() {
        len += chunk.len() as u64;
    }
    assert_eq!(len, mib * MIB);
    let asked = asked.lock().unwrap();
    asked.iter().map(|len| len / MIB).collect()
}

const QUICK: Duration = Duration::from_millis(1);
const SLOW: Duration = Duration::from_millis(20);

#[tokio::test(start_paused = true)]
async fn a_fast_line_is_read_as_one_stream() {
    let line = Arc::new(Line::new(None));
    assert_eq!(read(&line, 100, QUICK).await, [8, 64, 28]);
    assert_eq!(read(&line, 100, QUICK).await, [64, 36], "the next download knows it");
    assert_eq!(read(&line, 65, QUICK).await, [64, 1]);
    assert_eq!(read(&line, 65, QUICK).await, [64, 1], "the way to a short rest is no slow line");
}

#[tokio::test(start_paused = true)]
async fn a_slow_line_is_read_as_several_ranges() {
    let line = Arc::new(Line::new(None));
    assert_eq!(read(&line, 30, SLOW).await, [8, 8, 8, 6]);
    let started = tokio::time::Instant::now();
    assert_eq!(read(&line, 32, SLOW).await, [8; 4]);
    assert_eq!(started.elapsed(), SLOW * 8, "all four at once");
    // What gets slow in its course is seen with the next leg, and what gets fast with the next download.
    let line = Arc::new(Line::new(None));
    read(&line, 16, QUICK).await;
    assert_eq!(read(&line, 80, SLOW).await, [64, 8, 8]);
    assert_eq!(read(&line, 32, QUICK).await, [8; 4]);
    assert_eq!(read(&line, 32, QUICK).await, [8, 24]);
}

#[tokio::test(start_paused = true)]
async fn what_the_deployment_says_stays() {
    let (one, four) = (Arc::new(Line::new(Some(1))), Arc::new(Line::new(Some(4))));
    for pace in [SLOW, QUICK, SLOW] {
        assert_eq!(read(&one, 80, pace).await, [LEG / MIB, 16]);
        assert_eq!(read(&four, 32, pace).await, [8; 4]);
    }
}
