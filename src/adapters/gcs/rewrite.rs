//! Moving an object to another storage class: the service rewrites it in place, in as many steps as it needs.

use bytes::Bytes;
use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde_json::{Map, Value};

use super::{
    Bucket,
    client::Call,
    encryption,
    model::{self, Reached, Resource, Rewrite},
    named, names,
};
use crate::{Error, ErrorKind, Key, Result, Tier, options::NONE, retry::retry};

/// What a rewrite with a body of its own does not take over from the source.
const KEPT: [&str; 7] = [
    "contentType",
    "contentEncoding",
    "contentDisposition",
    "contentLanguage",
    "cacheControl",
    "customTime",
    "metadata",
];

const OTHER_KEY: &str = "the tier was set, but the service did not encrypt the snapshot with its KMS key; check that this server supports \
                         encryption keys, and save again";

impl Bucket {
    pub(super) async fn set_tier(&self, key: &Key, tier: Tier) -> Result<()> {
        let named = |error| named("set_tier", key, error);
        let wanted = model::class(tier);
        // Before the look: what happens between that and the request is a conflict.
        let _turn = self.writes.turn(key).await;
        let (old, mut body) = self.kept("set_tier", key).await?;
        if old.storage_class.as_deref() == Some(wanted) {
            return Ok(());
        }
        body.insert("storageClass".into(), wanted.into());
        let body = Bytes::from(Value::Object(body).to_string());
        let kms_key = self.client.settings.encryption.kms_key_of(&old);
        let mut reached: Option<Reached> = None;
        loop {
            let token = reached.as_ref().map(|reached| &reached.token);
            let call = self.rewrite(key, &old, kms_key, body.clone()).maybe("rewriteToken", token);
            let step = retry(&self.retry, &self.client.budget, |failed| {
                let call = call.clone();
                let (old, reached) = (&old, &reached);
                async move {
                    match self.client.json::<Rewrite>(call).await {
                        Ok((step, _)) if !step.done && step.reached.is_some() && step.reached == *reached => {
                            Err(named(Reached::no_further()))
                        }
                        Ok((step, _)) => Ok(step),
                        Err(failure) if failure.refused => match self.look(key).await?.resource {
                            // An earlier attempt, whose answer was lost.
                            Some(new) if failed > 0 && moved(old, &new, wanted) => {
                                Ok(Rewrite { done: true, reached: None, resource: Some(new) })
                            }
                            None => Err(named(Error::new(ErrorKind::NotFound, NONE))),
                            // The conditions hold: something else is the matter.
                            Some(new) if version(&new) == version(old) => Err(named(failure.error)),
                            Some(_) => Err(named(Error::new(
                                ErrorKind::Conflict,
                                "another writer replaced or changed the snapshot; try again",
                            ))),
                        },
                        Err(failure) => Err(named(failure.error)),
                    }
                }
            })
            .await?;
            match (step.done, step.reached) {
                (true, _) => {
                    let Some(stored) = step.resource else { return Ok(()) };
                    self.known.saw(key, &stored);
                    if kms_key.is_some_and(|name| !encryption::is_under(name, &stored)) {
                        return Err(named(Error::new(ErrorKind::Unsupported, OTHER_KEY)));
                    }
                    // A bucket with Autoclass says yes, too.
                    return match stored.storage_class.as_deref() {
                        Some(class) if model::tier(class) != Some(tier) => Err(named(of_bucket(class))),
                        _ => Ok(()),
                    };
                }
                (false, Some(next)) => reached = Some(next),
                (false, None) => {
                    return Err(named(Error::new(
                        ErrorKind::Unavailable,
                        "the service stopped in the middle of a rewrite",
                    )));
                }
            }
        }
    }

    /// An object, and what a rewrite with a body of its own must repeat of it.
    pub(super) async fn kept(
        &self,
        operation: &'static str,
        key: &Key,
    ) -> Result<(Resource, Map<String, Value>)> {
        let call = self.object(Method::GET, key).headers(self.client.settings.encryption.headers());
        let named = |error| named(operation, key, error);
        let seen: Value = retry(&self.retry, &self.client.budget, |_| async {
            let answer = self.client.json(call.clone()).await;
            answer.map(|(value, _)| value).map_err(|failure| named(failure.error))
        })
        .await?;
        let kept = KEPT.iter().filter_map(|name| Some((name.to_string(), seen.get(name)?.clone())));
        let kept = kept.collect();
        let object = serde_json::from_value(seen).map_err(|_| {
            named(Error::new(ErrorKind::Unavailable, "the service's answer cannot be understood"))
        })?;
        Ok((object, kept))
    }

    /// Rewrites this generation onto itself, and only if it is still the current one, and nothing else is
    /// said of it meanwhile.
    fn rewrite(&self, key: &Key, old: &Resource, kms_key: Option<&str>, body: Bytes) -> Call {
        let (bucket, object) = (names::encode(&self.name), names::encode(key.as_str()));
        let encryption = &self.client.settings.encryption;
        let call = self
            .client
            .request(
                Method::POST,
                format!("/storage/v1/b/{bucket}/o/{object}/rewriteTo/b/{bucket}/o/{object}"),
            )
            .condition("ifSourceGenerationMatch", old.generation)
            .condition("ifGenerationMatch", old.generation)
            .maybe("destinationKmsKeyName", kms_key)
            .headers(encryption.headers())
            .headers(encryption.source_headers())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8"))
            .patient()
            .payload(body);
        match old.metageneration {
            Some(metageneration) => call.condition("ifSourceMetagenerationMatch", metageneration),
            None => call,
        }
    }
}

fn of_bucket(class: &str) -> Error {
    let message = format!(
        "the service keeps the snapshot in class {class}; a bucket with Autoclass chooses classes itself, so leave tiers to it"
    );
    Error::new(ErrorKind::Unsupported, message)
}

fn version(object: &Resource) -> (u64, Option<u64>) {
    (object.generation, object.metageneration)
}

/// Whether the one became the other. A look does not show every checksum.
fn moved(old: &Resource, new: &Resource, class: &str) -> bool {
    new.storage_class.as_deref() == Some(class)
        && new.put_id() == old.put_id()
        && (new.crc32c.is_none() || new.crc32c == old.crc32c)
}
