//! Moving an object to another storage class: the service rewrites it in place, in as many steps as it needs.

use bytes::Bytes;
use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde_json::{Map, Value};

use super::{
    Store,
    client::Call,
    encryption,
    model::{self, Resource, Rewrite},
    names,
};
use crate::{Error, ErrorKind, Key, Result, Tier, retry::retry};

/// What a rewrite with a body of its own does not take over from the source.
pub(super) const KEPT: [&str; 7] = [
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

impl Store {
    pub(super) async fn set_tier(&self, key: &Key, tier: Tier) -> Result<()> {
        let named = |error| self.named("set tier", key, error);
        let wanted = model::class(tier);
        let headers = self.client.settings.encryption.headers();
        let call = self.object(Method::GET, key).headers(headers);
        let before: Value = retry(&self.retry, &self.client.budget, |_| async {
            let answer = self.client.json(call.clone()).await;
            answer.map(|(value, _)| value).map_err(|failure| named(failure.error))
        })
        .await?;
        let old: Resource = serde_json::from_value(before.clone()).map_err(|_| {
            named(Error::new(ErrorKind::Unavailable, "the service's answer cannot be understood"))
        })?;
        if old.storage_class.as_deref() == Some(wanted) {
            return Ok(());
        }
        let mut body: Map<String, Value> =
            KEPT.iter().filter_map(|name| Some((name.to_string(), before.get(name)?.clone()))).collect();
        body.insert("storageClass".into(), wanted.into());
        let body = Bytes::from(Value::Object(body).to_string());
        let kms_key = self.client.settings.encryption.kms_key_of(&old);
        let mut token: Option<String> = None;
        loop {
            let call = self.rewrite(key, &old, kms_key, body.clone()).maybe("rewriteToken", token.as_deref());
            let step = retry(&self.retry, &self.client.budget, |failed| {
                let call = call.clone();
                let old = &old;
                async move {
                    match self.client.json::<Rewrite>(call).await {
                        Ok((step, _)) => Ok(step),
                        Err(failure) if failure.is(412) => match self.look(key).await?.resource {
                            // An earlier attempt, whose answer was lost.
                            Some(new) if failed > 0 && moved(old, &new, wanted) => {
                                Ok(Rewrite { done: true, rewrite_token: None, resource: Some(new) })
                            }
                            None => Err(named(Error::new(ErrorKind::NotFound, "there is no snapshot"))),
                            Some(_) => Err(named(Error::new(
                                ErrorKind::Conflict,
                                "another writer replaced the snapshot; try again",
                            ))),
                        },
                        Err(failure) => Err(named(failure.error)),
                    }
                }
            })
            .await?;
            match (step.done, step.rewrite_token) {
                (true, _) => {
                    let Some(stored) = step.resource else { return Ok(()) };
                    self.known.saw(key, &stored);
                    return match kms_key.is_none_or(|name| encryption::is_under(name, &stored)) {
                        true => Ok(()),
                        false => Err(named(Error::new(ErrorKind::Unsupported, OTHER_KEY))),
                    };
                }
                (false, Some(next)) => token = Some(next),
                (false, None) => {
                    return Err(named(Error::new(
                        ErrorKind::Unavailable,
                        "the service stopped in the middle of a rewrite",
                    )));
                }
            }
        }
    }

    /// Rewrites this generation onto itself, and only if it is still the current one.
    fn rewrite(&self, key: &Key, old: &Resource, kms_key: Option<&str>, body: Bytes) -> Call {
        let (bucket, object) = (names::encode(&self.bucket), names::encode(key.as_str()));
        let (generation, encryption) = (old.generation.to_string(), &self.client.settings.encryption);
        self.client
            .request(
                Method::POST,
                &format!("/storage/v1/b/{bucket}/o/{object}/rewriteTo/b/{bucket}/o/{object}"),
            )
            .query("ifSourceGenerationMatch", &generation)
            .query("ifGenerationMatch", &generation)
            .maybe("destinationKmsKeyName", kms_key)
            .headers(encryption.headers())
            .headers(encryption.source_headers())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8"))
            .patient()
            .payload(body)
    }
}

fn moved(old: &Resource, new: &Resource, class: &str) -> bool {
    new.storage_class.as_deref() == Some(class) && new.put_id() == old.put_id() && new.crc32c == old.crc32c
}
