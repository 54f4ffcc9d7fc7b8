//! Multipart and resumable uploads.

use serde_json::{Map, Value};

use super::{
    request::{Answer, Kind, Req, SESSIONS},
    state::{Object, State, check_metadata, checksum, supplied_key},
};

const QUANTUM: u64 = 256 * 1024;

/// A resumable upload under way, or ended.
pub struct Session {
    pub name: String,
    pub data: Vec<u8>,
    resource: Map<String, Value>,
    matches: Option<String>,
    kms: Option<String>,
    csek: Option<String>,
    done: Option<Value>,
}

pub fn multipart(state: &mut State, request: &Req) -> Answer {
    let Some((resource, data)) = parts(request) else {
        return state.violation("the body is not multipart/related with a resource and the data");
    };
    let name = resource.get("name").and_then(Value::as_str).or(request.query("name")).map(str::to_owned);
    let Some(name) = name else { return state.violation("no name") };
    let object = match new_object(state, request, resource, data) {
        Ok(object) => object,
        Err(answer) => return answer,
    };
    if let Some(refused) = state.too_soon(&name).or_else(|| state.condition(request, &name)) {
        return refused;
    }
    Answer::json(&state.store(&name, object))
}

pub fn start(state: &mut State, request: &Req) -> Answer {
    let Ok(resource) = serde_json::from_slice::<Map<String, Value>>(&request.body) else {
        return state.violation("an upload begins without its resource");
    };
    if request.header("content-type").is_none_or(|told| !told.starts_with("application/json")) {
        return state.violation("the resource of an upload is not said to be JSON");
    }
    let object = match new_object(state, request, resource, Vec::new()) {
        Ok(object) => object,
        Err(answer) => return answer,
    };
    let Some(name) = request.query("name").map(str::to_owned) else { return state.violation("no name") };
    let id = state.new_session();
    let location = if state.rules.sessions_in_path {
        format!("{}{SESSIONS}{id}", state.url)
    } else {
        format!("{}/upload/storage/v1/b/{}/o?uploadType=resumable&upload_id={id}", state.url, super::BUCKET)
    };
    // A condition that does not hold is found out at the end only.
    let matches = request.query("ifGenerationMatch").map(Into::into);
    let session = Session {
        name,
        data: Vec::new(),
        resource: object.resource,
        matches,
        kms: object.kms,
        csek: object.csek,
        done: None,
    };
    state.sessions.insert(id.clone(), session);
    Answer::new(200, "").header("location", location).header("x-guploader-uploadid", id)
}

/// A chunk, the end, or a probe.
pub fn data(state: &mut State, request: &Req) -> Answer {
    keep(state, request, usize::MAX)
}

/// The same, but at most `most` bytes of the chunk are kept.
pub fn keep(state: &mut State, request: &Req, most: usize) -> Answer {
    let id = request.query("upload_id").unwrap_or_default().to_owned();
    let Some(session) = state.sessions.get(&id) else {
        return Answer::refusal(404, "notFound", "no such upload session");
    };
    if let Some(done) = &session.done {
        return Answer::json(done);
    }
    match supplied_key(request, "x-goog-encryption-") {
        Ok(key) if key == session.csek => {}
        _ => return state.violation("a request of an upload with a customer's key came without it"),
    }
    let persisted = session.data.len() as u64;
    let (first, total) = match content_range(request) {
        Some(range) => range,
        None => return state.violation(format!("content-range {:?}", request.header("content-range"))),
    };
    let length = request.body.len() as u64;
    let Some(first) = first else {
        if length > 0 {
            return state.violation("a body without a range");
        }
        return match total {
            Some(total) if total == persisted => finish(state, request, &id),
            Some(_) | None => progress(persisted),
        };
    };
    if total.is_none() && !length.is_multiple_of(QUANTUM) {
        return state.violation(format!(
            "a chunk of {length} bytes that is not the last: GCS would end the upload here"
        ));
    }
    if first > persisted {
        let message =
            format!("Invalid request. The Content-Range starts at {first}, {persisted} bytes are there.");
        return Answer::new(503, message).header("content-type", "text/plain");
    }
    let known = ((persisted - first) as usize).min(request.body.len());
    let fresh = &request.body[known..];
    let whole = most >= request.body.len();
    let kept = fresh.len().min(most.saturating_sub(known));
    let Some(session) = state.sessions.get_mut(&id) else { return Answer::new(500, "") };
    session.data.extend_from_slice(&fresh[..kept]);
    if !whole {
        // The real service keeps whole quanta of what has broken off.
        let quanta = session.data.len() as u64 / QUANTUM * QUANTUM;
        session.data.truncate(quanta.max(persisted) as usize);
    }
    let now = session.data.len() as u64;
    let open = most != usize::MAX && std::mem::take(&mut state.faults.keep_open);
    if whole && total == Some(now) && !open { finish(state, request, &id) } else { progress(now) }
}

