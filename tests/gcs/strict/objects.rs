//! Metadata, media, listings, deletion, rewrites.

use std::{collections::BTreeSet, io::Read};

use serde_json::{Value, json};

use super::{
    request::{Answer, Req, decode},
    state::{Object, State, check_metadata, checksum, supplied_key},
};

/// Finds the object of a request and checks generation, conditions and key.
fn find(state: &mut State, request: &Req, with_content: bool) -> Result<(String, Object, bool), Answer> {
    let name = request.object();
    let object = state.objects.get(&name).cloned().ok_or_else(|| state.missing(&name))?;
    let other = request.query("generation").is_some_and(|wanted| wanted.parse() != Ok(object.generation));
    if other && !state.rules.ignores_generation {
        return Err(state.missing(&name));
    }
    if let Some(refused) = state.condition(request, &name) {
        return Err(refused);
    }
    let key = supplied_key(request, "x-goog-encryption-")?;
    match (&object.csek, &key) {
        (Some(needed), Some(given)) if needed == given => Ok((name, object, true)),
        (Some(_), Some(_)) => Err(Answer::refusal(
            400,
            "customerEncryptionKeyIsIncorrect",
            "The provided encryption key is incorrect.",
        )),
        (Some(_), None) if with_content => Err(Answer::refusal(
            400,
            "resourceIsEncryptedWithCustomerEncryptionKey",
            "The target object is encrypted by a customer-supplied encryption key.",
        )),
        (Some(_), None) => Ok((name, object, false)),
        (None, Some(_)) => Err(Answer::refusal(
            400,
            "resourceNotEncryptedWithCustomerEncryptionKey",
            "The target object is not encrypted by a customer-supplied encryption key.",
        )),
        (None, None) => Ok((name, object, true)),
    }
}

pub fn metadata(state: &mut State, request: &Req) -> Answer {
    match find(state, request, false) {
        Ok((name, object, with_key)) => part(request, object.describe(&name, with_key)),
        Err(answer) => answer,
    }
}

/// A partial answer has what was asked for, and nothing else.
fn part(request: &Req, whole: Value) -> Answer {
    Answer::json(&match request.query("fields") {
        Some(fields) => only(fields, whole),
        None => whole,
    })
}

/// Of a value, or of each in an array, the fields `a,b(c,d)`.
fn only(fields: &str, value: Value) -> Value {
    let mut whole = match value {
        Value::Array(all) => return all.into_iter().map(|one| only(fields, one)).collect(),
        Value::Object(whole) => whole,
        other => return other,
    };
    let mut depth = 0;
    let names = fields.split(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    });
    let pick = |name: &str| match name.strip_suffix(')').and_then(|name| name.split_once('(')) {
        Some((name, inner)) => Some((name.to_owned(), only(inner, whole.remove(name)?))),
        None => whole.remove_entry(name),
    };
    Value::Object(names.filter_map(pick).collect())
}

pub fn media(state: &mut State, request: &Req) -> Answer {
    let (_, object, _) = match find(state, request, true) {
        Ok(found) => found,
        Err(answer) => return answer,
    };
    let coded = object.resource.get("contentEncoding") == Some(&"gzip".into());
    let answer = |status, body: &[u8]| {
        let stored = if coded { "gzip" } else { "identity" };
        Answer::new(status, body.to_vec())
            .header("content-type", object.resource["contentType"].as_str().unwrap_or_default())
            .header("x-goog-generation", object.generation.to_string())
            .header("x-goog-metageneration", object.metageneration.to_string())
            .header("x-goog-stored-content-encoding", stored)
            .header("x-goog-stored-content-length", object.data.len().to_string())
            .header("x-goog-hash", format!("crc32c={}", checksum(&object.data)))
    };
    if coded && !request.header("accept-encoding").unwrap_or_default().contains("gzip") {
        // Decompressed on the way: whole, whatever the range.
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&object.data[..]).read_to_end(&mut plain).unwrap();
        return answer(200, &plain).header("warning", "214 UploadServer gunzipped");
    }
    let size = object.data.len() as u64;
    let answer = |status, body| {
        if coded { answer(status, body).header("content-encoding", "gzip") } else { answer(status, body) }
    };
    let Some(range) = request.header("range") else { return answer(200, &object.data) };
    match resolve(range, size) {
        Some((first, last)) => answer(206, &object.data[first as usize..=last as usize])
            .header("content-range", format!("bytes {first}-{last}/{size}")),
        None => Answer::refusal(416, "requestedRangeNotSatisfiable", "Requested range not satisfiable"),
    }
}

