//! Background saves whose worker is gone.

use persist::{ErrorKind, sessions::CommitOptions};

use super::Bench;

/// A look at the health of many hears of a queue that takes nothing any more.
#[test]
fn a_queue_whose_runtime_ended_is_a_failure() {
    let bench = Bench::new(221);
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let own = runtime();
    let background = own.block_on(async {
        let background = bench.session("s").background(4);
        background.save("one", CommitOptions::new()).await.unwrap();
        background.flush().await.unwrap();
        assert!(background.failure().is_none());
        background
    });
    drop(own);
    assert_eq!(background.failure().map(|error| error.kind()), Some(ErrorKind::Internal));
    let (saved, flushed) = runtime()
        .block_on(async { (background.save("two", CommitOptions::new()).await, background.flush().await) });
    assert_eq!(saved.unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(flushed.unwrap_err().to_string(), background.failure().unwrap().to_string());
}
