//! A TCP proxy in front of a server that spoils what it is told to, and passes every other byte on as it came
//! (so that signatures, which include the `Host` header, stay valid).
//!
//! ```ignore
//! let proxy = Proxy::start(&server_url).await;                 // clients use proxy.url()
//! proxy.fail(2, "PUT", "/bucket/key", Fault::answer(503));     // the first two that match, once each
//! proxy.fail(1, "GET", "", Fault::CutResponse(1000));
//! proxy.seeded(7, 20, faults);                                 // or: 20 % of all requests, the same ones each run
//! assert_eq!(proxy.count("PUT", "/bucket/key"), 3);
//! ```

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, Result},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::{
    Seeded,
    http1::{Framing, Head},
};

/// What happens to one request.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// Nothing.
    Pass,
    /// The server never sees the request; the client gets this answer once it has sent its body.
    Answer { status: u16, headers: Vec<(String, String)>, body: String },
    /// The connection is reset before the server sees anything.
    ResetBefore,
    /// The server acts and answers, but the client gets a reset instead of the answer.
    Swallow,
    /// The server gets this many bytes of the request's body, then both connections are reset.
    CutRequest(u64),
    /// One bit of this byte of the request's body is flipped.
    FlipRequest(u64),
    /// The client gets the head and this many bytes of the answer's body, then a reset.
    CutResponse(u64),
    /// As `CutResponse`, but the connection ends in good order (FIN).
    EndResponse(u64),
    /// The client gets this many bytes of the answer's body, then nothing more until it goes away.
    Stall(u64),
    /// The server acts, the client gets no byte of an answer until it goes away.
    Silence,
    /// One bit of this byte of the answer's body is flipped.
    Flip(u64),
    /// The request is passed on only after this time.
    Delay(Duration),
    /// The answer's body waits so long before each 64 KiB or less.
    Slow(Duration),
}

impl Fault {
    /// An answer with an empty body.
    pub fn answer(status: u16) -> Fault {
        Fault::Answer { status, headers: Vec::new(), body: String::new() }
    }

    /// An answer with a body, such as an error in XML or JSON.
    pub fn answer_with(status: u16, headers: &[(&str, &str)], body: &str) -> Fault {
        let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Fault::Answer { status, headers, body: body.into() }
    }
}

/// A request that came by.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    /// Path and query, as on the wire.
    pub target: String,
    pub head: Head,
    pub at: Instant,
    /// What was done to it.
    pub fault: Fault,
}

/// The proxy. It ends, with all of its connections, when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: String,
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    upstream: String,
    script: Mutex<Script>,
}

#[derive(Debug, Default)]
struct Script {
    rules: Vec<Rule>,
    random: Option<(u64, u64, Vec<Fault>)>,
    /// How often each method and path came since the seed was set.
    nth: HashMap<String, u64>,
    log: Vec<Seen>,
}

#[derive(Debug)]
struct Rule {
    times: usize,
    method: String,
    target: String,
    fault: Fault,
}

