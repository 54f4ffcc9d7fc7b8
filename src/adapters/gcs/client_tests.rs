use url::Url;

use super::Client;
use crate::{GcsConfig, adapters::gcs::settings::Settings};

/// The URL of an upload session comes out of an answer: the data may follow it to Google's hosts, a token to
/// none but the endpoint.
#[tokio::test]
async fn a_token_goes_to_the_endpoint_alone() {
    let config = GcsConfig { anonymous: true, ..GcsConfig::default() };
    let client = Client::shared(Settings::new(&config, &|_| None).await.unwrap()).await.unwrap();
    for (url, data, token) in [
        ("https://storage.googleapis.com/upload?upload_id=x", true, true),
        ("https://storage.googleapis.com:443/upload", true, true),
        ("https://storage.googleapis.com:8443/upload", true, false),
        ("https://storage-upload.googleapis.com/upload", true, false),
        ("http://storage.googleapis.com/upload", false, false),
        ("https://storage.googleapis.com.example.org/upload", false, false),
        ("https://examplegoogleapis.com/upload", false, false),
        ("https://127.0.0.1/upload", false, false),
    ] {
        let to = Url::parse(url).unwrap();
        assert_eq!((client.takes_data(&to), client.trusted(&to)), (data, token), "{url}");
    }
}