pub fn cancel(state: &mut State, request: &Req) -> Answer {
    state.sessions.remove(request.query("upload_id").unwrap_or_default());
    Answer::new(499, "")
}

fn progress(persisted: u64) -> Answer {
    match persisted {
        0 => Answer::new(308, ""),
        bytes => Answer::new(308, "").header("range", format!("bytes=0-{}", bytes - 1)),
    }
}

fn finish(state: &mut State, request: &Req, id: &str) -> Answer {
    let Some(session) = state.sessions.get(id) else { return Answer::new(500, "") };
    if let Some(hash) = request.header("x-goog-hash")
        && hash != format!("crc32c={}", checksum(&session.data))
    {
        return Answer::refusal(400, "invalid", "Provided CRC32C does not match");
    }
    let (name, matches) = (session.name.clone(), session.matches.clone());
    if let Some(refused) = state.too_soon(&name) {
        return refused;
    }
    let current = state.objects.get(&name).map_or(0, |object| object.generation);
    if let Some(refused) = state.condition_on(current, matches.as_deref(), None) {
        state.sessions.remove(id);
        return refused;
    }
    let Some(session) = state.sessions.get(id) else { return Answer::new(500, "") };
    let mut object = Object::new(session.data.clone());
    object.resource = session.resource.clone();
    (object.kms, object.csek) = (session.kms.clone(), session.csek.clone());
    let resource = state.store(&name, object);
    if let Some(session) = state.sessions.get_mut(id) {
        session.done = Some(resource.clone());
    }
    Answer::json(&resource)
}

/// `bytes F-L/T`, `bytes F-L/*`, `bytes */T` or `bytes */*`: the first byte and the total.
#[allow(clippy::type_complexity)]
fn content_range(request: &Req) -> Option<(Option<u64>, Option<u64>)> {
    let (range, total) = request.header("content-range")?.strip_prefix("bytes ")?.split_once('/')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    if range == "*" {
        return Some((None, total));
    }
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let fits = last + 1 == first + request.body.len() as u64 && total.is_none_or(|total| total == last + 1);
    fits.then_some((Some(first), total))
}

/// Checks what an upload says about its object.
fn new_object(
    state: &mut State,
    request: &Req,
    mut resource: Map<String, Value>,
    data: Vec<u8>,
) -> Result<Object, Answer> {
    for field in ["kmsKeyName", "contentEncoding"] {
        if resource.contains_key(field) {
            return Err(state.violation(format!("{field} in the object's JSON")));
        }
    }
    if let (Some(name), Some(other)) = (resource.remove("name"), request.query("name"))
        && name.as_str() != Some(other)
    {
        return Err(state.violation("two names"));
    }
    if let Some(sum) = resource.remove("crc32c")
        && request.kind == Kind::Multipart
        && sum != checksum(&data).as_str()
    {
        return Err(Answer::refusal(400, "invalid", "Provided CRC32C does not match"));
    }
    check_metadata(&resource)?;
    let csek = supplied_key(request, "x-goog-encryption-")?;
    let kms = request.query("kmsKeyName").map(str::to_owned);
    if csek.is_some() && kms.is_some() {
        return Err(Answer::refusal(400, "invalid", "two keys"));
    }
    if kms.as_deref().is_some_and(|name| name.split('/').count() != 8) {
        return Err(Answer::refusal(400, "invalid", "Cloud KMS key name is invalid"));
    }
    let mut object = Object::new(data);
    object.resource.extend(resource);
    if !state.rules.drops_keys {
        (object.kms, object.csek) = (kms, csek);
    }
    Ok(object)
}

/// The two parts of a `multipart/related` body.
fn parts(request: &Req) -> Option<(Map<String, Value>, Vec<u8>)> {
    let boundary = request.header("content-type")?.strip_prefix("multipart/related; boundary=")?;
    let body = &request.body[..];
    let first = format!("--{boundary}\r\n");
    let rest = body.strip_prefix(first.as_bytes())?;
    let (head, rest) = cut(rest, b"\r\n\r\n")?;
    if !head.starts_with(b"Content-Type: application/json") {
        return None;
    }
    let (json, rest) = cut(rest, format!("\r\n--{boundary}\r\n").as_bytes())?;
    let (head, rest) = cut(rest, b"\r\n\r\n")?;
    if !head.starts_with(b"Content-Type: ") {
        return None;
    }
    let data = rest.strip_suffix(format!("\r\n--{boundary}--\r\n").as_bytes())?;
    Some((serde_json::from_slice(json).ok()?, data.to_vec()))
}

fn cut<'a>(bytes: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let position = bytes.windows(at.len()).position(|window| window == at)?;
    Some((&bytes[..position], &bytes[position + at.len()..]))
}