impl Proxy {
    /// Starts a proxy in front of `upstream`: `http://host:port` or `host:port`.
    pub async fn start(upstream: &str) -> Proxy {
        let upstream = upstream.trim_start_matches("http://").trim_end_matches('/').to_string();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State { upstream, script: Mutex::default() });
        let shared = state.clone();
        let task = tokio::spawn(async move {
            // The set aborts its tasks when it goes, and with them every connection.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(serve(client, shared.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Proxy { address, state, task }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Spoils the next `times` requests whose method is `method` (any if empty) and whose target contains
    /// `target`. Rules are asked in the order in which they were added; the first that fits is used up by
    /// one.
    pub fn fail(&self, times: usize, method: &str, target: &str, fault: Fault) {
        let (method, target) = (method.into(), target.into());
        self.state.script().rules.push(Rule { times, method, target, fault });
    }

    /// Spoils `percent` of the requests that no rule fits, each with one of `faults`. The seed, the method,
    /// the path and how often this path came before decide, so that a run repeats even where requests
    /// overtake each other.
    pub fn seeded(&self, seed: u64, percent: u64, faults: Vec<Fault>) {
        let mut script = self.state.script();
        script.nth.clear();
        script.random = Some((seed, percent, faults));
    }

    /// Passes everything from now on, and forgets what was seen.
    pub fn clear(&self) {
        *self.state.script() = Script::default();
    }

    /// Every request since the start or the last `clear`, the spoilt ones included.
    pub fn log(&self) -> Vec<Seen> {
        self.state.script().log.clone()
    }

    /// How many requests had this method (any if empty) and this text in their target.
    pub fn count(&self, method: &str, target: &str) -> usize {
        self.state.script().log.iter().filter(|seen| fits(seen, method, target)).count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn fits(seen: &Seen, method: &str, target: &str) -> bool {
    (method.is_empty() || seen.method == method) && seen.target.contains(target)
}

impl State {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Notes the request and says what happens to it.
    fn decide(&self, head: &Head) -> Fault {
        let (method, target) = (head.word(0).to_string(), head.word(1).to_string());
        let mut seen = Seen { method, target, head: head.clone(), at: Instant::now(), fault: Fault::Pass };
        let script = &mut *self.script();
        let rule = script.rules.iter_mut().find(|r| r.times > 0 && fits(&seen, &r.method, &r.target));
        if let Some(rule) = rule {
            rule.times -= 1;
            seen.fault = rule.fault.clone();
        } else if let Some((seed, percent, faults)) = &script.random {
            let name = format!("{} {}", seen.method, seen.target.split('?').next().unwrap_or_default());
            let mut random =
                name.bytes().fold(Seeded(*seed), |s, byte| Seeded(s.clone().next() ^ u64::from(byte)));
            let nth = script.nth.entry(name).or_default();
            *nth += 1;
            random.0 ^= nth.wrapping_mul(0x5851_f42d_4c95_7f2d);
            if random.below(100) < *percent && !faults.is_empty() {
                seen.fault = faults[random.below(faults.len() as u64) as usize].clone();
            }
        }
        script.log.push(seen.clone());
        seen.fault
    }
}

/// How a connection ends.
enum End {
    Close,
    Reset,
}

async fn serve(mut client: TcpStream, state: Arc<State>) {
    let _ = client.set_nodelay(true);
    match relay(&mut client, &state).await {
        Ok(End::Close) | Err(_) => {}
        Ok(End::Reset) => drop(client.set_zero_linger()), // what is dropped now sends RST
    }
}

/// Passes requests on, one after the other, until one side ends or a fault does.
async fn relay(client: &mut TcpStream, state: &State) -> Result<End> {
    let (client_in, mut client_out) = client.split();
    let mut client_in = BufReader::new(client_in);
    let mut upstream: Option<TcpStream> = None;
    while let Some(head) = Head::read(&mut client_in).await? {
        let fault = state.decide(&head);
        match &fault {
            Fault::ResetBefore => return Ok(End::Reset),
            Fault::Answer { status, headers, body } => {
                if head.header("expect").is_some_and(|value| value == "100-continue") {
                    client_out.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
                }
                let mut framing = head.request_body();
                while framing.next(&mut client_in).await?.is_some() {}
                client_out.write_all(canned(*status, headers, body, head.word(0)).as_bytes()).await?;
                continue;
            }
            Fault::Delay(time) => tokio::time::sleep(*time).await,
            _ => {}
        }
        let server = match &mut upstream {
            Some(server) => server,
            none => none.insert(TcpStream::connect(&state.upstream).await?),
        };
        let _ = server.set_nodelay(true);
        let (server_in, mut server_out) = server.split();
        let mut server_in = BufReader::new(server_in);
        let sending = send(&head, &fault, &mut client_in, &mut server_out);
        let answering = answer(head.word(0), &fault, &mut server_in, &mut client_out);
        // A server may answer, and close, before it has read the whole body; the answer counts then.
        let (sent, answered) = tokio::join!(sending, answering);
        match (sent, answered?) {
            (Ok(Some(end)), _) | (_, Some(end)) => {
                if matches!(end, End::Reset) {
                    let _ = server.set_zero_linger();
                }
                return Ok(end);
            }
            (Ok(None), None) => {}
            (Err(_), None) => return Ok(End::Close),
        }
    }
    Ok(End::Close)
}

/// Client to server.
async fn send<R: AsyncRead + Unpin>(
    head: &Head,
    fault: &Fault,
    from: &mut BufReader<R>,
    to: &mut (impl AsyncWrite + Unpin),
) -> Result<Option<End>> {
    to.write_all(&head.raw).await?;
    let (mut framing, mut sent) = (head.request_body(), 0);
    loop {
        if let Fault::CutRequest(most) = fault
            && sent >= *most
        {
            to.shutdown().await?; // the answer's side sees the end and stops waiting
            return Ok(Some(End::Reset));
        }
        let Some(mut piece) = framing.next(from).await? else { return Ok(None) };
        if let Fault::CutRequest(most) = fault {
            piece.raw.truncate((*most - sent) as usize);
        }
        if let Fault::FlipRequest(at) = fault
            && let Some(byte) = at.checked_sub(sent).and_then(|i| piece.raw.get_mut(i as usize))
        {
            *byte ^= 1;
        }
        sent += piece.raw.len() as u64;
        to.write_all(&piece.raw).await?;
    }
}

/// Server to client.
async fn answer<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    method: &str,
    fault: &Fault,
    from: &mut BufReader<R>,
    to: &mut W,
) -> Result<Option<End>> {
    if let Fault::CutRequest(_) = fault {
        // Whatever the server makes of half a request, the client does not hear of it.
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(2), from.read_to_end(&mut rest)).await;
        return Ok(Some(End::Reset));
    }
    let silent = matches!(fault, Fault::Swallow | Fault::Silence);
    let head = loop {
        let Some(head) = Head::read(from).await? else { return Ok(Some(End::Close)) };
        if !silent {
            to.write_all(&head.raw).await?;
        }
        if !(100..200).contains(&head.status()) {
            break head;
        }
    };
    let framing = head.response_body(method);
    let to_the_end = framing == Framing::Close
        || head.header("connection").is_some_and(|c| c.eq_ignore_ascii_case("close"));
    if let Some(end) = body(framing, fault, silent, from, to).await? {
        return Ok(Some(end));
    }
    match fault {
        Fault::Swallow => Ok(Some(End::Reset)),
        Fault::Silence => std::future::pending().await,
        _ => Ok(to_the_end.then_some(End::Close)),
    }
}

/// The body of an answer, spoilt where the fault says so.
async fn body<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    mut framing: Framing,
    fault: &Fault,
    silent: bool,
    from: &mut BufReader<R>,
    to: &mut W,
) -> Result<Option<End>> {
    let (most, end) = match fault {
        Fault::CutResponse(most) => (*most, Some(End::Reset)),
        Fault::EndResponse(most) => (*most, Some(End::Close)),
        Fault::Stall(most) => (*most, None),
        _ => (u64::MAX, None),
    };
    let mut content = 0;
    loop {
        if content >= most {
            to.flush().await?;
            // So that what was written arrives before the reset does.
            tokio::time::sleep(Duration::from_millis(20)).await;
            match end {
                Some(end) => return Ok(Some(end)),
                None => std::future::pending::<()>().await,
            }
        }
        let Some(mut piece) = framing.next(from).await? else { return Ok(None) };
        if let Fault::Slow(time) = fault {
            tokio::time::sleep(*time).await;
        }
        if piece.content {
            piece.raw.truncate((most - content).min(usize::MAX as u64) as usize);
            if let Fault::Flip(at) = fault
                && let Some(byte) = at.checked_sub(content).and_then(|i| piece.raw.get_mut(i as usize))
            {
                *byte ^= 1;
            }
            content += piece.raw.len() as u64;
        }
        if !silent {
            to.write_all(&piece.raw).await?;
        }
    }
}

fn canned(status: u16, headers: &[(String, String)], body: &str, method: &str) -> String {
    let mut text = format!("HTTP/1.1 {status} Scripted\r\n");
    // In chunks, which the body has itself, or of this length.
    if !headers.iter().any(|(name, _)| name == "transfer-encoding") {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text + "\r\n" + if method == "HEAD" { "" } else { body }
}
