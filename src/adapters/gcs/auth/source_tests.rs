use super::*;

#[tokio::test]
async fn who_has_no_identity_bills_nobody() {
    let client = || crate::http::client(std::time::Duration::from_secs(1), false).unwrap();
    let project = || Some("project".to_owned());
    for (found, billed) in [(Found::Anonymous, None), (Found::MetadataServer(None, false), project())] {
        let credentials = Credentials::new(found, project(), client(), client()).await.unwrap();
        assert_eq!(credentials.quota_project, billed);
    }
}

/// As a pipeline does it that has the key as a text.
#[tokio::test]
async fn a_key_in_place_of_its_file_is_not_repeated() {
    for key in [
        "{\"private_key\":\"hunter2\"}",
        " {\"k\":\"hunter2\"}",
        "-----BEGIN PRIVATE KEY-----hunter2",
        "a\nhunter2",
    ] {
        let config = GcsConfig { credentials_path: Some(key.into()), ..GcsConfig::default() };
        let variable = |name: &str| (name == "GOOGLE_APPLICATION_CREDENTIALS").then(|| key.to_owned());
        for found in [
            discover(&config, false, &|_| None).await,
            discover(&GcsConfig::default(), false, &variable).await,
        ] {
            let error = found.unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(text.contains("PERSIST_GCS_CREDENTIALS_JSON") && !text.contains("hunter2"), "{text}");
        }
    }
}
