use std::sync::Arc;

use super::*;
use crate::{adapters::memory::MemoryAdapter, sessions::Sessions};

/// The queue's task ends on its own runtime between the two steps in which another one puts something there.
#[test]
fn nothing_is_put_into_a_queue_that_has_ended() {
    let session = Sessions::new(Arc::new(MemoryAdapter::new())).unwrap().session("a", "s").unwrap();
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (own, other) = (runtime(), runtime());
    let background = own.block_on(async { session.background(2) });
    let places = other.block_on(async {
        [background.queue.reserve().await.unwrap(), background.queue.reserve().await.unwrap()]
    });
    drop(own);
    for place in places {
        let (asked, mut answer) = oneshot::channel();
        let refused = background.put(place, |_| Ok(Job::Flush(asked))).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Internal);
        // Who waits for it is not left waiting.
        assert_eq!(answer.try_recv().unwrap_err(), oneshot::error::TryRecvError::Closed);
    }
    assert_eq!(other.block_on(background.flush()).unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(lock(&background.state).waiting, 0);
}
