use bytes::Bytes;
use proptest::prelude::*;

use super::{Copies, decode, encode, materialize};
use crate::Limits;

fn restore(keyframe: &[u8], deltas: &[Vec<u8>]) -> Bytes {
    let limits = Limits::default();
    let chain: Vec<_> =
        deltas.iter().map(|delta| decode(Bytes::from(delta.clone()), &limits).unwrap()).collect();
    materialize(Bytes::copy_from_slice(keyframe), &chain, &limits).unwrap()
}

/// An edit of a state, with places given as fractions of its length.
#[derive(Debug, Clone)]
enum Edit {
    Insert(f64, Vec<u8>),
    Delete(f64, f64),
    Move(f64, f64, f64),
    Repeat(f64, f64, f64),
    Front(u64),
    Clear,
    Nothing,
}

impl Edit {
    fn apply(&self, state: &mut Vec<u8>) {
        let place = |at: f64, state: &[u8]| (at * state.len() as f64) as usize;
        let range = |a: f64, b: f64, state: &[u8]| place(a.min(b), state)..place(a.max(b), state);
        match self {
            Edit::Insert(at, bytes) => {
                let at = place(*at, state);
                state.splice(at..at, bytes.iter().copied());
            }
            Edit::Delete(a, b) => drop(state.drain(range(*a, *b, state))),
            Edit::Move(a, b, to) => {
                let moved: Vec<u8> = state.drain(range(*a, *b, state)).collect();
                let to = place(*to, state);
                state.splice(to..to, moved);
            }
            Edit::Repeat(a, b, to) => {
                let copy = state[range(*a, *b, state)].to_vec();
                let to = place(*to, state);
                if state.len() < 1 << 16 {
                    state.splice(to..to, copy);
                }
            }
            Edit::Front(number) => {
                let text = format!("{{\"step\":{number}");
                let end = text.len().min(state.len());
                state.splice(..end, text.into_bytes());
            }
            Edit::Clear => state.clear(),
            Edit::Nothing => {}
        }
    }
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        "[a-d ]{0,400}".prop_map(String::into_bytes),
        (any::<u8>(), 0usize..5000).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = || 0.0..1.0f64;
    prop_oneof![
        4 => (at(), text()).prop_map(|(at, text)| Edit::Insert(at, text)),
        2 => (at(), at()).prop_map(|(a, b)| Edit::Delete(a, b)),
        2 => (at(), at(), at()).prop_map(|(a, b, to)| Edit::Move(a, b, to)),
        2 => (at(), at(), at()).prop_map(|(a, b, to)| Edit::Repeat(a, b, to)),
        2 => any::<u64>().prop_map(Edit::Front),
        1 => Just(Edit::Clear),
        1 => Just(Edit::Nothing),
    ]
}

proptest! {
    #[test]
    fn every_state_of_a_chain_comes_back(start in text(), edits in prop::collection::vec(prop::collection::vec(edit(), 0..4), 0..12), level in 1u8..=9) {
        let (mut states, mut deltas) = (vec![start], Vec::new());
        for step in edits {
            let mut next = states.last().unwrap().clone();
            step.iter().for_each(|edit| edit.apply(&mut next));
            deltas.push(encode(states.last().unwrap(), &next, level));
            states.push(next);
        }
        for (steps, state) in states.iter().enumerate() {
            prop_assert_eq!(&restore(&states[0], &deltas[..steps])[..], &state[..]);
        }
    }

    #[test]
    fn copies_in_a_row_compose(start in text(), first in prop::collection::vec(edit(), 0..5), second in prop::collection::vec(edit(), 0..5)) {
        let mut middle = start.clone();
        first.iter().for_each(|edit| edit.apply(&mut middle));
        let mut end = middle.clone();
        second.iter().for_each(|edit| edit.apply(&mut end));
        let both = Copies::find(&start, &middle).then(&Copies::find(&middle, &end));
        let delta = super::format::encode(&both, &end, 6);
        prop_assert_eq!(&restore(&start, &[delta])[..], &end[..]);
        prop_assert_eq!(Copies::all(start.len()).then(&both), both);
    }
}
