//! What a refusal says, in the service's own words.

use serde_json::Value;

use crate::http::redact;

/// How the limit of writes begins where an upload ends.
const CHANGES: &str = "the total number of changes to the object ";

/// Google's own words.
pub(super) struct Said {
    reason: String,
    message: String,
    /// Whether the object may not be changed, which is said behind its name, however long that is.
    kept: bool,
    /// Whether the project that is billed is refused, which is said behind the account.
    pub(super) payer: bool,
    /// Whether the account may not list, so that it is not told what is missing.
    pub(super) unlisted: bool,
}

impl Said {
    pub(super) fn new(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let json = serde_json::from_slice::<Value>(body);
        let (reason, message) = match json.as_ref().map(|json| &json["error"]) {
            Ok(error) => (
                error["errors"][0]["reason"].as_str().or(error["status"].as_str()).unwrap_or_default(),
                error["message"].as_str().or(error.as_str()).unwrap_or_default(),
            ),
            // Downloads are refused in plain text.
            Err(_) => ("", &*text),
        };
        let kept = message.starts_with("Object '")
            && ["' is subject to bucket's retention policy", "' is under active"]
                .iter()
                .any(|said| message.contains(said));
        let of_account =
            |phrase| message.split_once(' ').is_some_and(|(_account, said)| said.starts_with(phrase));
        let payer = of_account("does not have serviceusage.services.use access")
            || of_account("does not have required permission to use project")
            || reason == "UserProjectAccessDenied";
        let unlisted = of_account("does not have storage.objects.list access");
        Said { reason: redact(reason), message: redact(message), kept, payer, unlisted }
    }

    /// Whether this is the reason, which has no names in it.
    pub(super) fn is(&self, reason: &str) -> bool {
        self.reason.eq_ignore_ascii_case(reason)
    }

    /// Whether the message begins so. What comes later may be the name of an object, a bucket or an account.
    pub(super) fn opens(&self, phrases: &[&str]) -> bool {
        let message = self.message.to_ascii_lowercase();
        phrases.iter().any(|phrase| message.starts_with(phrase))
    }

    pub(super) fn needs_key(&self) -> bool {
        let reason = ["resourceIsEncryptedWithCustomer", "customerEncryption"]
            .iter()
            .any(|start| self.reason.starts_with(start));
        let phrases =
            ["the target object is encrypted by a customer", "the source object is encrypted by a customer"];
        reason || self.opens(&phrases)
    }

    pub(super) fn rate_limit(&self) -> bool {
        ["rateLimitExceeded", "userRateLimitExceeded", "RESOURCE_EXHAUSTED"]
            .iter()
            .any(|reason| self.is(reason))
            || self.opens(&["rate limit exceeded", CHANGES])
    }

    /// Whether it is the limit of writes to one object.
    pub(super) fn of_writes(&self) -> bool {
        self.opens(&["the object ", CHANGES])
    }

    /// Whether the service failed, and says so in another way than by the status.
    pub(super) fn failed(&self) -> bool {
        self.is("backendError") || self.is("internalError") || self.opens(&["backend error"])
    }

    pub(super) fn kms(&self) -> bool {
        self.reason.starts_with("cloudKms") || self.opens(&["cloud kms", "the cloud kms", "kms key"])
    }

    pub(super) fn kept(&self) -> bool {
        self.kept || self.is("retentionPolicyNotMet") || self.is("objectUnderActiveHold")
    }

    /// Compute Engine gives its machines other scopes than these by default.
    pub(super) fn narrow(&self) -> bool {
        self.opens(&[
            "provided scope(s) are not authorized",
            "insufficient permission",
            "request had insufficient authentication scopes",
        ])
    }

    pub(super) fn billing(&self) -> bool {
        self.is("accountDisabled")
            || self.is("UserProjectAccountProblem")
            || self.opens(&["billing account", "the billing account", "the project to be billed"])
    }

    pub(super) fn no_bucket(&self) -> bool {
        self.opens(&["the specified bucket does not exist", "bucket not found"])
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for part in [&self.reason, &self.message] {
            if !part.is_empty() {
                write!(f, ", {part}")?;
            }
        }
        Ok(())
    }
}
