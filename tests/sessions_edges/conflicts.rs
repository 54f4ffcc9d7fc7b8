//! A runtime has many sessions, and one log: a conflict says which session it is about.

use persist::{
    Error, ErrorKind,
    sessions::{At, CommitOptions},
};

use super::Bench;

#[track_caller]
fn names_it(error: Error, what: &str) {
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    let text = error.to_string();
    assert_eq!(text.matches("a/s").count(), 1, "{text}");
    assert!(text.contains(what), "{text}");
}

#[tokio::test]
async fn a_conflict_names_its_session() {
    let bench = Bench::new(1);
    let open = || bench.session("s");
    let after = |seq| CommitOptions::new().after(seq);
    let [late, by_number, fenced] = [open(), open(), open()];
    open().save("1").await.unwrap();
    late.load(1).await.unwrap();
    by_number.load(1).await.unwrap();
    open().save("2").await.unwrap();
    fenced.load(At::Latest).await.unwrap();

    names_it(late.save_with("2", after(1)).await.unwrap_err(), "by a writer without a name");
    names_it(late.save("2").await.unwrap_err(), "rebase or fork to go on");
    names_it(open().save_with("2", after(1)).await.unwrap_err(), "has commit 2 as its newest, not 1; rebase");
    names_it(open().save_with("2", CommitOptions::new().first()).await.unwrap_err(), "to be new");

    let background = late.background(1);
    background.save("2", after(1).step(7)).await.unwrap();
    let error = background.flush().await.unwrap_err().to_string();
    assert!(error.contains("the state of step 7 of a/s was not saved"), "{error}");

    open().take_over().await.unwrap();
    fenced.rebase().await.unwrap();
    names_it(fenced.save("4").await.unwrap_err(), "taken over in epoch 1");
    names_it(fenced.remove().await.unwrap_err(), "taken over in epoch 1");

    let next = open();
    next.load(At::Latest).await.unwrap();
    open().save("4").await.unwrap();
    bench.damage("s", 4).await;
    names_it(next.save("4").await.unwrap_err(), "cannot be read");
    bench.lose("s", 2).await;
    names_it(by_number.save("2").await.unwrap_err(), "is newer than commit 1, which was loaded");
}

#[tokio::test]
async fn so_does_a_state_that_is_not_the_json_that_was_asked_for() {
    let bench = Bench::new(2);
    let (session, _) = bench.saved("s", 2).await;
    let error = session.load(2).await.unwrap().json::<Vec<u64>>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("the state of commit 2 of a/s is intact"), "{error}");
}
