//! A bucket and a disk name the same session otherwise. A tool that copies names as they are puts it where its
//! ids do not lead: a save there would be a second history.

use persist::{
    ErrorKind,
    layers::Operation,
    sessions::{At, Retention},
};

use super::Bench;

/// Brings all objects of the session `a/x:1` to the folder of another name.
async fn copied_to(name: &str, seed: u64) -> Bench {
    let bench = Bench::new(seed);
    bench.session("x:1").save("state").await.unwrap();
    for key in bench.keys("sessions/a/x%3A1/").await {
        let bytes = bench.adapter.raw(&key).await;
        bench.adapter.remove(&key).await;
        let key = key.as_str().replace("x%3A1", name).parse().unwrap();
        bench.adapter.set(&key, bytes).await;
    }
    bench
}

#[tokio::test]
async fn a_session_that_a_tool_brought_to_disk_is_not_begun_anew() {
    let bench = copied_to("x:1", 261).await;
    let before = bench.keys("").await;
    let session = || bench.session("x:1");
    let errors = [
        session().load(At::Latest).await.unwrap_err(),
        session().load_with_fallback(At::Latest).await.unwrap_err(),
        session().save("anew").await.unwrap_err(),
        session().rebase().await.unwrap_err(),
        session().take_over().await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        let text = error.to_string();
        assert!(text.contains("lies in sessions/a/x:1/, a folder that another tool named"), "{text}");
        assert!(text.contains("persist cp --recursive"), "{text}");
    }
    assert_eq!(bench.keys("").await, before);
    // Its neighbours are sessions like any other.
    for name in ["x:2", "x", "x%3A1"] {
        bench.session(name).save("state").await.unwrap();
    }
}

/// From disk to a bucket; the same folder as that of a session whose id is `x%3A1`, which keeps nobody from
/// his own.
#[tokio::test]
async fn an_id_that_looks_like_an_escaped_one_is_in_nobodys_way() {
    let bench = copied_to("x%253A1", 262).await;
    assert_eq!(bench.session("x%3A1").load(At::Latest).await.unwrap().state, "state");
    let session = bench.session("x:1");
    assert_eq!(session.load(At::Latest).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(session.save("another").await.unwrap().seq, 1);
    assert_eq!(bench.session("x%3A1").load(At::Latest).await.unwrap().state, "state");
}

/// Ids that are escaped already are ids like any other.
#[tokio::test]
async fn an_escaped_id_beside_the_one_that_it_was_made_of_is_another_session() {
    let bench = Bench::new(271);
    for agent in ["user:7", "user%3A7", "user%253A7"] {
        for name in ["x:1", "x%3A1", "main"] {
            let session = bench.sessions.session(agent, name).unwrap();
            assert_eq!(session.load(At::Latest).await.unwrap_err().kind(), ErrorKind::NotFound);
            assert_eq!(session.save(format!("{agent} {name}")).await.unwrap().seq, 1, "{agent} {name}");
            let restored = bench.sessions.session(agent, name).unwrap().load(At::Latest).await.unwrap();
            assert_eq!(restored.state, format!("{agent} {name}"));
        }
    }
}

/// Looking for copies costs nothing where no name is escaped, and nothing once there is a commit.
#[tokio::test]
async fn only_the_beginning_of_a_session_with_an_escaped_name_looks_for_copies() {
    let bench = Bench::new(263);
    for (name, more) in [("plain", 0), ("x:1", 2), ("https://x", 1), ("../x", 1), ("a\u{0}b", 1)] {
        let (fault, sessions) = bench.faulty();
        let listings = || fault.calls(Operation::List);
        let session = sessions.session("a", name).unwrap();
        session.load(At::Latest).await.unwrap_err();
        let none = listings();
        session.save("state").await.unwrap();
        assert_eq!(listings(), none, "{name}");
        sessions.session("a", name).unwrap().load(At::Latest).await.unwrap();
        let one = listings() - none;
        assert_eq!((one, none), (1, 1 + more), "{name}");
    }
}

/// What a fork starts from stays, also where the fork lies in a folder that a tool named.
#[tokio::test]
async fn a_fork_that_a_tool_brought_to_disk_holds_up_no_prune() {
    let bench = Bench::new(272);
    let session = bench.unrelated("s", 3).await;
    session.fork("x:1", 1).await.unwrap().save("on").await.unwrap();
    for key in bench.keys("sessions/a/x%3A1/").await {
        let bytes = bench.adapter.raw(&key).await;
        bench.adapter.remove(&key).await;
        bench.adapter.set(&key.as_str().replace("x%3A1", "x:1").parse().unwrap(), bytes).await;
    }
    bench.hours(50);
    let pruned = bench.session("s").prune(Retention::new().last(1)).await.unwrap();
    assert_eq!(pruned.removed, [2]);
}
