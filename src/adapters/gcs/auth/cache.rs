//! One token for all requests of a client.

use std::{
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use reqwest::header::HeaderValue;
use tokio::{sync::Mutex, time::Instant};

use super::{Credentials, Fetched};
use crate::{Error, ErrorKind, Result};

/// So long before its end a token is renewed, as Google's own clients do.
const EARLY: Duration = Duration::from_secs(225);
/// So long a failed early renewal is not tried again.
const PAUSE: Duration = Duration::from_secs(30);

/// Credentials and the token that was last fetched with them.
#[derive(Debug)]
pub(in super::super) struct Auth {
    credentials: Credentials,
    current: RwLock<Option<Token>>,
    /// Held while a token is fetched: N requests at its end make one fetch and not N. In it: how the last
    /// fetch failed.
    fetching: Arc<Mutex<Option<Failed>>>,
    /// How many fetches have ended: whoever waited for one that failed has its outcome, and makes none of his
    /// own.
    ended: AtomicU64,
}

/// An error as often as it is wanted.
#[derive(Debug)]
struct Failed {
    kind: ErrorKind,
    message: String,
    retryable: bool,
    retry_after: Option<Duration>,
}

/// A token as a header, marked sensitive so that no `Debug` shows it.
#[derive(Debug, Clone)]
pub(in super::super) struct Token {
    header: Arc<HeaderValue>,
    renew: Instant,
    end: Instant,
}

impl Token {
    /// The value of `Authorization`.
    pub(in super::super) fn header(&self) -> HeaderValue {
        self.header.as_ref().clone()
    }
}

impl Auth {
    pub(in super::super) fn new(credentials: Credentials) -> Self {
        Auth { credentials, current: RwLock::new(None), fetching: Arc::default(), ended: AtomicU64::new(0) }
    }

    /// Whether requests go out without a token.
    pub(in super::super) fn anonymous(&self) -> bool {
        self.credentials.anonymous()
    }

    /// The project that the credentials file wants to be billed.
    pub(in super::super) fn quota_project(&self) -> Option<&str> {
        self.credentials.quota_project.as_deref()
    }

    /// The token to use now; `None` for anonymous requests. One attempt: the request that needs it is retried
    /// as a whole.
    pub(in super::super) async fn token(self: &Arc<Self>) -> Result<Option<Token>> {
        if self.anonymous() {
            return Ok(None);
        }
        if let Some(token) = self.at_hand() {
            return Ok(Some(token));
        }
        let good = |token: &Token| Instant::now() < token.end;
        Box::pin(self.fetched(good)).await.map(Some)
    }

    /// The token to use now, if there is one without waiting for it.
    pub(in super::super) fn at_hand(self: &Arc<Self>) -> Option<Token> {
        let now = Instant::now();
        let token = self.cached().filter(|token| now < token.end)?;
        if now >= token.renew {
            self.renew();
        }
        Some(token)
    }

    /// Another token than `refused`, which the service did not take.
    pub(in super::super) async fn replace(&self, refused: &Token) -> Result<Token> {
        // Somebody else may have been refused too and have fetched one already.
        self.fetched(|token| token.header != refused.header).await
    }

    /// A token that is `good`: the one that is there, or a new one. Only one is fetched at a time, and what
    /// comes of it is for all that wait.
    async fn fetched(&self, good: impl Fn(&Token) -> bool) -> Result<Token> {
        let ended = self.ended.load(Ordering::SeqCst);
        let mut last = self.fetching.lock().await;
        if let Some(token) = self.cached().filter(good) {
            return Ok(token);
        }
        match &*last {
            Some(failed) if self.ended.load(Ordering::SeqCst) != ended => Err(failed.error()),
            _ => self.fetch(&mut last).await,
        }
    }

    /// Renews a token that is still good, behind the requests that go on with it, also where the token
    /// endpoint is down or silent.
    fn renew(self: &Arc<Self>) {
        let Ok(mut last) = self.fetching.clone().try_lock_owned() else { return };
        let auth = self.clone();
        tokio::spawn(async move {
            // Another request may have seen to it since this one looked.
            let Some(old) = auth.cached().filter(|token| token.renew <= Instant::now()) else { return };
            if let Err(error) = auth.fetch(&mut last).await {
                tracing::warn!(kind = %error.kind(), "the access token could not be renewed early; it is still good");
                auth.store(Token { renew: (Instant::now() + PAUSE).min(old.end), ..old });
            }
        });
    }

    async fn fetch(&self, last: &mut Option<Failed>) -> Result<Token> {
        let outcome = self.fetch_one().await;
        *last = outcome.as_ref().err().map(Failed::new);
        self.ended.fetch_add(1, Ordering::SeqCst);
        outcome
    }

    async fn fetch_one(&self) -> Result<Token> {
        let Fetched { token, lifetime } = self.credentials.fetch().await?;
        let mut header = HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|_| {
            Error::new(ErrorKind::Unauthenticated, "the token endpoint gave a token that no header can carry")
                .with_backend("gcs")
        })?;
        header.set_sensitive(true);
        let now = Instant::now();
        let renew = now + lifetime - EARLY.min(lifetime / 4);
        let token = Token { header: Arc::new(header), renew, end: now + lifetime };
        self.store(token.clone());
        tracing::debug!(
            lifetime_s = lifetime.as_secs(),
            source = self.credentials.kind(),
            "access token fetched"
        );
        Ok(token)
    }

    // A panic while the lock is held cannot leave the token half-written.
    fn cached(&self) -> Option<Token> {
        self.current.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    fn store(&self, token: Token) {
        *self.current.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(token);
    }
}

impl Failed {
    fn new(error: &Error) -> Self {
        let message = error.message().to_owned();
        Failed { kind: error.kind(), message, retryable: error.retryable(), retry_after: error.retry_after() }
    }

    fn error(&self) -> Error {
        let error = Error::new(self.kind, self.message.as_str()).with_retryable(self.retryable);
        let error = error.with_backend("gcs").with_operation("token");
        match self.retry_after {
            Some(delay) => error.with_retry_after(delay),
            None => error,
        }
    }
}
