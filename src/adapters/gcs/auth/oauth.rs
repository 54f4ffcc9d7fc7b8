//! One exchange with a token endpoint.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::{
    RequestBuilder, StatusCode,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
};
use serde::Deserialize;
use url::{Url, form_urlencoded};

use super::{Fetched, unauthenticated};
use crate::{
    Error, ErrorKind, Result, Secret,
    http::{self, Payload, redact},
};

/// Longest silence of a token endpoint.
const QUIET: Duration = Duration::from_secs(15);
/// Longest answer.
const MOST: usize = 64 * 1024;

/// `POST`s a form (RFC 6749 section 4) and reads the token from the answer.
pub(super) async fn exchange(client: &reqwest::Client, url: &Url, form: &[(&str, &str)]) -> Result<Fetched> {
    let body: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = client
        .post(url.clone())
        .header(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    token(&ask(request, Some(Bytes::from(body).into()), QUIET).await?)
}

/// Lets `bearer` act as another account (IAM Credentials API, `generateAccessToken`).
pub(super) async fn impersonate(
    client: &reqwest::Client,
    url: &Url,
    bearer: &Secret,
    delegates: &[String],
    scope: &str,
) -> Result<Fetched> {
    let body = serde_json::json!({ "scope": [scope], "lifetime": "3600s", "delegates": delegates });
    let request = client
        .post(url.clone())
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .bearer_auth(bearer.expose());
    let answer = ask(request, Some(Bytes::from(body.to_string()).into()), QUIET).await?;
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        access_token: Secret,
        expire_time: String,
    }
    let answer: Answer = serde_json::from_slice(&answer).map_err(|_| odd())?;
    let end: jiff::Timestamp = answer.expire_time.parse().map_err(|_| odd())?;
    let left = SystemTime::from(end).duration_since(SystemTime::now()).unwrap_or_default();
    // No such token lives longer than an hour: a clock that is wrong by days must not keep one for days.
    let lifetime = left.clamp(Duration::from_secs(60), Duration::from_secs(3600));
    Ok(Fetched { token: answer.access_token, lifetime })
}

/// Sends a request and gives the body of a 200.
pub(super) async fn ask(request: RequestBuilder, payload: Option<Payload>, quiet: Duration) -> Result<Bytes> {
    let named = |error: Error| error.with_backend("gcs").with_operation("token");
    let answer = http::send(request, payload, quiet).await.map_err(|lost| named(lost.error))?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = http::text(answer, MOST, quiet).await.map_err(named)?;
    if status == StatusCode::OK { Ok(body) } else { Err(named(refused(status, &headers, &body))) }
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

/// What a refusal means: 408, 429 and 5xx pass; everything else is the credentials' fault.
fn refused(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
    let message = format!("the token endpoint answered {}{}", status.as_u16(), reason(body));
    let passes = status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT;
    let error = match status {
        StatusCode::TOO_MANY_REQUESTS => Error::new(ErrorKind::RateLimited, message),
        _ if passes => Error::new(ErrorKind::Unavailable, message),
        _ => unauthenticated(format!(
            "{message}; the credentials are revoked, wrong or expired: make new ones, or run `gcloud auth application-default login`"
        )),
    };
    match http::retry_after(headers) {
        Some(delay) => error.with_retry_after(delay),
        None => error,
    }
}

/// `: invalid_grant, Token has been revoked` from OAuth's form of errors (RFC 6749 section 5.2), or from Google's.
fn reason(body: &[u8]) -> String {
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(body) else { return String::new() };
    let error = &json["error"];
    let words = [error.as_str(), json["error_description"].as_str(), error["message"].as_str()];
    let words: Vec<_> = words.into_iter().flatten().map(redact).collect();
    if words.is_empty() { String::new() } else { format!(": {}", words.join(", ")) }
}
