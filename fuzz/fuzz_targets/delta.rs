//! Any bytes as a delta, and any two states as its ends: no panic, no more memory than the limit, and what
//! was encoded comes back. `cargo +nightly fuzz run delta`

#![no_main]
#![allow(dead_code, unused_imports)]

// The functions are private to the crate, so they are compiled into the target.
#[path = "../../src/sessions/delta/mod.rs"]
mod delta;
#[path = "../../src/codec/idle.rs"]
mod idle;
#[path = "../../src/lock.rs"]
mod lock;
mod codec {
    pub(crate) use crate::idle;
}

use bytes::Bytes;
use delta::Copies;
use libfuzzer_sys::fuzz_target;
use persist::{Error, ErrorKind, Limits, Result};

const LIMITS: Limits = Limits::new().max_bytes(1 << 20).ratio_free_bytes(1 << 20);

fuzz_target!(|input: (Vec<Vec<u8>>, Vec<u8>)| {
    let (states, mut foreign) = input;
    // A chain of deltas from state to state, and the same as one delta by composition.
    let Some((first, rest)) = states.split_first() else { return };
    let (mut chain, mut last, mut all) = (Vec::new(), first, Copies::find(first, first));
    for state in rest {
        let copies = Copies::find(last, state);
        chain.push(delta::decode(delta::encode(&copies, state, 6).into(), &LIMITS).expect("its own delta"));
        all = all.then(&copies);
        last = state;
    }
    let keyframe = Bytes::from(first.clone());
    assert!(delta::materialize(keyframe.clone(), &chain, 0, &LIMITS).expect("its own chain") == *last);
    let one = delta::decode(delta::encode(&all, last, 6).into(), &LIMITS).expect("its own delta");
    assert!(delta::materialize(keyframe.clone(), &[one], 0, &LIMITS).expect("its own delta") == *last);

    // Foreign bytes, with and without a right check.
    let _ = delta::decode(foreign.clone().into(), &LIMITS);
    foreign.extend(crc32fast::hash(&foreign).to_le_bytes());
    if let Ok(delta) = delta::decode(foreign.into(), &LIMITS)
        && let Ok(state) = delta::materialize(keyframe, &[delta], 0, &LIMITS)
    {
        assert!(state.len() as u64 <= LIMITS.max_bytes);
    }
});
