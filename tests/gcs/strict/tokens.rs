//! Token endpoints for each kind of credentials, a metadata server, and another provider's tokens.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE};
use serde_json::{Value, json};

use super::{
    request::{Answer, Req},
    state::State,
};

/// Public by design: it is for tests on loopback only.
pub const TEST_KEY: &str = include_str!("test_key.pem");

#[derive(Debug)]
pub struct TokenServer {
    url: String,
    given: u64,
    /// Tokens that are accepted now.
    valid: Vec<String>,
    /// What `expires_in` says.
    pub lifetime: u64,
}

impl TokenServer {
    pub fn new(url: &str) -> Self {
        TokenServer { url: url.into(), given: 0, valid: Vec::new(), lifetime: 3600 }
    }

    pub fn accepts(&self, header: &str) -> bool {
        self.valid.iter().any(|token| header == format!("Bearer {token}"))
    }

    /// From now on, no token that was given is any good.
    pub fn revoke(&mut self) {
        self.valid.clear();
    }

    fn give(&mut self, kind: &str) -> String {
        self.given += 1;
        let token = format!("ya29.SECRET-TOKEN-{kind}-{}", self.given);
        self.valid.push(token.clone());
        token
    }

    pub fn service_account(&self) -> Value {
        json!({ "type": "service_account", "client_email": "agent@test.iam.gserviceaccount.com", "private_key": TEST_KEY,
            "private_key_id": "1", "token_uri": format!("{}/token", self.url) })
    }

    pub fn authorized_user(&self) -> Value {
        json!({ "type": "authorized_user", "client_id": "id", "client_secret": "SECRET-CLIENT", "refresh_token": "SECRET-REFRESH",
            "token_uri": format!("{}/token", self.url), "quota_project_id": "quota-project" })
    }

    pub fn external_account(&self, source: Value, impersonate: bool) -> Value {
        let mut json = json!({ "type": "external_account", "audience": "//iam.googleapis.com/pool",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": format!("{}/sts", self.url),
            "credential_source": source });
        if impersonate {
            json["service_account_impersonation_url"] = self.impersonation_url().into();
        }
        json
    }

    pub fn impersonated(&self, base: Value) -> Value {
        json!({ "type": "impersonated_service_account", "service_account_impersonation_url": self.impersonation_url(),
            "delegates": ["projects/-/serviceAccounts/between@test"], "source_credentials": base })
    }

    fn impersonation_url(&self) -> String {
        format!("{}/impersonate/agent:generateAccessToken", self.url)
    }
}

pub fn answer(state: &mut State, request: &Req) -> Answer {
    let form: BTreeMap<_, _> = url::form_urlencoded::parse(&request.body).into_owned().collect();
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let refused = |what: &str| Answer {
        status: 400,
        ..Answer::json(&json!({ "error": "invalid_grant", "error_description": what }))
    };
    let tokens = &mut state.tokens;
    let path = request.path.as_str();
    match (path, field("grant_type")) {
        ("/token", "urn:ietf:params:oauth:grant-type:jwt-bearer") => match claims(field("assertion")) {
            Some(claims) if claims["iss"] == "agent@test.iam.gserviceaccount.com" => {
                tokens.answer(scope_kind(&claims["scope"]))
            }
            _ => refused("bad assertion"),
        },
        ("/token", "refresh_token") if field("refresh_token") == "SECRET-REFRESH" => tokens.answer("user"),
        ("/sts", "urn:ietf:params:oauth:grant-type:token-exchange")
            if field("subject_token") == "SECRET-SUBJECT" =>
        {
            tokens.answer("federated")
        }
        (path, _) if path.starts_with("/impersonate/") => {
            let bearer = request.header("authorization").unwrap_or_default();
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            if !tokens.accepts(bearer) || !body["scope"][0].is_string() {
                return Answer::refusal(
                    403,
                    "forbidden",
                    "Permission iam.serviceAccounts.getAccessToken denied",
                );
            }
            let token = tokens.give("impersonated");
            let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(tokens.lifetime as i64);
            Answer::json(&json!({ "accessToken": token, "expireTime": end.to_string() }))
        }
        ("/subject", _) => Answer::json(&json!({ "id_token": "SECRET-SUBJECT" })),
        (path, _) if path.starts_with("/computeMetadata/") => {
            if request.header("metadata-flavor") != Some("Google") {
                return Answer::new(403, "<html>Missing Metadata-Flavor:Google header.</html>");
            }
            tokens.answer("metadata").header("metadata-flavor", "Google")
        }
        _ => refused("Bad Request"),
    }
}

impl TokenServer {
    fn answer(&mut self, kind: &str) -> Answer {
        let lifetime = self.lifetime;
        Answer::json(
            &json!({ "access_token": self.give(kind), "expires_in": lifetime, "token_type": "Bearer" }),
        )
    }
}

fn scope_kind(scope: &Value) -> &'static str {
    match scope.as_str() {
        Some("https://www.googleapis.com/auth/devstorage.read_write") => "service",
        Some("https://www.googleapis.com/auth/cloud-platform") => "iam",
        _ => "odd",
    }
}

fn claims(assertion: &str) -> Option<Value> {
    let claims = assertion.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE.decode(claims).ok()?).ok()
}
