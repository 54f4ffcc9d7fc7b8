//! What arrived, and answers.

use std::collections::BTreeMap;

use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::{CONTENT_LENGTH, HeaderName, HeaderValue},
};
use serde_json::{Value, json};

use super::{BUCKET, faults::Fault};

/// Where upload sessions are that have their id in the path.
pub const SESSIONS: &str = "/sessions/";

pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Multipart,
    Start,
    Data,
    Probe,
    Cancel,
    Metadata,
    Media,
    List,
    Delete,
    Rewrite,
    Token,
    Unknown,
}

/// A request, read whole.
pub struct Req {
    pub kind: Kind,
    pub method: Method,
    /// As it came, still encoded.
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What the log keeps of a request.
#[derive(Debug, Clone)]
pub struct Logged {
    pub kind: Kind,
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub status: u16,
}

impl Logged {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }
}

impl Req {
    pub async fn read(request: Request<Incoming>) -> Result<Self, hyper::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let path = head.uri.path().to_owned();
        let mut query: BTreeMap<_, _> =
            url::form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes())
                .into_owned()
                .collect();
        if let Some(id) = path.strip_prefix(SESSIONS) {
            query.insert("upload_id".into(), id.into());
        }
        let kind = kind(&head.method, &path, &query, &head.headers);
        Ok(Req { kind, method: head.method, path, query, headers: head.headers, body })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// The object that the path names, as it came.
    pub fn raw_object(&self) -> Option<&str> {
        let rest = self.path.strip_prefix("/storage/v1/b/")?.split_once("/o/")?.1;
        Some(rest.split_once("/rewriteTo/").map_or(rest, |(object, _)| object))
    }

    /// The object that a rewrite writes, as it came.
    pub fn raw_target(&self) -> Option<&str> {
        Some(self.path.split_once("/rewriteTo/b/")?.1.split_once("/o/")?.1)
    }

    pub fn object(&self) -> String {
        decode(self.raw_object().unwrap_or_default())
    }

    pub fn logged(&self, status: u16) -> Logged {
        let (path, query, headers, body) =
            (self.path.clone(), self.query.clone(), self.headers.clone(), self.body.clone());
        Logged { kind: self.kind, path, query, headers, body, status }
    }
}

fn kind(method: &Method, path: &str, query: &BTreeMap<String, String>, headers: &HeaderMap) -> Kind {
    let upload = query.get("uploadType").map(String::as_str);
    let probe = headers.get("content-range").is_some_and(|range| range == "bytes */*");
    if path.starts_with("/upload/storage/v1/b/") || path.starts_with(SESSIONS) {
        return match (method.as_str(), upload, query.contains_key("upload_id")) {
            ("POST", Some("multipart"), _) => Kind::Multipart,
            ("POST", Some("resumable"), false) => Kind::Start,
            ("PUT", _, true) if probe => Kind::Probe,
            ("PUT", _, true) => Kind::Data,
            ("DELETE", _, true) => Kind::Cancel,
            _ => Kind::Unknown,
        };
    }
    if let Some(rest) = path.strip_prefix("/storage/v1/b/") {
        let media = query.get("alt").is_some_and(|alt| alt == "media");
        return match (method.as_str(), rest.split_once("/o")) {
            ("GET", Some((_, ""))) => Kind::List,
            ("GET", Some(_)) if media => Kind::Media,
            ("GET", Some(_)) => Kind::Metadata,
            ("DELETE", Some(_)) => Kind::Delete,
            ("POST", Some((_, rest))) if rest.contains("/rewriteTo/") => Kind::Rewrite,
            _ => Kind::Unknown,
        };
    }
    let token = ["/token", "/sts", "/impersonate", "/subject", "/computeMetadata/"];
    if token.iter().any(|start| path.starts_with(start)) { Kind::Token } else { Kind::Unknown }
}

/// The bucket that a path names must be ours.
pub fn bucket_of(path: &str) -> Option<&str> {
    let rest = path.trim_start_matches("/upload").strip_prefix("/storage/v1/b/")?;
    rest.split('/').next()
}

pub fn is_ours(path: &str) -> bool {
    path.starts_with(SESSIONS) || bucket_of(path) == Some(BUCKET)
}

pub fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned()
}

/// As headers have it.
pub fn http_date(time: std::time::SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap();
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&time).unwrap()
}

/// An answer before it goes out.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl Answer {
    pub fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Answer { status, headers: Vec::new(), body: body.into() }
    }

    pub fn json(value: &Value) -> Self {
        Answer::new(200, value.to_string()).header("content-type", "application/json; charset=UTF-8")
    }

    /// An error in Google's form.
    pub fn refusal(status: u16, reason: &str, message: &str) -> Self {
        let error = json!({ "code": status, "message": message, "errors": [{ "reason": reason, "message": message }] });
        let mut answer = Answer::json(&json!({ "error": error }));
        answer.status = status;
        answer
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With the time, unless it has one.
    pub fn dated(self) -> Self {
        if self.headers.iter().any(|(name, _)| name == "date") {
            self
        } else {
            self.header("date", http_date(std::time::SystemTime::now()))
        }
    }

    /// As it goes out, spoiled by the faults that concern bodies.
    pub fn with_body(mut self, fault: Fault) -> Response<Body> {
        let full = self.body.len();
        let pause = if let Fault::Slow(pause) = fault { Some(pause) } else { None };
        let (sent, end) = match fault {
            Fault::Cut(at) => (at.min(full), End::Broken),
            Fault::Unsized(at) => (at.min(full), End::Close),
            Fault::Stall(at) => (at.min(full), End::Silent),
            Fault::Flip(at) if at < full => {
                let mut bytes = self.body.to_vec();
                bytes[at] ^= 0x10;
                self.body = bytes.into();
                (full, End::Good)
            }
            _ => (full, End::Good),
        };
        let mut pieces: Vec<Result<_, std::io::Error>> = Vec::new();
        for piece in self.body.slice(..sent).chunks(64 * 1024) {
            pieces.push(Ok(Frame::data(Bytes::copy_from_slice(piece))));
        }
        let rest = async move {
            match end {
                End::Good | End::Close => None,
                End::Broken => {
                    // So that the client has seen what came before.
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                    Some(Err(std::io::Error::other("broken on purpose")))
                }
                End::Silent => std::future::pending().await,
            }
        };
        use futures_util::StreamExt;
        let paused = move |piece| async move {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            piece
        };
        let stream = futures_util::stream::iter(pieces)
            .then(paused)
            .chain(futures_util::stream::once(rest).filter_map(std::future::ready));
        let mut response = Response::new(BodyExt::boxed_unsync(StreamBody::new(Box::pin(stream))));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap();
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            response.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
        }
        if end == End::Close {
            // Without chunks, so that the end of the connection is the end of the body.
            *response.version_mut() = hyper::Version::HTTP_10;
        } else if !matches!(self.status, 204 | 304) {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(full));
        }
        response
    }
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Good,
    Close,
    Broken,
    Silent,
}