fn resolve(range: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let end = size.checked_sub(1)?;
    match (first, last) {
        ("", count) => {
            Some((size.saturating_sub(count.parse::<u64>().ok().filter(|count| *count > 0)?), end))
        }
        (first, "") => Some((first.parse().ok()?, end)),
        (first, last) => Some((first.parse().ok()?, last.parse::<u64>().ok()?.min(end))),
    }
    .filter(|(first, last)| first <= last)
}

pub fn delete(state: &mut State, request: &Req) -> Answer {
    let name = request.object();
    if !state.objects.contains_key(&name) {
        return state.missing(&name);
    }
    if let Some(refused) = state.too_soon(&name).or_else(|| state.condition(request, &name)) {
        return refused;
    }
    state.objects.remove(&name);
    Answer::new(204, "")
}

pub fn list(state: &mut State, request: &Req) -> Answer {
    if request.query("fields").is_some_and(|fields| !fields.contains("nextPageToken")) {
        return state.violation("fields without nextPageToken: the listing would end after a page");
    }
    let most =
        request.query("maxResults").and_then(|most| most.parse().ok()).unwrap_or(1000).min(state.rules.page);
    let prefix = request.query("prefix").unwrap_or_default().to_owned();
    let from = request.query("startOffset").unwrap_or_default().to_owned();
    let delimiter = request.query("delimiter").unwrap_or_default().to_owned();
    let signature = format!("{prefix}\n{from}\n{delimiter}\n{:?}", request.query("fields"));
    // A token is opaque; here it says how many rows were given, and which parameters it belongs to.
    let (skip, empty_before) = match request.query("pageToken") {
        None => (0, false),
        Some(token) => {
            let mut parts = token.splitn(3, '+');
            let (skip, empty) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            if parts.next() != Some(&signature) {
                return state.violation("a page token with other parameters than the page before");
            }
            (skip.parse().unwrap_or(0), empty == "1")
        }
    };
    if state.rules.empty_pages && !empty_before {
        return Answer::json(
            &json!({ "kind": "storage#objects", "nextPageToken": format!("{skip}+1+{signature}") }),
        );
    }
    let (mut items, mut prefixes, mut rows) = (Vec::new(), BTreeSet::new(), 0);
    let mut more = false;
    for (name, object) in state.objects.range(from.clone()..) {
        let Some(rest) = name.strip_prefix(&prefix) else { continue };
        let rolled = match delimiter.as_str() {
            "" => None,
            delimiter => rest.find(delimiter).map(|end| format!("{prefix}{}", &rest[..=end])),
        };
        let fresh = rolled.as_ref().is_none_or(|rolled| !prefixes.contains(rolled));
        if !fresh {
            continue;
        }
        if let Some(rolled) = &rolled {
            prefixes.insert(rolled.clone());
        }
        rows += 1;
        if rows <= skip {
            continue;
        }
        if rows > skip + most {
            more = true;
            if let Some(rolled) = rolled {
                prefixes.remove(&rolled);
            }
            break;
        }
        if rolled.is_none() {
            items.push(object.describe(name, false));
        }
    }
    let mut page = json!({ "kind": "storage#objects" });
    // What was rolled up on the pages before does not come again, and absent is absent: no empty arrays.
    let rows_before = prefixes_before(state, &prefix, &from, &delimiter, skip);
    let prefixes: Vec<Value> =
        prefixes.into_iter().filter(|name| !rows_before.contains(name)).map(Value::from).collect();
    if !items.is_empty() {
        page["items"] = items.into();
    }
    if !prefixes.is_empty() {
        page["prefixes"] = prefixes.into();
    }
    if more {
        page["nextPageToken"] = format!("{}+0+{signature}", skip + most).into();
    }
    part(request, page)
}

