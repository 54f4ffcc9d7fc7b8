//! The one way in which requests go out: signed, timed, and with every answer that is no success turned into
//! a [`Failure`].

use std::{
    fmt,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use reqwest::{
    Method, Request, RequestBuilder, Response, StatusCode,
    header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue},
};
use serde::de::DeserializeOwned;
use tokio::runtime::{Handle, Id};
use url::Url;

use super::{
    auth::{Auth, Credentials, Token},
    errors::{self, Asked, Failure},
    names,
    settings::Settings,
};
use crate::{
    Body, Error, ErrorKind, Result, RetryBudget,
    http::{self, Payload},
    lock::lock,
};

/// The longest error message that is read, and the longest page of JSON.
const ERROR_BYTES: usize = 16 * 1024;
const JSON_BYTES: usize = 32 * 1024 * 1024;

/// Connections, token and retry budget: one for each process and configuration.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) settings: Settings,
    pub(super) budget: Arc<RetryBudget>,
    http: reqwest::Client,
    auth: Arc<Auth>,
    /// Whether an answer was marked as Google's.
    marks: AtomicBool,
    /// Connections live and die with the runtime that made them.
    runtime: Option<Id>,
}

/// A request that can be sent again.
#[derive(Clone)]
pub(super) struct Call {
    method: Method,
    /// Path and query at the endpoint.
    path: String,
    /// The URL of an upload session, which is a secret, in place of that.
    session: Option<Url>,
    /// A list: the map is made once for each attempt.
    headers: Vec<(HeaderName, HeaderValue)>,
    payload: Option<Payload>,
    /// Of how many timeouts the service may be silent.
    patience: u32,
    /// Whether a 412 may mean that a condition does not hold.
    pub(super) conditional: bool,
    /// Whether a 308 tells how far an upload is, and is no redirect.
    pub(super) progress: bool,
}

/// Shows neither names nor the query, which may be a secret.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Call({} {})", self.method, self.kind())
    }
}

impl Call {
    fn new(method: Method, path: String) -> Self {
        let (session, headers, payload) = (None, Vec::new(), None);
        Call { method, path, session, headers, payload, patience: 1, conditional: false, progress: false }
    }

    /// A request of an upload session.
    pub(super) fn session(method: Method, url: Url) -> Self {
        Call { session: Some(url), ..Call::new(method, String::new()) }
    }

    /// What kind of request it is.
    fn kind(&self) -> &str {
        match self.session {
            Some(_) => "upload session",
            None => self.path.split("/b/").next().unwrap_or_default(),
        }
    }

    /// Whether it reads and names no object: `/storage/v1/b/BUCKET/o`.
    fn lists(&self) -> bool {
        let path = self.path.split('?').next().unwrap_or_default();
        self.method == Method::GET && path.matches('/').count() == 5
    }

    /// Adds a parameter to the query. Everything is parsed once, when the request goes out.
    pub(super) fn query(mut self, name: &str, value: impl AsRef<str>) -> Self {
        let separator = if self.path.contains('?') { "&" } else { "?" };
        self.path.extend([separator, name, "="]);
        self.path.extend(names::pieces(value.as_ref()));
        self
    }

    /// Adds a condition to the query.
    pub(super) fn condition(mut self, name: &str, value: u64) -> Self {
        self.conditional = true;
        self.query(name, value.to_string())
    }

