use super::*;

/// Who keeps a few bytes must not keep a whole buffer: ten thousand small states would be gigabytes.
#[test]
fn few_bytes_hold_no_buffer() {
    let pool = Pool::new(1000);
    let mut buffer = pool.take();
    buffer[..3].copy_from_slice(b"abc");
    let few = buffer.freeze(3);
    assert_eq!((few.as_ref(), lock(&pool.idle).len()), (&b"abc"[..], 1));
    // Most of a buffer is not copied, and goes back with the last of it.
    let many = pool.take().freeze(500);
    let same = many.clone();
    assert_eq!((many.len(), lock(&pool.idle).len()), (500, 0));
    drop(many);
    assert_eq!(lock(&pool.idle).len(), 0);
    drop(same);
    assert_eq!(lock(&pool.idle).len(), 1);
    assert_eq!(pool.take().freeze(2000).len(), 1000);
}
