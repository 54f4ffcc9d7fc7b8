//! What goes wrong on purpose.

use std::collections::{HashMap, VecDeque};

use super::{
    request::{Answer, Kind, Req},
    state::State,
    uploads,
};

#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// Nothing.
    Pass,
    /// Not acted on, answered with this status.
    Status(u16),
    /// Not acted on, answered with this status, these headers and this body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Not acted on, no answer.
    Reset,
    /// Acted on, no answer.
    Lost,
    /// Acted on, but the answer is this status.
    LostTo(u16),
    /// Acted on, but the answer is a proxy's page.
    LostToPage,
    /// The session is forgotten, and another writer has replaced its object; the answer is this status.
    Overtaken(u16, &'static str),
    /// Of a chunk, only so many bytes are kept. Then 308, or this status, or (0) no answer.
    Persist(usize, Option<u16>),
    /// The session is forgotten; the answer is this status.
    Forget(u16),
    /// Acted on, but the answer's body breaks off after so many bytes.
    Cut(usize),
    /// Acted on, but nothing comes after so many bytes of the answer's body.
    Stall(usize),
    /// Acted on, but before each 64 KiB of the answer's body there is a pause.
    Slow(std::time::Duration),
    /// This byte of the answer's body is wrong.
    Flip(usize),
    /// Acted on, but these headers come with the answer in addition.
    Headers(Vec<(&'static str, String)>),
    /// Acted on, but the answer lacks this header.
    Without(&'static str),
    /// Acted on, but the answer does not say how long it is, and ends after so many bytes.
    Unsized(usize),
    /// Acted on, and then another writer replaces the object by this.
    Rival(&'static str),
    /// Not acted on, and never answered.
    Hang,
    /// After so many milliseconds, another fault.
    After(u64, Box<Fault>),
}

/// The faults that are ordered.
#[derive(Default)]
pub struct Faults {
    script: HashMap<Kind, VecDeque<Fault>>,
    chaos: Option<(u64, u64)>,
    /// Random faults in a row: a service that fails for ever is another test.
    row: HashMap<Kind, u32>,
    /// The next `Persist` that completes an object does not end the upload.
    pub keep_open: bool,
}

/// The fault of one request.
pub struct Effect(pub Fault);

impl Faults {
    pub fn script(&mut self, kind: Kind, faults: impl IntoIterator<Item = Fault>) {
        self.script.entry(kind).or_default().extend(faults);
    }

    pub fn chaos(&mut self, seed: u64, percent: u64) {
        self.chaos = Some((seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, percent));
    }

    pub fn calm(&mut self) {
        self.chaos = None;
    }

    pub fn next(&mut self, kind: Kind) -> Effect {
        if let Some(fault) = self.script.get_mut(&kind).and_then(VecDeque::pop_front) {
            return Effect(fault);
        }
        let Some((state, percent)) = &mut self.chaos else { return Effect(Fault::Pass) };
        let mut random = |below: u64| {
            *state ^= *state << 13;
            *state ^= *state >> 7;
            *state ^= *state << 17;
            *state % below
        };
        let row = self.row.entry(kind).or_default();
        if random(100) >= *percent || *row >= 3 {
            *row = 0;
            return Effect(Fault::Pass);
        }
        *row += 1;
        let cut = random(1_500_000) as usize;
        let common = [
            Fault::Status(503),
            Fault::Status(500),
            Fault::Status(429),
            Fault::Reset,
            Fault::Lost,
            Fault::LostTo(503),
        ];
        let special = match kind {
            Kind::Data => vec![
                Fault::Persist(cut, None),
                Fault::Persist(cut, Some(0)),
                Fault::Persist(cut, Some(503)),
                Fault::Status(409),
            ],
            Kind::Multipart | Kind::Rewrite | Kind::Delete => vec![Fault::Status(409)],
            Kind::Media => vec![Fault::Cut(cut), Fault::Cut(cut / 100)],
            Kind::Metadata | Kind::List => vec![Fault::Cut(cut % 50)],
            _ => vec![],
        };
        let all: Vec<_> = common.into_iter().chain(special).collect();
        Effect(all[random(all.len() as u64) as usize].clone())
    }
}

impl Effect {
    /// An answer in place of the service's.
    pub fn before(&self, state: &mut State, request: &Req) -> Option<Answer> {
        match &self.0 {
            Fault::Status(status) => Some(Answer::refusal(*status, "scripted", "a fault that was ordered")),
            Fault::Answer(status, headers, body) => {
                let mut answer = Answer::new(*status, body.clone());
                for (name, value) in headers {
                    answer = answer.header(name, value);
                }
                Some(answer)
            }
            Fault::Reset | Fault::Hang => Some(Answer::new(499, "")),
            Fault::Persist(bytes, then) => {
                let answer = uploads::keep(state, request, *bytes);
                Some(match then {
                    Some(0) | None => answer,
                    Some(status) => Answer::refusal(*status, "scripted", "a fault that was ordered"),
                })
            }
            Fault::Forget(status) => {
                state.sessions.remove(request.query("upload_id").unwrap_or_default());
                Some(Answer::refusal(*status, "notFound", "the upload session is gone"))
            }
            Fault::Overtaken(status, data) => {
                if let Some(session) = state.sessions.remove(request.query("upload_id").unwrap_or_default()) {
                    state.plant(&session.name, *data);
                }
                Some(Answer::refusal(*status, "notFound", "the upload session is gone"))
            }
            _ => None,
        }
    }

    /// What becomes of the service's answer.
    pub fn after(&self, mut answer: Answer) -> Answer {
        match &self.0 {
            Fault::Without(name) => {
                answer.headers.retain(|(other, _)| other != name);
                answer
            }
            Fault::LostTo(status) => Answer::refusal(*status, "scripted", "a fault that was ordered"),
            Fault::LostToPage => Answer::new(404, "<html>default backend - 404</html>"),
            Fault::Headers(headers) => {
                headers.iter().fold(answer, |answer, (name, value)| answer.header(name, value.clone()))
            }
            _ => answer,
        }
    }
}
