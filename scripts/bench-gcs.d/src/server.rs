//! The server of the comparison, in memory: the parts of the JSON and XML APIs that the three clients use. No
//! emulator speaks both, and those that exist copy whole objects with every chunk. It does the same work for
//! everyone: it keeps the pieces as they arrive, and computes a CRC32C. With `PACE_MIB`, a download gets so many
//! MiB a second over one connection, as services do that hold each connection back.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Request, Response,
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tokio::time::{Instant, sleep_until};

#[derive(Clone, Default)]
struct Object {
    pieces: Vec<Bytes>,
    size: u64,
    crc32c: u32,
    generation: u64,
    resource: Resource,
}

/// What an upload by the JSON API says of its object.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Resource {
    name: Option<String>,
    content_type: Option<String>,
    metadata: Option<Box<RawValue>>,
}

/// Uploads under way by their number; the parts of one by theirs.
#[derive(Default)]
struct State {
    objects: HashMap<String, Arc<Object>>,
    sessions: HashMap<u64, (String, Object)>,
    parts: HashMap<u64, BTreeMap<u64, Object>>,
    last: u64,
}

type Sent = UnsyncBoxBody<Bytes, Infallible>;

/// How long a byte of a download takes, in seconds.
static PACE: LazyLock<f64> = LazyLock::new(|| match super::number("PACE_MIB", 0) {
    0 => 0.0,
    mib => 1.0 / (mib << 20) as f64,
});

