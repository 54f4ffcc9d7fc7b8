//! Keys that a request can carry. The SDK writes them into a header without a look, and panics where that cannot be.

use aws_credential_types::provider::{ProvideCredentials, error::CredentialsError, future};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};

/// What is wrong with a key or token, as the end of a sentence.
pub(super) const UNFIT: &str = "has a line break, a space or another character that none has; remove it";

/// Whether a header can hold it.
pub(super) fn fits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The SDK's own chain, with a look at what it brings.
#[derive(Debug)]
pub(super) struct Checked(pub(super) SharedCredentialsProvider);

impl ProvideCredentials for Checked {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let keys = self.0.provide_credentials().await?;
            let parts = [
                ("access key id", Some(keys.access_key_id())),
                ("secret access key", Some(keys.secret_access_key())),
                ("session token", keys.session_token()),
            ];
            match parts.iter().find(|(_, text)| text.is_some_and(|text| !fits(text))) {
                None => Ok(keys),
                Some((name, _)) => {
                    Err(CredentialsError::invalid_configuration(format!("the {name} {UNFIT}")))
                }
            }
        })
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.0.fallback_on_interrupt()
    }
}