    /// Adds a parameter if there is one.
    pub(super) fn maybe(self, name: &str, value: Option<impl AsRef<str>>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(super) fn headers(mut self, headers: HeaderMap) -> Self {
        self.headers.extend(headers.into_iter().filter_map(|(name, value)| Some((name?, value))));
        self
    }

    /// A request that the service answers only when its work is done.
    pub(super) fn patient(mut self) -> Self {
        self.patience = 10;
        self
    }

    pub(super) fn payload(mut self, payload: impl Into<Payload>) -> Self {
        self.payload = Some(payload.into());
        self
    }
}

impl Client {
    /// The client of these settings, which all adapters of this process that have them share.
    pub(super) async fn shared(settings: Settings) -> Result<Arc<Self>> {
        static CLIENTS: Mutex<Vec<Weak<Client>>> = Mutex::new(Vec::new());
        let runtime = Handle::try_current().ok().map(|handle| handle.id());
        let find = |clients: &mut Vec<Weak<Client>>| {
            clients.retain(|client| client.strong_count() > 0);
            clients.iter().filter_map(Weak::upgrade).find(|c| c.settings == settings && c.runtime == runtime)
        };
        if let Some(client) = find(&mut lock(&CLIENTS)) {
            return Ok(client);
        }
        let http = http::client(settings.connect_timeout, true)?;
        // Metadata servers are near, or not there at all.
        let direct = http::client(settings.connect_timeout.min(std::time::Duration::from_secs(2)), false)?;
        let credentials = Credentials::new(
            settings.credentials.clone(),
            settings.quota_project.clone(),
            http.clone(),
            direct,
        );
        let credentials = credentials.await?;
        let mut clients = lock(&CLIENTS);
        // Somebody else may have made it meanwhile.
        if let Some(client) = find(&mut clients) {
            return Ok(client);
        }
        let auth = Arc::new(Auth::new(credentials));
        let client = Arc::new(Client {
            settings: settings.clone(),
            budget: Arc::default(),
            http,
            auth,
            marks: AtomicBool::default(),
            runtime,
        });
        clients.push(Arc::downgrade(&client));
        Ok(client)
    }

    /// A request under `path`, which starts with `/`, with the project that pays.
    pub(super) fn request(&self, method: Method, path: String) -> Call {
        let call = Call::new(method, path);
        match (&self.settings.project, self.auth.quota_project()) {
            (Some(project), _) => call.query("userProject", project),
            (None, Some(project)) => match HeaderValue::from_str(project) {
                Ok(project) => call.header(HeaderName::from_static("x-goog-user-project"), project),
                Err(_) => call,
            },
            (None, None) => call,
        }
    }

    /// A request on an object.
    pub(super) fn object(&self, method: Method, bucket: &str, key: &str) -> Call {
        self.request(method, names::path(&["/storage/v1/b/", bucket, "/o/", key]))
    }

    /// One attempt. A 401 gets one more with a new token; every status that is no success is a failure.
    ///
    /// The URL of an upload session is a credential of its own: a token goes along if there is one, and none
    /// is waited for.
    pub(super) async fn send(&self, call: Call) -> Result<Response, Failure> {
        let trusted = call.session.as_ref().is_none_or(|url| self.trusted(url));
        let token = match call.session {
            None => self.auth.token().await.map_err(Failure::unsent)?,
            Some(_) if trusted => self.auth.at_hand(),
            Some(_) => None,
        };
        let mut answer = self.attempt(&call, token.as_ref().map(Token::header)).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            // What is rare is boxed: its future would be part of every request's, which is allocated and
            // moved as a whole.
            answer = Box::pin(self.attempt_anew(&call, token, trusted, answer)).await?;
        }
        let status = answer.status();
        if status.is_success() || (call.progress && status == StatusCode::PERMANENT_REDIRECT) {
            return Ok(answer);
        }
        Err(Box::pin(self.failure(&call, answer)).await)
    }

    /// Another attempt with a new token, after the answer 401.
    async fn attempt_anew(
        &self,
        call: &Call,
        token: Option<Token>,
        trusted: bool,
        answer: Response,
    ) -> Result<Response, Failure> {
        let new = match &token {
            Some(refused) => self.auth.replace(refused).await.map(Some),
            None if trusted => self.auth.token().await,
            None => Ok(None),
        };
        match new {
            Ok(None) => Ok(answer),
            Ok(Some(new)) => self.attempt(call, Some(new.header())).await,
            Err(error) => {
                // Rather without any than with the one that was refused.
                let answer = if call.session.is_some() && token.is_some() {
                    self.attempt(call, None).await?
                } else {
                    answer
                };
                match answer.status() {
                    StatusCode::UNAUTHORIZED => Err(Failure::unsent(error)),
                    _ => Ok(answer),
                }
            }
        }
    }

    /// What an answer says that is no success.
    async fn failure(&self, call: &Call, answer: Response) -> Failure {
        let (status, headers) = (answer.status(), answer.headers().clone());
        // The status says enough where the message is lost.
        let body = http::text(answer, ERROR_BYTES, self.settings.timeout).await.unwrap_or_default();
        let asked = Asked {
            conditional: call.conditional,
            of_session: call.session.is_some(),
            of_listing: call.lists(),
            anonymous: self.auth.anonymous(),
            // Whoever has a proxy add TLS has credentials; an emulator wants none.
            emulator: self.settings.base.scheme() == "http" && self.auth.anonymous(),
            server_marks: self.marks.load(Ordering::Relaxed),
        };
        let mut failure = errors::failure(status, &headers, &body, asked);
        if call.session.is_none() && !call.path.starts_with("/upload/") {
            // The same header names the upload session, whose id is a secret, in answers to uploads.
            if let Some(id) = headers.get(errors::MARK).and_then(|id| id.to_str().ok()) {
                failure.error = failure.error.with_request_id(id.chars().take(100).collect::<String>());
            }
        }
        failure
    }

