use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn as_many_at_a_time_as_there_are_cores_and_in_turn() {
    let line = InTurn::new();
    let (at_work, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let ended = Arc::new(Mutex::new(Vec::new()));
    let jobs = (0..32).map(|number: usize| {
        let (at_work, most, ended) = (at_work.clone(), most.clone(), ended.clone());
        line.run(move || {
            most.fetch_max(at_work.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            // Those before it that are not done are at work. A panic is this job's error.
            let before = lock(&ended).iter().filter(|done| **done < number).count();
            assert!(number - before < parallelism(), "{number} began behind {before}");
            lock(&ended).push(number);
            at_work.fetch_sub(1, Ordering::SeqCst);
            Ok(number)
        })
    });
    let done = future::try_join_all(jobs.collect::<Vec<_>>()).await.unwrap();
    assert_eq!(done, (0..32).collect::<Vec<_>>());
    assert!(most.load(Ordering::SeqCst) <= parallelism());
    let mut ended = lock(&ended).clone();
    ended.sort_unstable();
    assert_eq!(ended, done, "each once");
}

#[tokio::test]
async fn work_that_panics_takes_no_other_along() {
    let line = InTurn::new();
    let jobs = (0..32).map(|number| {
        line.run(move || {
            assert!(number % 8 != 3, "planned");
            Ok(number)
        })
    });
    for (number, result) in future::join_all(jobs.collect::<Vec<_>>()).await.into_iter().enumerate() {
        assert_eq!(result.ok(), (number % 8 != 3).then_some(number));
    }
    assert_eq!(line.run(|| Ok(7)).await.unwrap(), 7);
}

#[tokio::test]
async fn what_was_given_up_is_not_done() {
    let line = InTurn::new();
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    let busy: Vec<_> = (0..parallelism())
        .map(|_| {
            let gate = gate.clone();
            line.run(move || Ok(lock(&gate).recv().is_ok()))
        })
        .collect();
    let done = Arc::new(AtomicUsize::new(0));
    let counted = done.clone();
    drop(line.run(move || Ok(counted.fetch_add(1, Ordering::SeqCst) == 0)));
    busy.iter().for_each(|_| open.send(()).unwrap());
    assert!(future::try_join_all(busy).await.unwrap().into_iter().all(|received| received));
    assert!(line.run(|| Ok(true)).await.unwrap());
    assert_eq!(done.load(Ordering::SeqCst), 0);
}

#[test]
fn nobody_waits_for_a_runtime_that_ended() {
    let new = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (line, ended) = (InTurn::new(), new());
    let handle = ended.handle().clone();
    drop(ended);
    let jobs: Vec<_> = {
        let _entered = handle.enter();
        (0..4).map(|number| line.run(move || Ok(number))).collect()
    };
    for result in new().block_on(future::join_all(jobs)) {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Internal);
    }
    assert_eq!(new().block_on(async { line.run(|| Ok(4)).await }).unwrap(), 4);
}
