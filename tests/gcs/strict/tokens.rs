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

/// What a token is good for. `cloud-platform` would open storage as well, but nobody is to ask for more than
/// is needed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Opens {
    Storage,
    /// Tokens of other accounts.
    Accounts,
    /// A person's login asked for its scopes when it was made.
    Both,
    Nothing,
}

impl Opens {
    fn new(scope: &str) -> Self {
        match scope {
            "https://www.googleapis.com/auth/devstorage.read_write" => Opens::Storage,
            "https://www.googleapis.com/auth/cloud-platform" => Opens::Accounts,
            _ => Opens::Nothing,
        }
    }
}

#[derive(Debug)]
pub struct TokenServer {
    url: String,
    given: u64,
    /// Tokens that are accepted now.
    valid: Vec<(String, Opens)>,
    /// What `expires_in` says.
    pub lifetime: u64,
}

impl TokenServer {
    pub fn new(url: &str) -> Self {
        TokenServer { url: url.into(), given: 0, valid: Vec::new(), lifetime: 3600 }
    }

    /// Whether a token that was given opens the storage.
    pub fn accepts(&self, header: &str) -> bool {
        self.opens(header, Opens::Storage)
    }

    fn opens(&self, header: &str, what: Opens) -> bool {
        let fits = |opens| opens == what || opens == Opens::Both;
        self.valid.iter().any(|(token, opens)| fits(*opens) && header == format!("Bearer {token}"))
    }

    /// From now on, no token that was given is any good.
    pub fn revoke(&mut self) {
        self.valid.clear();
    }

    fn give(&mut self, kind: &str, opens: Opens) -> String {
        self.given += 1;
        let token = format!("ya29.SECRET-TOKEN-{kind}-{}", self.given);
        self.valid.push((token.clone(), opens));
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
    let invalid = |what: &str| Answer {
        status: 400,
        ..Answer::json(&json!({ "error": "invalid_request", "error_description": what }))
    };
    let tokens = &mut state.tokens;
    let path = request.path.as_str();
    match (path, field("grant_type")) {
        ("/token", "urn:ietf:params:oauth:grant-type:jwt-bearer") => {
            match claims(field("assertion")).filter(|claims| tokens.believes(claims)) {
                Some(claims) => {
                    tokens.answer("service", Opens::new(claims["scope"].as_str().unwrap_or_default()))
                }
                None => refused("bad assertion"),
            }
        }
        ("/token", "refresh_token")
            if (field("client_id"), field("client_secret")) != ("id", "SECRET-CLIENT") =>
        {
            invalid("no such client")
        }
        ("/token", "refresh_token") if field("refresh_token") == "SECRET-REFRESH" => {
            tokens.answer("user", Opens::Both)
        }
        ("/sts", "urn:ietf:params:oauth:grant-type:token-exchange") => {
            let wanted = [
                ("audience", "//iam.googleapis.com/pool"),
                ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
                ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
            ];
            match wanted.iter().find(|(name, value)| field(name) != *value) {
                Some((name, _)) => invalid(name),
                None if field("subject_token") != "SECRET-SUBJECT" => refused("bad subject token"),
                None => tokens.answer("federated", Opens::new(field("scope"))),
            }
        }
        (path, _) if path.starts_with("/impersonate/") => {
            let bearer = request.header("authorization").unwrap_or_default();
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            if !tokens.opens(bearer, Opens::Accounts) {
                return Answer::refusal(
                    403,
                    "forbidden",
                    "Permission iam.serviceAccounts.getAccessToken denied",
                );
            }
            let opens = Opens::new(body["scope"][0].as_str().unwrap_or_default());
            let token = tokens.give("impersonated", opens);
            let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(tokens.lifetime as i64);
            Answer::json(&json!({ "accessToken": token, "expireTime": end.to_string() }))
        }
        ("/subject", _) => Answer::json(&json!({ "id_token": "SECRET-SUBJECT" })),
        (path, _) if path.starts_with("/computeMetadata/") => {
            if request.header("metadata-flavor") != Some("Google") {
                return Answer::new(403, "<html>Missing Metadata-Flavor:Google header.</html>");
            }
            let opens = Opens::new(request.query("scopes").unwrap_or_default());
            tokens.answer("metadata", opens).header("metadata-flavor", "Google")
        }
        _ => refused("Bad Request"),
    }
}

impl TokenServer {
    fn answer(&mut self, kind: &str, opens: Opens) -> Answer {
        let (lifetime, token) = (self.lifetime, self.give(kind, opens));
        Answer::json(&json!({ "access_token": token, "expires_in": lifetime, "token_type": "Bearer" }))
    }

    /// Whether a claim is the account's, made for this server, and good for now and an hour at most.
    fn believes(&self, claims: &Value) -> bool {
        let seconds = |name: &str| claims[name].as_i64().unwrap_or_default();
        let now = jiff::Timestamp::now().as_second();
        claims["iss"] == "agent@test.iam.gserviceaccount.com"
            && claims["aud"] == format!("{}/token", self.url)
            && (now - 60..=now + 60).contains(&seconds("iat"))
            && (1..=3600).contains(&(seconds("exp") - seconds("iat")))
    }
}

fn claims(assertion: &str) -> Option<Value> {
    let claims = assertion.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE.decode(claims).ok()?).ok()
}
