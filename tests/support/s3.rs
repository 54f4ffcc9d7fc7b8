//! S3 servers and adapters for them.

use std::time::Duration;

use persist::{RetryConfig, S3Config, adapters::s3::S3Adapter};

use super::service;

/// A running server: its endpoint, which a proxy may replace, and the configuration and bucket for it.
#[derive(Debug, Clone)]
pub struct Server {
    pub endpoint: String,
    pub config: S3Config,
    pub bucket: String,
}

/// The server that `scripts/services up` calls by this name.
pub fn running(name: &str) -> Server {
    let variable = |what: &str| service(&format!("SVC_{name}_{what}"));
    let endpoint = variable("ENDPOINT");
    let config = S3Config {
        region: Some(variable("REGION")),
        access_key_id: Some(variable("ACCESS_KEY").into()),
        secret_access_key: Some(variable("SECRET_KEY").into()),
        ..small(&endpoint)
    };
    Server { endpoint, config, bucket: variable("BUCKET") }
}

/// The smallest parts that S3 takes, two at once: 11 MiB are three parts, and more than conditions are
/// trusted for.
pub fn small(endpoint: &str) -> S3Config {
    S3Config {
        endpoint_url: Some(endpoint.into()),
        part_size: Some(5 << 20),
        parallel: Some(2),
        read_timeout: Some(Duration::from_secs(10)),
        attempt_timeout: Some(Duration::from_secs(20)),
        ..S3Config::default()
    }
}

/// Larger than what goes in one request with [`small`], conditional or not.
pub const LARGE: usize = (11 << 20) + 4321;

impl Server {
    /// The same server behind another endpoint.
    pub fn behind(&self, endpoint: String) -> Server {
        let config = S3Config { endpoint_url: Some(endpoint.clone()), ..self.config.clone() };
        Server { endpoint, config, ..self.clone() }
    }

    pub async fn open(&self) -> S3Adapter {
        self.open_with(&quick()).await
    }

    pub async fn open_with(&self, retry: &RetryConfig) -> S3Adapter {
        S3Adapter::open(&self.bucket, &self.config, retry).await.unwrap()
    }
}

/// Retries that do not make tests wait.
pub fn quick() -> RetryConfig {
    RetryConfig {
        max_attempts: 6,
        initial_delay: Duration::from_millis(5),
        max_delay: Duration::from_secs(2),
        deadline: Duration::from_secs(60),
    }
}
