//! One exchange with a token endpoint.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::{
    RequestBuilder, StatusCode,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
};
use serde::Deserialize;
use url::{Url, form_urlencoded};

use super::Fetched;
use crate::{
    Error, ErrorKind, Result, Secret,
    http::{self, Payload, redact},
};

/// Longest silence of a token endpoint.
const QUIET: Duration = Duration::from_secs(15);
/// How long a token of an impersonated account lives, unless the file says otherwise.
pub(super) const HOUR: Duration = Duration::from_secs(3600);
/// Longest answer.
const MOST: usize = 64 * 1024;

/// What a refusal for good means, and what to do about it.
pub(super) type Advice = (ErrorKind, &'static str);

pub(super) fn of_a_login(_: StatusCode) -> Advice {
    let fix = "the credentials are revoked, wrong or expired: make new ones, or run `gcloud auth application-default login`";
    (ErrorKind::Unauthenticated, fix)
}

pub(super) fn of_a_key(_: StatusCode) -> Advice {
    let fix = "check this machine's clock, and that neither the service account nor its key are deleted or disabled";
    (ErrorKind::Unauthenticated, fix)
}

fn of_an_impersonation(status: StatusCode) -> Advice {
    match status {
        StatusCode::FORBIDDEN => {
            let fix = "grant these credentials the role Service Account Token Creator on the account that they act as";
            (ErrorKind::AccessDenied, fix)
        }
        StatusCode::NOT_FOUND => {
            (ErrorKind::Unauthenticated, "there is no such service account; check the impersonation URL")
        }
        _ => (ErrorKind::Unauthenticated, "check the account to act as, and its `delegates`"),
    }
}

/// Exchanges a form for a token.
pub(super) async fn exchange(
    client: &reqwest::Client,
    url: &Url,
    form: &[(&str, &str)],
    advice: fn(StatusCode) -> Advice,
) -> Result<Fetched> {
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    post(client, url, form, advice).await
}

/// `POST`s a form (RFC 6749 section 4) and reads the token from the answer.
pub(super) async fn post(
    client: &reqwest::Client,
    url: &Url,
    form: String,
    advice: fn(StatusCode) -> Advice,
) -> Result<Fetched> {
    let request = client
        .post(url.clone())
        .header(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    token(&ask(request, Some(Bytes::from(form).into()), QUIET, advice).await?.1)
}

/// Lets `bearer` act as another account (IAM Credentials API, `generateAccessToken`).
pub(super) async fn impersonate(
    client: &reqwest::Client,
    url: &Url,
    bearer: &Secret,
    delegates: &[String],
    scope: &str,
    lifetime: Duration,
) -> Result<Fetched> {
    let seconds = format!("{}s", lifetime.as_secs());
    let body = serde_json::json!({ "scope": [scope], "lifetime": seconds, "delegates": delegates });
    let request = client
        .post(url.clone())
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .bearer_auth(bearer.expose());
    let payload = Bytes::from(body.to_string()).into();
    let (_, answer) = ask(request, Some(payload), QUIET, of_an_impersonation).await?;
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        access_token: Secret,
        expire_time: String,
    }
    let answer: Answer = serde_json::from_slice(&answer).map_err(|_| odd())?;
    let end: jiff::Timestamp = answer.expire_time.parse().map_err(|_| odd())?;
    let left = SystemTime::from(end).duration_since(SystemTime::now()).unwrap_or_default();
    // None lives longer than was asked for: a clock that is wrong by days must not keep one for days.
    let lifetime = left.clamp(Duration::from_secs(60), lifetime);
    Ok(Fetched { token: answer.access_token, lifetime })
}

/// Sends a request and gives headers and body of a 200.
pub(super) async fn ask(
    request: RequestBuilder,
    payload: Option<Payload>,
    quiet: Duration,
    advice: fn(StatusCode) -> Advice,
) -> Result<(HeaderMap, Bytes)> {
    let named = |error: Error| error.with_backend("gcs").with_operation("token");
    let answer = http::send(request, payload, quiet).await.map_err(|lost| named(lost.error))?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = http::text(answer, MOST, quiet).await.map_err(named)?;
    match status {
        StatusCode::OK => Ok((headers, body)),
        _ => Err(named(refused(status, &headers, &body, advice))),
    }
}

/// The token in an answer by RFC 6749 section 5.1.
pub(super) fn token(body: &[u8]) -> Result<Fetched> {
    #[derive(Deserialize)]
    struct Answer {
        access_token: Secret,
        expires_in: Option<u64>,
    }
    // The parser's own message can quote what it read, hence the token.
    let answer: Answer = serde_json::from_slice(body).map_err(|_| odd())?;
    let lifetime = Duration::from_secs(answer.expires_in.unwrap_or(3600).min(12 * 3600));
    Ok(Fetched { token: answer.access_token, lifetime })
}

fn odd() -> Error {
    Error::new(ErrorKind::Unavailable, "the token endpoint answered something that is not a token")
        .with_backend("gcs")
        .with_operation("token")
}

/// What a refusal means: 408, 429 and 5xx pass, and so do the codes that say the same; everything else is for
/// `advice`.
fn refused(status: StatusCode, headers: &HeaderMap, body: &[u8], advice: fn(StatusCode) -> Advice) -> Error {
    let (code, reason, foreign) = reason(body);
    let message = format!("the token endpoint answered {}{reason}", status.as_u16());
    let error = match (status, code.as_str()) {
        (StatusCode::TOO_MANY_REQUESTS, _) | (_, "rate_limit_exceeded" | "RESOURCE_EXHAUSTED") => {
            Error::new(ErrorKind::RateLimited, message)
        }
        (StatusCode::REQUEST_TIMEOUT, _)
        | (_, "internal_failure" | "server_error" | "temporarily_unavailable") => {
            Error::new(ErrorKind::Unavailable, message)
        }
        _ if status.is_server_error() => Error::new(ErrorKind::Unavailable, message),
        _ if status.is_redirection() => {
            let fix = "it sends requests elsewhere, which is not followed: see what answers in its place (a proxy, a login page)";
            Error::new(ErrorKind::InvalidConfig, format!("{message}; {fix}"))
        }
        // Good credentials must not be replaced because of a proxy's page.
        _ if foreign => {
            let (kind, fix) = advice(status);
            Error::new(
                kind,
                format!("{message}; something between may answer for it; if nothing does, {fix}"),
            )
        }
        _ => {
            let (kind, fix) = advice(status);
            let error = Error::new(kind, format!("{message}; {fix}"));
            // A machine that has just started or woken sets its clock in a moment; each attempt is signed
            // anew.
            let passes = error.retryable() || reason.contains("Token must be a short-lived token");
            error.with_retryable(passes)
        }
    };
    match http::retry_after(headers) {
        Some(delay) => error.with_retry_after(delay),
        None => error,
    }
}

/// The code, and `: invalid_grant, Token has been revoked`, from OAuth's form of errors (RFC 6749 section
/// 5.2), or from Google's; and whether it is a text in neither. None of that is shown: who refuses a form may
/// quote it, with the secrets in it.
fn reason(body: &[u8]) -> (String, String, bool) {
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(body) else {
        return if body.trim_ascii().is_empty() {
            Default::default()
        } else {
            (String::new(), " with what is no JSON".into(), true)
        };
    };
    let error = &json["error"];
    let code = error.as_str().or(error["status"].as_str()).unwrap_or_default().to_owned();
    let words = [error.as_str(), json["error_description"].as_str(), error["message"].as_str()];
    let words: Vec<_> = words.into_iter().flatten().map(redact).collect();
    let text = if words.is_empty() { String::new() } else { format!(": {}", words.join(", ")) };
    (code, text, false)
}
