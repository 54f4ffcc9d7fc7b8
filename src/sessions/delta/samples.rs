//! States as agents save them, made from a seed: for tests and benches.

use bytes::Bytes;

/// A small random number generator (xorshift64*): the same seed gives the same states on every machine.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize) % end
    }

    /// About `len` bytes of a message: words of which few are frequent, and now and then a number.
    pub(crate) fn message(&mut self, len: usize) -> String {
        let role = ["user", "assistant", "tool"][self.below(3)];
        let mut text = format!("{{\"role\":\"{role}\",\"content\":\"");
        let end = text.len() + len;
        while text.len() < end {
            let rank = self.below(2000) * self.below(2000) / 2000;
            match self.below(12) {
                0 => text.push_str(&self.below(1 << 20).to_string()),
                _ => (0..2 + rank % 3).for_each(|syllable| {
                    text.push_str(SYLLABLES[(rank * 7 + syllable * rank / 3) % SYLLABLES.len()]);
                }),
            }
            text.push(' ');
        }
        text + "\"}"
    }
}

const SYLLABLES: [&str; 29] = [
    "ta", "re", "mi", "con", "der", "ing", "sta", "ver", "lo", "qui", "pre", "ne", "ster", "ou", "al",
    "ment", "ka", "ri", "tion", "un", "fo", "gra", "he", "sy", "bel", "ex", "por", "vi", "dle",
];

fn state(step: usize, tokens: usize, messages: &str) -> Bytes {
    format!("{{\"thread_id\":\"sample\",\"step\":{step},\"usage\":{{\"input_tokens\":{tokens}}},\"messages\":[{messages}]}}")
        .into()
}

/// The states of a run that keeps every message: about 1 KB more at each step, and counters at the front.
pub(crate) fn growing(seed: u64) -> impl Iterator<Item = Bytes> {
    window(seed, usize::MAX, 1000)
}

/// The states of a run that keeps the last `size` bytes of messages.
pub(crate) fn window(seed: u64, size: usize, step_bytes: usize) -> impl Iterator<Item = Bytes> {
    let (mut random, mut messages, mut tokens) = (Random::new(seed), String::new(), 0);
    (1..).map(move |step| {
        let message = random.message(step_bytes);
        tokens += message.len() / 4;
        if !messages.is_empty() {
            messages.push(',');
        }
        messages.push_str(&message);
        while messages.len() > size {
            // Messages hold no brace of their own.
            let first = messages.find("},").map_or(messages.len(), |end| end + 2);
            messages.drain(..first);
        }
        state(step, tokens, &messages)
    })
}
