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
