//! Keys that a request can carry. The SDK writes them into a header without a look, and panics where that
//! cannot be.

use aws_credential_types::provider::{ProvideCredentials, error::CredentialsError, future};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};

/// What is wrong with a key id or token, as the end of a sentence.
pub(super) const UNFIT: &str = "has a line break, a space or another character that none has; remove it";
/// What is wrong with a secret key.
pub(super) const UNFIT_SECRET: &str = "has a line break, or a space at an end; remove it";

/// Whether a header can hold it.
pub(super) fn fits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether it can be meant. Requests are signed with a secret, none contains it: on servers other than
/// Amazon's it may be any text.
pub(super) fn may_be_secret(text: &str) -> bool {
    text.trim() == text && !text.contains(char::is_control)
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
            let unfit = if !fits(keys.access_key_id()) {
                format!("the access key id {UNFIT}")
            } else if !may_be_secret(keys.secret_access_key()) {
                format!("the secret access key {UNFIT_SECRET}")
            } else if !keys.session_token().is_none_or(fits) {
                format!("the session token {UNFIT}")
            } else {
                return Ok(keys);
            };
            Err(CredentialsError::invalid_configuration(unfit))
        })
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.0.fallback_on_interrupt()
    }
}