fn prefixes_before(
    state: &State,
    prefix: &str,
    from: &str,
    delimiter: &str,
    skip: usize,
) -> BTreeSet<String> {
    let (mut seen, mut rows) = (BTreeSet::new(), 0);
    for name in state.objects.range(from.to_owned()..).map(|(name, _)| name) {
        let Some(rest) = name.strip_prefix(prefix) else { continue };
        let rolled = rest
            .find(delimiter)
            .filter(|_| !delimiter.is_empty())
            .map(|end| format!("{prefix}{}", &rest[..=end]));
        let fresh = rolled.as_ref().is_none_or(|rolled| !seen.contains(rolled));
        if fresh {
            rows += 1;
            if rows > skip {
                break;
            }
            seen.extend(rolled);
        }
    }
    seen
}

/// Two steps for each rewrite, as for a large object that changes its class, unless the rules say otherwise.
pub fn rewrite(state: &mut State, request: &Req) -> Answer {
    let name = request.object();
    let Some(target) = request.raw_target().map(decode) else { return state.violation("no target") };
    let Some(object) = state.objects.get(&name).cloned() else {
        return Answer::refusal(404, "notFound", "No such object");
    };
    if request.query("sourceGeneration").is_some_and(|wanted| wanted.parse() != Ok(object.generation)) {
        return Answer::refusal(404, "notFound", "No such object");
    }
    let source = state.condition_on(object.generation, request.query("ifSourceGenerationMatch"), None);
    let said = state.condition_on(object.metageneration, request.query("ifSourceMetagenerationMatch"), None);
    if let Some(refused) = source.or(said).or_else(|| state.condition(request, &target)) {
        return refused;
    }
    let new_key = match (
        supplied_key(request, "x-goog-copy-source-encryption-"),
        supplied_key(request, "x-goog-encryption-"),
    ) {
        (Ok(source), Ok(target)) if source == object.csek => target,
        _ => {
            return Answer::refusal(
                400,
                "invalid",
                "the source is encrypted by a customer-supplied encryption key",
            );
        }
    };
    let mut query = request.query.clone();
    let now = |query| (request.path.clone(), query, request.body.clone());
    let token = query.remove("rewriteToken");
    if token.is_none() && !state.rules.one_step {
        let token = format!("rewrite-{}-{}", object.generation, state.rewrites.len());
        state.rewrites.insert(token.clone(), now(query));
        return Answer::json(
            &json!({ "kind": "storage#rewriteResponse", "done": false, "rewriteToken": token,
            "totalBytesRewritten": "1", "objectSize": object.data.len().to_string() }),
        );
    }
    if token.is_some_and(|token| state.rewrites.get(&token) != Some(&now(query))) {
        return state.violation("a rewrite token that is unknown, or began with another request");
    }
    if let Some(refused) = state.too_soon(&target) {
        return refused;
    }
    let mut moved = object;
    let kms = request.query("destinationKmsKeyName").map(str::to_owned);
    (moved.kms, moved.csek) = (kms.filter(|_| !state.rules.drops_keys), new_key);
    // A body replaces all that can be set.
    moved.resource = serde_json::from_slice(&request.body).unwrap_or_default();
    if let Err(refused) = check_metadata(&moved.resource) {
        return refused;
    }
    let resource = state.store(&target, moved);
    Answer::json(&json!({ "kind": "storage#rewriteResponse", "done": true, "resource": resource }))
}
