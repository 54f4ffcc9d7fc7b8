//! Removing: a missing key is a success, and a retry never removes what was written after the first attempt.

use std::sync::Mutex;

use reqwest::Method;
use tokio::time::Instant;

use super::{Store, doubt::existed, doubt::generation, errors::no_bucket};
use crate::{DeleteOptions, Error, ErrorKind, Key, Result, retry::retry};

impl Store {
    pub(super) async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        let wanted = match &options.if_version {
            None => None,
            Some(version) => match generation(version) {
                Some(generation) => Some(generation),
                // No object ever had this version: whatever is there is another one.
                None => return self.delete_of_another(key).await,
            },
        };
        let known = self.known.generation(key);
        // Since when an attempt may have removed the object without a word.
        let since = Mutex::new(None::<Instant>);
        let doubtful = || *since.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        retry(&self.retry, &self.client.budget, |_| async {
            let only = match (wanted, doubtful()) {
                (None, Some(since)) => {
                    let seen = self.look(key).await?;
                    match seen.resource {
                        None => return Ok(()),
                        Some(old) if existed(&old, known, seen.now, since.elapsed()) => Some(old.generation),
                        Some(_) => return Err(self.named("delete", key, unclear())),
                    }
                }
                (wanted, _) => wanted,
            };
            let call = self
                .object(Method::DELETE, key)
                .maybe("ifGenerationMatch", only.map(|only| only.to_string()));
            let started = Instant::now();
            match self.client.send(call).await {
                Ok(_) => Ok(()),
                Err(failure) if failure.is(404) && !no_bucket(&failure) => Ok(()),
                Err(failure) if failure.is(412) && wanted.is_none() => Ok(()),
                Err(failure) if failure.is(412) => self.delete_of_another(key).await,
                Err(failure) => {
                    if failure.doubtful {
                        since.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert(started);
                    }
                    Err(self.named("delete", key, failure.error))
                }
            }
        })
        .await
    }

    /// The version to remove is not the current one: a conflict, unless there is nothing at all.
    async fn delete_of_another(&self, key: &Key) -> Result<()> {
        match self.look(key).await?.resource {
            None => Ok(()),
            Some(_) => {
                let error = Error::new(ErrorKind::Conflict, "another writer replaced the snapshot");
                Err(self.named("delete", key, error))
            }
        }
    }
}

fn unclear() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "the outcome of the deletion is unknown, and what is there now may be newer; delete again if it is to go as well",
    )
}
