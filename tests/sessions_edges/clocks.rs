//! Clocks that were wrong once.

use persist::sessions::*;

use super::{Bench, sessions_support::TestClock};

const YEARS: u64 = 4 * 365 * 24 * 3_600_000;

/// A session of four commits, then one by a writer whose clock is ahead (so is the storage's where both are
/// one machine's), then sixty, an hour apart. Also gives the times at which those were saved.
async fn ahead_once(seed: u64, storage_too: bool) -> (Bench, Session, Vec<std::time::SystemTime>) {
    let bench = Bench::new(seed);
    let (session, _) = bench.saved("s", 4).await;
    bench.hours(1);
    if storage_too {
        bench.clock.pass(YEARS);
        session.save("from the future").await.unwrap();
        bench.clock.back(YEARS);
    } else {
        let clock = TestClock::new(seed + 1);
        clock.pass(bench.clock.ms() + YEARS - clock.ms());
        let wrong = bench.sessions.clone().clock(clock).session("a", "s").unwrap();
        wrong.save("from the future").await.unwrap();
        session.rebase().await.unwrap();
    }
    let mut times = Vec::new();
    for number in 0..60 {
        bench.hours(1);
        session.save(format!("number {number}")).await.unwrap();
        times.push(bench.clock.time());
    }
    bench.hours(1);
    (bench, session, times)
}

/// All later commits bear times of the future. They ascend, so an id is found by halving; and the storage
/// tells when they were really made.
#[tokio::test]
async fn a_clock_that_was_ahead_once_hides_no_later_commit() {
    for storage_too in [false, true] {
        let (bench, session, times) = ahead_once(50, storage_too).await;
        let before = session.show(4).await.unwrap();
        for number in [0, 1, 30, 39, 59] {
            let at = At::Time(times[number as usize]);
            let restored = bench.session("s").load(at.clone()).await.unwrap();
            assert_eq!(
                (restored.commit.seq, &*restored.state),
                (number + 6, format!("number {number}").as_bytes())
            );
            let counts = bench.adapter.counts();
            assert_eq!(session.show(restored.commit.id).await.unwrap().seq, number + 6);
            let cost = bench.adapter.counts() - counts;
            assert!(cost.get + cost.list <= 12, "{cost:?}");
            // What the log shows is met as well.
            assert_eq!(session.show(At::Time(restored.commit.time)).await.unwrap().seq, number + 6);
        }
        let mut last = before.clone();
        for seq in 5..=65 {
            let commit = session.show(seq).await.unwrap();
            assert!(commit.time > last.time, "{seq}");
            last = commit;
        }
        assert_eq!(session.show(At::Time(before.time)).await.unwrap().seq, 4);
        let newest = bench.session("s").load(At::Time(bench.clock.time())).await.unwrap();
        assert_eq!(newest.commit.seq, 65, "{storage_too}");
        // In a fork, and with damage.
        session.fork("fork", 40).await.unwrap();
        assert_eq!(bench.session("fork").show(At::Time(times[20])).await.unwrap().seq, 26);
        bench.damage("s", 45).await;
        let good = bench.session("s").load_with_fallback(At::Time(times[39])).await;
        assert_eq!(good.unwrap().commit.seq, 44, "{storage_too}");
    }
}

/// Where the storage's times do not ascend with the numbers, they prove nothing, and ids tell: as for a
/// machine without a battery that starts in 1970.
#[tokio::test]
async fn a_clock_that_was_behind_once_changes_no_search() {
    let bench = Bench::new(51);
    let session = bench.session("s");
    let mut times = Vec::new();
    for number in 0..20 {
        bench.hours(2);
        times.push(bench.clock.time());
        let behind = if number == 11 { bench.clock.ms() - 5000 } else { 0 };
        bench.clock.back(behind);
        session.save(format!("number {number}")).await.unwrap();
        bench.clock.pass(behind);
    }
    for (at, time) in times.iter().enumerate().filter(|(at, _)| *at != 11) {
        let shown = session.show(At::Time(*time)).await.unwrap();
        assert_eq!(shown.seq, at as u64 + 1);
    }
}

/// What came back from copies is as old as it was.
#[tokio::test]
async fn a_copy_is_as_old_as_its_ids() {
    let bench = Bench::new(52);
    let (session, _) = bench.saved("s", 30).await;
    let times: Vec<_> = futures_util::TryStreamExt::try_collect::<Vec<Commit>>(session.log()).await.unwrap();
    bench.hours(50);
    let mut archive = Vec::new();
    session.export(&mut archive).await.unwrap();
    bench.session("copy").import(&mut &archive[..]).await.unwrap();
    for name in ["s", "copy"] {
        for commit in &times {
            assert_eq!(bench.session(name).show(At::Time(commit.time)).await.unwrap().seq, commit.seq);
        }
    }
}
