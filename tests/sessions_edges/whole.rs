//! Commits that must be whole states: what lies before them can go.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use persist::{
    ErrorKind,
    layers::{Injection, Operation},
    sessions::{At, Checkpoints, Commit, CommitOptions, Retention, Session},
};

use super::{Bench, sessions_support::noise};

const SECRET: &str = "4111-1111-1111-1111";

/// A state that a delta would pay for.
fn state(with: &str) -> Vec<u8> {
    [&noise(1, 3_000)[..], with.as_bytes(), &noise(2, 3_000)].concat()
}

/// Whether any object has the secret, as it is or compressed.
async fn has_secret(bench: &Bench) -> bool {
    let within = |bytes: &[u8]| bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
    for key in bench.adapter.keys().await {
        let raw = bench.adapter.raw(&key).await;
        let mut plain = Vec::new();
        // Of what is no gzip file, nothing.
        let _ = MultiGzDecoder::new(&raw[..]).read_to_end(&mut plain);
        if within(&raw) || within(&plain) {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn what_was_taken_out_of_a_state_goes_with_the_next_prune() {
    for whole in [false, true] {
        let bench = Bench::new(201);
        let session = bench.session("s");
        session.save(state(SECRET)).await.unwrap();
        assert!(has_secret(&bench).await);
        let options = CommitOptions::new();
        let options = if whole { options.whole() } else { options };
        assert_eq!(session.save_with(state(""), options).await.unwrap().keyframe, whole);
        assert!(!session.save(state("more")).await.unwrap().keyframe);
        bench.hours(2);
        let pruned = session.prune(Retention::new().last(1)).await.unwrap();
        let first = session.show(1).await;
        if whole {
            // The keyframe, and the delta on it.
            assert_eq!((pruned.kept, pruned.removed), (2, vec![1]));
            assert_eq!(first.unwrap_err().kind(), ErrorKind::NotFound);
        } else {
            assert_eq!(first.unwrap().seq, 1);
        }
        assert_eq!(has_secret(&bench).await, !whole);
        assert_eq!(bench.session("s").load(At::Latest).await.unwrap().state, state("more"));
    }
}

#[tokio::test]
async fn every_form_of_save_can_be_whole() {
    let bench = Bench::new(202);
    let session = bench.session("s");
    let mut steps = 0;
    let mut next = || {
        steps += 1;
        state(&format!("step {steps}"))
    };
    let whole = || CommitOptions::new().whole();
    let newest = async |session: &Session| -> Commit { session.show(At::Latest).await.unwrap() };
    session.save(next()).await.unwrap();
    assert!(!session.save(next()).await.unwrap().keyframe);

    assert!(session.save_with(next(), whole()).await.unwrap().keyframe);
    assert!(session.save_json_with(&next(), whole()).await.unwrap().keyframe);
    let values = [("a", next().into()), ("b", next().into())];
    assert!(session.save_values_with(&values, whole()).await.unwrap().keyframe);
    let stream = std::io::Cursor::new(next());
    assert!(session.save_stream_with(stream, whole()).await.unwrap().keyframe);
    let background = session.background(4);
    background.save(next(), whole()).await.unwrap();
    assert!(background.flush().await.unwrap().unwrap().keyframe);
    let mut checkpoints = Checkpoints::new(session.clone());
    checkpoints.resume().await.unwrap();
    let state = next();
    checkpoints.step_with(1, whole(), || state).await.unwrap();
    assert!(newest(&session).await.keyframe);
    // A handle that continues another one's newest, and a fork.
    assert!(bench.session("s").save_with(next(), whole()).await.unwrap().keyframe);
    let fork = session.fork("f", At::Latest).await.unwrap();
    assert!(fork.save_with(next(), whole()).await.unwrap().keyframe);
    assert!(!fork.save(next()).await.unwrap().keyframe);
}

/// The commit of a lost answer is a delta: the same state, to be whole, is another commit.
#[tokio::test]
async fn a_lost_delta_does_not_answer_for_a_whole_state() {
    let bench = Bench::new(203);
    let (fault, sessions) = bench.faulty();
    let session = sessions.session("a", "s").unwrap();
    session.save(state("one")).await.unwrap();
    fault.inject(Operation::Put, Injection::After(ErrorKind::Unavailable));
    fault.inject(Operation::Get, Injection::Before(ErrorKind::Unavailable));
    session.save(state("two")).await.unwrap_err();
    let commit = session.save_with(state("two"), CommitOptions::new().whole()).await.unwrap();
    assert_eq!((commit.seq, commit.keyframe), (3, true));
    assert_eq!(session.load(2).await.unwrap().commit.parent, Some(session.show(1).await.unwrap().id));
}
