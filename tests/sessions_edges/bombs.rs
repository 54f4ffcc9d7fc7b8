//! What is saved loads: no state is taken for a bomb that a writer was told is saved.

use persist::sessions::At;

use super::{Bench, noise};

/// Few new bytes that inflate to many. What a commit says about itself counts as well, for it is read as
/// well.
#[tokio::test]
async fn a_small_state_with_a_long_name_pays_for_a_large_one() {
    let bench = Bench::new(2);
    let writer = bench.session("s");
    let notes: String = noise(3, 400_000).iter().map(|byte| char::from(b'!' + byte % 90)).collect();
    writer.save_values(&[(&notes, "x".into())]).await.unwrap();
    let zeros = [&b"x"[..], &vec![0; 65 << 20]].concat();
    assert!(!writer.save(zeros.clone()).await.unwrap().keyframe);
    assert!(bench.session("s").load(At::Latest).await.unwrap().state == zeros);
}
