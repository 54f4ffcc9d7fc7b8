use super::{MAX_CHAIN, base_of};

/// `base_of` for every number up to the end, the depth of each, and how many steps' changes all deltas up to
/// it hold.
fn all() -> Vec<(u64, usize, u64)> {
    let mut all = vec![(0, 0, 0)];
    for number in 1.. {
        let Some(base) = base_of(number) else { break };
        let (_, depth, _) = all[base as usize];
        let written = all.last().unwrap().2 + (number - base);
        all.push((base, depth + 1, written));
    }
    all
}

#[test]
fn chains_stay_short_for_20_000_steps() {
    let all = all();
    // The format says so.
    assert_eq!(all.len(), 20_538);
    assert_eq!(all.iter().map(|&(_, depth, _)| depth).max(), Some(MAX_CHAIN));
    // Short histories have short chains.
    assert!(all[..=200].iter().all(|&(_, depth, _)| depth <= 16));
    assert_eq!(base_of(all.len() as u64), None);
    let jumps: Vec<_> = (1..45)
        .filter_map(|number| Some((number, base_of(number).filter(|base| base + 1 < number)?)))
        .collect();
    assert_eq!(jumps, [(7, 0), (14, 7), (21, 14), (28, 21), (35, 28), (36, 0), (43, 36)]);
    assert_eq!((base_of(0), base_of(1), base_of(u64::MAX)), (None, Some(0), None));
}

#[test]
fn every_base_is_a_step_that_the_state_before_passes_through() {
    // A writer that holds the chain of its latest state holds the base of the next one.
    let mut chain = vec![0];
    for number in 1..20_000 {
        let base = base_of(number).unwrap();
        chain.retain(|&at| at <= base);
        assert_eq!(chain.last(), Some(&base), "{number}");
        chain.push(number);
    }
}

#[test]
fn ten_times_the_steps_write_ten_times_the_changes() {
    let all = all();
    let written = |number: usize| all[number].2 as f64 / number as f64;
    for number in 100..=2000 {
        let growth = written(10 * number) / written(number);
        assert!((0.9..1.11).contains(&growth), "{number}: {growth}");
        assert!(written(10 * number) < 3.0, "{number}");
    }
}
