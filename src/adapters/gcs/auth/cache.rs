//! One token for all requests of a client.

use std::{
    sync::{Arc, RwLock},
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
    /// Held while a token is fetched: N requests at its end make one fetch and not N.
    fetching: Mutex<()>,
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
        Auth { credentials, current: RwLock::new(None), fetching: Mutex::new(()) }
    }

    /// The project that the credentials file wants to be billed.
    pub(in super::super) fn quota_project(&self) -> Option<&str> {
        self.credentials.quota_project.as_deref()
    }

    /// The token to use now; `None` for anonymous requests. One attempt: the request that needs it is retried as a whole.
    pub(in super::super) async fn token(&self) -> Result<Option<Token>> {
        if self.credentials.anonymous() {
            return Ok(None);
        }
        if let Some(token) = self.cached() {
            let now = Instant::now();
            if now < token.renew {
                return Ok(Some(token));
            }
            if now < token.end {
                return Ok(Some(self.renewed(token).await));
            }
        }
        let _one = self.fetching.lock().await;
        match self.cached() {
            Some(token) if Instant::now() < token.end => Ok(Some(token)),
            _ => Ok(Some(self.fetch().await?)),
        }
    }

    /// Another token than `refused`, which the service did not take.
    pub(in super::super) async fn replace(&self, refused: &Token) -> Result<Token> {
        let _one = self.fetching.lock().await;
        match self.cached() {
            // Somebody else was refused too and has fetched one already.
            Some(token) if token.header != refused.header => Ok(token),
            _ => self.fetch().await,
        }
    }

    /// Renews a token that is still good. Whoever comes first fetches, all others go on with the old one, and so does the first if the
    /// token endpoint is down.
    async fn renewed(&self, old: Token) -> Token {
        let Ok(_one) = self.fetching.try_lock() else { return old };
        match self.fetch().await {
            Ok(token) => token,
            Err(error) => {
                tracing::warn!(kind = %error.kind(), "the access token could not be renewed early; it is still good");
                let kept = Token { renew: (Instant::now() + PAUSE).min(old.end), ..old };
                self.store(kept.clone());
                kept
            }
        }
    }

    async fn fetch(&self) -> Result<Token> {
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
