//! Removing: a missing key is a success, and a retry never removes what was written after the first attempt.

use std::sync::Mutex;

use reqwest::Method;

use super::{
    Bucket,
    doubt::{Condition, existed, generation},
    model::Resource,
    named,
};
use crate::{
    DeleteOptions, Error, ErrorKind, Key, Result, began::Began, lock::lock, options::REPLACED_BEFORE_REMOVAL,
    retry::retry,
};

impl Bucket {
    pub(super) async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        let wanted = options.if_version.as_ref().and_then(generation);
        // Then no object ever had this version: whatever is there is another one.
        let never = options.if_version.is_some() && wanted.is_none();
        let _turn = self.writes.turn(key).await;
        let known = self.known.generation(key);
        // Since when an attempt may have removed the object without a word.
        let since = Mutex::new(None::<Began>);
        let doubtful = || *lock(&since);
        retry(&self.retry, &self.client.budget, |_| async {
            if never {
                return self.delete_of_another(key, self.look(key).await?.resource);
            }
            let only = match (wanted, doubtful()) {
                (None, Some(since)) => {
                    let seen = self.look(key).await?;
                    match seen.resource {
                        None => return Ok(()),
                        Some(old) if existed(&old, known, seen.now, since) => Some(old.generation),
                        Some(_) => return Err(named("delete", key, unclear())),
                    }
                }
                (wanted, _) => wanted,
            };
            let condition = only.map_or(Condition::Always, Condition::Generation);
            let call = condition.apply(self.object(Method::DELETE, key));
            let began = Began::now();
            match self.client.done(call).await {
                Ok(()) => Ok(()),
                Err(failure) if failure.no_object() => Ok(()),
                Err(failure) if failure.is_clear() && wanted.is_none() => Ok(()),
                Err(failure) if failure.refused && wanted.is_some() => match self.look(key).await?.resource {
                    // The condition holds: something else is the matter.
                    Some(old) if Some(old.generation) == wanted => Err(named("delete", key, failure.error)),
                    seen => self.delete_of_another(key, seen),
                },
                Err(failure) => {
                    if failure.doubtful {
                        lock(&since).get_or_insert(began);
                    }
                    Err(named("delete", key, failure.error))
                }
            }
        })
        .await
    }

    /// The version to remove is not the current one: a conflict, unless there is nothing at all.
    fn delete_of_another(&self, key: &Key, seen: Option<Resource>) -> Result<()> {
        match seen {
            None => Ok(()),
            Some(_) => {
                let error = Error::new(ErrorKind::Conflict, REPLACED_BEFORE_REMOVAL);
                Err(named("delete", key, error))
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