    /// One attempt whose answer is JSON. An answer that breaks off is doubtful like a lost one.
    pub(super) async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<(T, HeaderMap), Failure> {
        let mut answer = self.send(call).await?;
        let headers = std::mem::take(answer.headers_mut());
        let body = http::text(answer, JSON_BYTES, self.settings.timeout).await.map_err(Failure::unread)?;
        Ok((parse(&body).map_err(Failure::unread)?, headers))
    }

    /// One attempt at what has nothing to tell. Google says 204 then; emulators 200, with nothing or an empty
    /// value. What says more is a page, or of a gateway that says yes to everything.
    pub(super) async fn done(&self, call: Call) -> Result<(), Failure> {
        let answer = self.send(call).await?;
        if answer.status() == StatusCode::NO_CONTENT {
            return Ok(());
        }
        let body = http::text(answer, ERROR_BYTES, self.settings.timeout).await.map_err(Failure::unread)?;
        if matches!(body.trim_ascii(), b"" | b"null" | b"{}") {
            Ok(())
        } else {
            Err(Failure::unread(errors::not_the_services()))
        }
    }

    /// The body of a download.
    pub(super) fn body(&self, answer: Response) -> Body {
        http::body(answer, self.settings.timeout)
    }

    async fn attempt(&self, call: &Call, token: Option<HeaderValue>) -> Result<Response, Failure> {
        let url = match &call.session {
            Some(url) => url.clone(),
            None => self.settings.base.join(&call.path).map_err(|error| {
                let message = "the request has no URL";
                Failure::unsent(Error::new(ErrorKind::Internal, message).with_source(error))
            })?,
        };
        let mut request = Request::new(call.method.clone(), url);
        let headers = request.headers_mut();
        // With room for those that are added on the way.
        headers.reserve(call.headers.len() + 5);
        headers.extend(call.headers.iter().cloned());
        headers.extend(token.map(|token| (AUTHORIZATION, token)));
        let request = RequestBuilder::from_parts(self.http.clone(), request);
        let started = tracing::enabled!(tracing::Level::DEBUG).then(tokio::time::Instant::now);
        let quiet = self.settings.timeout.saturating_mul(call.patience);
        let outcome = http::send(request, call.payload.clone(), quiet).await;
        if outcome.as_ref().is_ok_and(|answer| answer.headers().contains_key(errors::MARK)) {
            self.marks.store(true, Ordering::Relaxed);
        }
        tracing::debug!(
            method = %call.method,
            path = call.kind(),
            status = outcome.as_ref().ok().map(|answer| answer.status().as_u16()),
            sent_bytes = call.payload.as_ref().map_or(0, Payload::len),
            elapsed_ms = started.map(|started| started.elapsed().as_millis() as u64),
            "request"
        );
        Ok(outcome?)
    }

    /// Whether an upload may go on at this URL, which comes out of an answer: at the endpoint or another host
    /// of Google's, never in clear text instead of TLS. An emulator may name itself by another of its names,
    /// where there is no secret to lose.
    pub(super) fn takes_data(&self, url: &Url) -> bool {
        let google = url.domain().is_some_and(|host| host.ends_with(".googleapis.com"));
        let plain = self.auth.anonymous() && self.settings.encryption.headers().is_empty();
        match (self.settings.base.scheme(), url.scheme()) {
            _ if self.trusted(url) => true,
            ("https", "https") => google,
            ("http", "http") => plain,
            _ => false,
        }
    }

    /// Whether the token may be shown to this server: the upload session's URL comes out of an answer.
    fn trusted(&self, url: &Url) -> bool {
        url.origin() == self.settings.base.origin()
    }
}

/// Reads an answer. The parser's own message may quote it, and so is left out.
pub(super) fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| {
        let message = format!(
            "the service's answer cannot be understood (line {}, column {})",
            error.line(),
            error.column()
        );
        Error::new(ErrorKind::Unavailable, message)
    })
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
