//! Cloud Storage as strict as the real one, in this process: what Google documents and no emulator enforces.
//!
//! - `request`: what arrived, and answers
//! - `faults`: what goes wrong on purpose
//! - `state`: objects, generations, conditions
//! - `uploads`, `objects`: the JSON API
//! - `tokens`: token endpoints and the metadata server
//!
//! A request that the real service would take and mean something else by (a chunk of a wrong length, a raw
//! slash) is answered with an error and noted as a violation; `Server::clean` fails on any.

mod faults;
mod objects;
mod request;
mod state;
mod tokens;
mod uploads;

pub use faults::Fault;
pub use request::{Kind, Logged, http_date};
pub use state::{Rules, checksum};
pub use tokens::TEST_KEY;

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinHandle};

use faults::Effect;
use request::{Answer, Body, Req};
use state::State;

pub const BUCKET: &str = "strict-bucket";

/// A running server. Dropping it closes everything.
pub struct Server {
    pub url: String,
    state: Arc<Mutex<State>>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start() -> Self {
        Server::with(Rules::default()).await
    }

    pub async fn with(rules: Rules) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::new(rules, url.clone())));
        let shared = state.clone();
        let made = Arc::new(AtomicUsize::new(0));
        let count = made.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                count.fetch_add(1, Ordering::Relaxed);
                let shared = shared.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request| {
                        let shared = shared.clone();
                        async move { serve(shared, request).await }
                    });
                    // An error is a fault that was ordered, or a client that went away.
                    let _ = http1::Builder::new()
                        .auto_date_header(false)
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Server { url, state, connections: made, task }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// The next requests of this kind meet these faults, one each.
    pub fn script(&self, kind: Kind, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.script(kind, faults);
    }

    /// From now on, requests meet random faults.
    pub fn chaos(&self, seed: u64, percent: u64) {
        self.state().faults.chaos(seed, percent);
    }

    /// No more random faults.
    pub fn calm(&self) {
        self.state().faults.calm();
    }

    /// What arrived so far.
    pub fn log(&self) -> Vec<Logged> {
        self.state().log.clone()
    }

    /// What arrived of one kind.
    pub fn logged(&self, kind: Kind) -> Vec<Logged> {
        self.log().into_iter().filter(|request| request.kind == kind).collect()
    }

    /// How many requests of one kind arrived.
    pub fn count(&self, kind: Kind) -> usize {
        self.logged(kind).len()
    }

    pub fn forget_log(&self) {
        self.state().log.clear();
    }

    /// The object's bytes, if it is there.
    pub fn bytes(&self, key: &str) -> Option<Vec<u8>> {
        self.state().objects.get(key).map(|object| object.data.clone())
    }

    /// Fails if a request broke a rule.
    pub fn clean(&self) {
        assert_eq!(self.state().violations, [""; 0]);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    state: Arc<Mutex<State>>,
    request: hyper::Request<hyper::body::Incoming>,
) -> Result<hyper::Response<Body>, Broken> {
    let request = Req::read(request).await.map_err(|_| Broken)?;
    let mut effect = state.lock().unwrap().faults.next(request.kind);
    if let Effect(Fault::After(ms, fault)) = effect {
        tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
        effect = Effect(*fault);
    }
    let (effect, answer) = {
        let mut state = state.lock().unwrap();
        let answer = effect.before(&mut state, &request).unwrap_or_else(|| handle(&mut state, &request));
        let answer = effect.after(answer.dated());
        if let Effect(Fault::Rival(data)) = effect {
            state.plant(&request.object(), data);
        }
        state.log.push(request.logged(answer.status));
        (effect, answer)
    };
    match effect {
        Effect(Fault::Hang) => std::future::pending::<Infallible>().await.into_broken(),
        Effect(Fault::Reset | Fault::Lost) => Err(Broken),
        Effect(Fault::Persist(_, Some(0))) => Err(Broken),
        Effect(fault) => Ok(answer.with_body(fault)),
    }
}

fn handle(state: &mut State, request: &Req) -> Answer {
    match request.kind {
        Kind::Token => return tokens::answer(state, request),
        Kind::Unknown => {
            state.violation(format!("no request of the JSON API: {} {}", request.method, request.path));
            return Answer::refusal(404, "notFound", "Not Found");
        }
        _ => {}
    }
    state.check(request).unwrap_or_else(|| match request.kind {
        Kind::Multipart => uploads::multipart(state, request),
        Kind::Start => uploads::start(state, request),
        Kind::Data | Kind::Probe => uploads::data(state, request),
        Kind::Cancel => uploads::cancel(state, request),
        Kind::Metadata => objects::metadata(state, request),
        Kind::Media => objects::media(state, request),
        Kind::List => objects::list(state, request),
        Kind::Delete => objects::delete(state, request),
        Kind::Rewrite => objects::rewrite(state, request),
        Kind::Token | Kind::Unknown => unreachable!(),
    })
}

/// Ends a connection without an answer.
#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken on purpose")
    }
}

impl std::error::Error for Broken {}

trait IntoBroken {
    fn into_broken<T>(self) -> Result<T, Broken>;
}

impl IntoBroken for Infallible {
    fn into_broken<T>(self) -> Result<T, Broken> {
        match self {}
    }
}
