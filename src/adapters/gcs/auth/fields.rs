//! Fields of a credentials file. Read by hand: a parser's own messages may quote the value that it did not
//! like.

use serde_json::{Map, Value};
use url::{Host, Url};

use super::bad_credentials;
use crate::{Result, Secret};

/// A JSON object out of a credentials file.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    pub(super) fn new(json: &'a Value) -> Result<Self> {
        json.as_object().map(Fields).ok_or_else(|| bad_credentials("the credentials are not a JSON object"))
    }

    pub(super) fn optional(self, name: &str) -> Option<&'a str> {
        self.0.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    pub(super) fn text(self, name: &str) -> Result<&'a str> {
        self.optional(name).ok_or_else(|| bad_credentials(format!("the credentials have no `{name}`")))
    }

    pub(super) fn secret(self, name: &str) -> Result<Secret> {
        self.text(name).map(Secret::from)
    }

    pub(super) fn has(self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// Templates write `null` for what is not there.
    pub(super) fn value(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn object(self, name: &str) -> Result<Fields<'a>> {
        let object = self.0.get(name).and_then(Value::as_object);
        object.map(Fields).ok_or_else(|| bad_credentials(format!("the credentials have no object `{name}`")))
    }

    pub(super) fn texts(self, name: &str) -> Vec<String> {
        let list = self.0.get(name).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).map(Into::into).collect()
    }

    /// A URL that a secret is sent to: https, or this machine.
    pub(super) fn endpoint(self, name: &str) -> Result<Url> {
        secure(name, self.text(name)?)
    }
}

/// A URL that a secret is sent to: https, or this machine.
pub(super) fn secure(name: &str, url: &str) -> Result<Url> {
    let bad = |what: &str| bad_credentials(format!("`{name}` in the credentials {what}"));
    let url: Url = url.parse().map_err(|_| bad("is not a URL"))?;
    let local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if local => Ok(url),
        _ => Err(bad("must be an https URL: secrets are sent to it")),
    }
}

/// Whether a URL names this machine, its link or a private network.
pub(super) fn is_near(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(host)) => host.is_loopback() || host.is_private() || host.is_link_local(),
        Some(Host::Ipv6(host)) => {
            host.is_loopback() || host.is_unique_local() || host.is_unicast_link_local()
        }
        None => false,
    }
}
