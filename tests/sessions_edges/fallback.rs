//! The newest good commit before one that is damaged or gone: never a newer one, and only what was passed
//! over is told.

use persist::{
    ErrorKind,
    sessions::{At, Restored},
};

use super::{Bench, commit_key};

fn skipped(good: &Restored) -> Vec<Option<u64>> {
    good.skipped.iter().map(|skipped| skipped.seq).collect()
}

/// A session of keyframes, so that each loads by itself.
async fn keyframes(bench: &Bench, name: &str, commits: u64) -> persist::sessions::Session {
    let session = bench.session(name);
    for seq in 1..=commits {
        bench.clock.pass(60_000);
        let commit = session.save(super::noise(seq, 3000)).await.unwrap();
        assert!(commit.keyframe);
    }
    session
}

#[tokio::test]
async fn a_fallback_from_a_number_or_a_tag_is_what_lies_before_it() {
    for lost in [true, false] {
        let bench = Bench::new(1);
        let session = keyframes(&bench, "s", 6).await;
        session.tag("three", 3).await.unwrap();
        let _ = if lost { bench.lose("s", 3).await } else { bench.damage("s", 3).await };
        for at in [At::Seq(3), At::Tag("three".into())] {
            let good = bench.session("s").load_with_fallback(at.clone()).await.unwrap();
            assert_eq!((good.commit.seq, skipped(&good)), (2, vec![Some(3)]), "{at} {lost}");
            assert_eq!(good.skipped[0].key.as_deref(), Some(commit_key("s", 3).as_str()), "{at}");
            assert!(good.skipped[0].to_string().contains("commit 3"), "{}", good.skipped[0]);
        }
        // A commit of another id has taken its number.
        let tag = bench.keys("/t/").await.remove(0);
        let other = Bench::new(2);
        keyframes(&other, "s", 3).await;
        bench.set("s", 3, other.adapter.raw(&commit_key("s", 3)).await).await;
        let good = bench.session("s").load_with_fallback(At::Tag("three".into())).await.unwrap();
        assert_eq!((good.commit.seq, skipped(&good)), (2, vec![Some(3)]));
        assert_eq!(good.skipped[0].key.as_deref(), Some(tag.as_str()));
    }
}

#[tokio::test]
async fn nothing_lies_before_the_first_commit() {
    let bench = Bench::new(3);
    keyframes(&bench, "s", 3).await;
    // Where it begins shows what it is.
    bench.adapter.flip(&commit_key("s", 1), 0).await;
    let error = bench.session("s").load_with_fallback(1).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(&commit_key("s", 1))));
    assert_eq!(bench.session("s").load_with_fallback(At::Latest).await.unwrap().commit.seq, 3);
}

#[tokio::test]
async fn a_fallback_in_a_fork_goes_on_in_its_source() {
    let bench = Bench::new(4);
    let main = keyframes(&bench, "main", 6).await;
    let fork = main.fork("fork", 5).await.unwrap();
    for seq in 6..=8 {
        fork.save(super::noise(seq + 100, 3000)).await.unwrap();
    }
    bench.lose("main", 3).await;
    bench.lose("fork", 7).await;
    for (wanted, found) in [(3, 2), (7, 6)] {
        let good = bench.session("fork").load_with_fallback(wanted).await.unwrap();
        assert_eq!((good.commit.seq, skipped(&good)), (found, vec![Some(wanted)]));
    }
    // Its start is damaged: what lies before it cannot be found.
    bench.adapter.flip(&commit_key("fork", 1), 20).await;
    assert_eq!(bench.session("fork").load_with_fallback(4).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

/// Where not even the number is known, none is made up.
#[tokio::test]
async fn what_was_passed_over_has_a_number_only_where_it_is_known() {
    let bench = Bench::new(5);
    let session = keyframes(&bench, "s", 4).await;
    let wanted = session.show(2).await.unwrap();
    bench.damage("s", 2).await;
    let good = bench.session("s").load_with_fallback(At::Id(wanted.id)).await.unwrap();
    assert_eq!(good.commit.seq, 1);
    assert!(skipped(&good).iter().all(|seq| seq.is_none_or(|seq| seq == 2)), "{good:?}");
    assert!(good.skipped.iter().all(|skipped| !skipped.to_string().contains("commit 0")), "{good:?}");
}

/// What came in place of a damaged commit is of an earlier owner: who loaded it was not fenced off.
#[tokio::test]
async fn after_a_fallback_a_rebase_lets_a_handle_write_behind_a_take_over() {
    let bench = Bench::new(6);
    keyframes(&bench, "s", 4).await;
    let owner = bench.session("s");
    assert_eq!(owner.take_over().await.unwrap().commit.epoch, 1);
    assert!(owner.save(super::noise(6, 3000)).await.unwrap().keyframe);
    bench.damage("s", 4).await;
    let session = bench.session("s");
    assert_eq!(session.load_with_fallback(4).await.unwrap().commit.seq, 3);
    let error = session.save("next").await.unwrap_err();
    assert!(error.kind() == ErrorKind::Conflict && error.to_string().contains("rebase"), "{error}");
    assert_eq!(session.rebase().await.unwrap().unwrap().commit.seq, 6);
    let saved = session.save("next").await.unwrap();
    assert_eq!((saved.seq, saved.epoch), (7, 1));
}

/// One that had loaded something in place of a damaged commit before a take-over stays out, also where it is
/// the newest that is damaged.
#[tokio::test]
async fn after_a_fallback_a_later_take_over_fences_a_handle_off() {
    for (bench, damaged) in [(Bench::new(7), 4), (Bench::new(8), 6)] {
        keyframes(&bench, "s", 6).await;
        bench.damage("s", damaged).await;
        let late = bench.session("s");
        assert_eq!(late.load_with_fallback(damaged).await.unwrap().commit.seq, damaged - 1);
        let owner = bench.session("s");
        if damaged == 6 {
            owner.load_with_fallback(At::Latest).await.unwrap();
            owner.save(super::noise(7, 3000)).await.unwrap();
        }
        assert_eq!(owner.take_over().await.unwrap().commit.epoch, 1);
        assert_eq!(late.remove().await.unwrap_err().kind(), ErrorKind::Conflict);
        late.rebase().await.unwrap();
        assert_eq!(late.save("late").await.unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(late.remove().await.unwrap_err().kind(), ErrorKind::Conflict);
        assert!(owner.save("the owner's").await.is_ok());
    }
}

/// A fork that is taken over after a handle of it has loaded what lies before its start.
#[tokio::test]
async fn what_a_fork_shows_binds_a_handle_to_the_epoch_of_its_newest() {
    let bench = Bench::new(9);
    let main = keyframes(&bench, "main", 4).await;
    let fork = main.fork("fork", 4).await.unwrap();
    fork.save("the fork's").await.unwrap();
    let late = bench.session("fork");
    late.load(2).await.unwrap();
    assert_eq!(fork.take_over().await.unwrap().commit.epoch, 1);
    late.rebase().await.unwrap();
    assert_eq!(late.save("late").await.unwrap_err().kind(), ErrorKind::Conflict);
}