pub async fn serve() -> super::Result {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    let state = Arc::new(Mutex::new(State::default()));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let state = state.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let state = state.clone();
                async move { Ok::<_, Infallible>(answer(&state, request).await) }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn pieces(pieces: Vec<Bytes>) -> Sent {
    let frames = pieces.into_iter().map(|piece| Ok(Frame::data(piece)));
    StreamBody::new(stream::iter(frames)).boxed_unsync()
}

/// The same, each piece when its time has come.
fn paced(pieces: Vec<Bytes>) -> Sent {
    let frames = stream::iter(pieces).scan((Instant::now(), 0), |(began, sent), piece| {
        *sent += piece.len();
        let due = *began + Duration::from_secs_f64(*sent as f64 * *PACE);
        async move {
            sleep_until(due).await;
            Some(Ok(Frame::data(piece)))
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

fn reply(status: u16, headers: &[(&str, String)], body: impl Into<Bytes>) -> Response<Sent> {
    let body = body.into();
    let mut response = Response::builder().status(status).header("content-length", body.len());
    for (name, value) in headers {
        response = response.header(*name, value);
    }
    response.body(pieces(vec![body])).unwrap()
}

impl Object {
    fn push(&mut self, piece: Bytes) {
        self.size += piece.len() as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, &piece);
        self.pieces.push(piece);
    }

    async fn receive(&mut self, mut body: Incoming) {
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(piece) = frame.into_data() {
                self.push(piece);
            }
        }
    }

    fn describe(&self, name: &str) -> String {
        let metadata = self.resource.metadata.as_ref().map_or("{}", |metadata| metadata.get());
        format!(
            r#"{{"name":{},"contentType":{},"metadata":{metadata},"size":"{}","generation":"{}","metageneration":"1","crc32c":"{}","timeCreated":"2026-01-01T00:00:00Z"}}"#,
            json!(name),
            json!(self.resource.content_type),
            self.size,
            self.generation,
            self.checksum()
        )
    }

    fn checksum(&self) -> String {
        STANDARD.encode(self.crc32c.to_be_bytes())
    }

    fn media(&self, range: Option<&str>) -> Response<Sent> {
        let bounds = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        let (first, last) = match bounds {
            Some((first, last)) => (first.parse().unwrap_or(0), last.parse().unwrap_or(u64::MAX)),
            None => (0, u64::MAX),
        };
        let end = self.size.min(last.saturating_add(1));
        let (mut at, mut wanted) = (0, Vec::new());
        for piece in &self.pieces {
            let next = at + piece.len() as u64;
            if next > first && at < end {
                wanted.push(piece.slice(first.saturating_sub(at) as usize..(end.min(next) - at) as usize));
            }
            at = next;
        }
        let mut response = Response::builder()
            .status(if range.is_some() { 206 } else { 200 })
            .header("content-length", end.saturating_sub(first))
            .header("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT")
            .header("etag", format!("\"{}\"", self.generation))
            .header("x-goog-hash", format!("crc32c={}", self.checksum()))
            .header("x-goog-generation", self.generation)
            .header("x-goog-metageneration", 1);
        if range.is_some() {
            response = response.header("content-range", format!("bytes {first}-{}/{}", end - 1, self.size));
        }
        response.body(if *PACE > 0.0 { paced(wanted) } else { pieces(wanted) }).unwrap()
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn store(&mut self, name: &str, mut object: Object) -> String {
        object.generation = self.number();
        let resource = object.describe(name);
        self.objects.insert(name.into(), object.into());
        resource
    }
}

async fn answer(state: &Mutex<State>, request: Request<Incoming>) -> Response<Sent> {
    let (head, body) = request.into_parts();
    let path = percent_encoding::percent_decode_str(head.uri.path()).decode_utf8_lossy().into_owned();
    let query: HashMap<String, String> =
        url::form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let header = |name: &str| header(&head.headers, name);
    let upload = query.get("upload_id").or(query.get("uploadId")).and_then(|id| id.parse::<u64>().ok());
    let json_name = path
        .split_once("/storage/v1/b/")
        .map(|(_, rest)| rest.split_once("/o/").map_or("", |(_, name)| name));
    let xml_name =
        path.trim_start_matches('/').split_once('/').map(|(_, name)| name.to_owned()).unwrap_or_default();
    let etag = [("etag", "\"1\"".to_owned())];
    match (head.method.as_str(), json_name, upload) {
        ("POST", Some(_), _) => {
            let bytes = collected(body).await;
            if query["uploadType"] == "multipart" {
                let (resource, data) = related(&bytes, header("content-type").unwrap_or_default());
                let name = name(&query, &resource);
                let mut object = Object { resource, ..Object::default() };
                object.push(data);
                return reply(200, &[], state.lock().unwrap().store(&name, object));
            }
            let resource: Resource = serde_json::from_slice(&bytes).unwrap_or_default();
            let mut state = state.lock().unwrap();
            let (id, name) = (state.number(), name(&query, &resource));
            state.sessions.insert(id, (name, Object { resource, ..Object::default() }));
            let host = header("host").unwrap_or_default();
            let location =
                format!("http://{host}/upload/storage/v1/b/b/o?uploadType=resumable&upload_id={id}");
            reply(200, &[("location", location)], "")
        }
        ("PUT", Some(_), Some(id)) => {
            let session = state.lock().unwrap().sessions.remove(&id);
            let Some((name, mut object)) = session else { return reply(404, &[], "") };
            object.receive(body).await;
            let total = header("content-range").and_then(|range| range.rsplit_once('/')?.1.parse().ok());
            if total == Some(object.size) {
                return reply(200, &[], state.lock().unwrap().store(&name, object));
            }
            let range = [("range", format!("bytes=0-{}", object.size.saturating_sub(1)))];
            state.lock().unwrap().sessions.insert(id, (name, object));
            reply(308, &range, "")
        }
        ("GET", json, _) => {
            let name = json.map_or(xml_name, str::to_owned);
            let object = state.lock().unwrap().objects.get(&name).cloned();
            match object {
                None => reply(
                    404,
                    &[],
                    json!({ "error": { "code": 404, "message": "No such object" } }).to_string(),
                ),
                Some(object) if json.is_some() && !query.contains_key("alt") => {
                    reply(200, &[], object.describe(&name))
                }
                Some(object) => object.media(header("range").as_deref()),
            }
        }
        ("PUT", None, Some(id)) => {
            let mut part = Object::default();
            part.receive(body).await;
            let number = query["partNumber"].parse().unwrap_or(0);
            state.lock().unwrap().parts.entry(id).or_default().insert(number, part);
            reply(200, &etag, "")
        }
        ("PUT", None, None) => {
            let mut object = Object::default();
            object.receive(body).await;
            state.lock().unwrap().store(&xml_name, object);
            reply(200, &etag, "")
        }
        ("POST", None, None) => {
            let id = state.lock().unwrap().number();
            let xml = format!(
                "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
            );
            reply(200, &[], xml)
        }
        ("POST", None, Some(id)) => {
            let parts = state.lock().unwrap().parts.remove(&id).unwrap_or_default();
            let mut object = Object::default();
            parts.into_values().flat_map(|part| part.pieces).for_each(|piece| object.push(piece));
            state.lock().unwrap().store(&xml_name, object);
            reply(
                200,
                &[],
                "<CompleteMultipartUploadResult><ETag>\"1\"</ETag></CompleteMultipartUploadResult>",
            )
        }
        _ => reply(400, &[], format!("{} {path}", head.method)),
    }
}

/// A body in one piece, without a copy where it came in one.
async fn collected(mut body: Incoming) -> Bytes {
    let mut pieces = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        pieces.extend(frame.into_data());
    }
    match pieces.len() {
        1 => pieces.remove(0),
        _ => pieces.concat().into(),
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

fn name(query: &HashMap<String, String>, resource: &Resource) -> String {
    query.get("name").or(resource.name.as_ref()).cloned().unwrap_or_default()
}

/// The resource and the data of a `multipart/related` body.
fn related(body: &Bytes, content_type: String) -> (Resource, Bytes) {
    let boundary = content_type.split("boundary=").nth(1).unwrap_or_default().trim_matches(['"', '\'']);
    let find = |from: usize, what: &[u8]| {
        body[from..].windows(what.len()).position(|w| w == what).map(|at| from + at)
    };
    let middle = format!("\r\n--{boundary}");
    let json = find(0, b"\r\n\r\n").map_or(0, |at| at + 4);
    let json_end = find(json, middle.as_bytes()).unwrap_or(body.len());
    let data = find(json_end + 2, b"\r\n\r\n").map_or(body.len(), |at| at + 4);
    let end = body.len().saturating_sub(middle.len() + 4);
    let end = find(end.max(data), middle.as_bytes()).unwrap_or(body.len());
    (serde_json::from_slice(&body[json..json_end]).unwrap_or_default(), body.slice(data..end))
}
