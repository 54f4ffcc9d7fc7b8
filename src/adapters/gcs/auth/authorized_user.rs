//! What `gcloud auth application-default login` leaves behind: a refresh token of a person.

use url::Url;

use super::{
    Fetched,
    fields::{Fields, secure},
    oauth,
};
use crate::{Result, Secret};

const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

#[derive(Debug)]
pub(super) struct AuthorizedUser {
    token_uri: Url,
    client_id: String,
    client_secret: Secret,
    refresh_token: Secret,
}

impl AuthorizedUser {
    pub(super) fn new(fields: Fields<'_>) -> Result<Self> {
        Ok(AuthorizedUser {
            token_uri: secure("token_uri", fields.optional("token_uri").unwrap_or(TOKEN_URI))?,
            client_id: fields.text("client_id")?.into(),
            client_secret: fields.secret("client_secret")?,
            refresh_token: fields.secret("refresh_token")?,
        })
    }

    pub(super) async fn fetch(&self, http: &reqwest::Client) -> Result<Fetched> {
        let form = [
            ("grant_type", "refresh_token"),
            ("client_id", &self.client_id),
            ("client_secret", self.client_secret.expose()),
            ("refresh_token", self.refresh_token.expose()),
        ];
        oauth::exchange(http, &self.token_uri, &form, oauth::of_a_login).await
    }
}
