//! Where credentials come from, by a process of its own for each, since they are found in the environment. The server checks signatures.

use std::path::Path;

use crate::support::{
    proxy::{Fault, Proxy},
    s3_server::StrictServer,
};

const KEYS: &str = "aws_access_key_id = strictkey\naws_secret_access_key = strictsecret\n";

/// A save and a load by `persist`, which knows what `env` says and nothing else of AWS.
async fn persist(
    strict: &StrictServer,
    home: &Path,
    query: &str,
    env: &[(&str, &str)],
) -> Result<(), String> {
    let state = home.join("state.json");
    std::fs::write(&state, "{\"step\": 1}").unwrap();
    let storage = format!("s3://{}/of?checksums=when_supported{query}", strict.server.bucket);
    for arguments in [&["save", "state", state.to_str().unwrap()][..], &["load", "state"]] {
        let run = tokio::process::Command::new(env!("CARGO_BIN_EXE_persist"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", home)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("PERSIST_RETRY_ATTEMPTS", "2")
            .envs(env.iter().copied())
            .args(["--storage", &storage])
            .args(arguments)
            .output()
            .await
            .unwrap();
        if !run.status.success() {
            return Err(String::from_utf8(run.stderr).unwrap());
        }
        assert!(arguments[0] == "save" || run.stdout == b"{\"step\": 1}");
    }
    Ok(())
}

fn aws_files(config: &str, credentials: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".aws")).unwrap();
    std::fs::write(home.path().join(".aws/config"), config).unwrap();
    std::fs::write(home.path().join(".aws/credentials"), credentials).unwrap();
    home
}

#[tokio::test]
async fn a_shared_profile() {
    let strict = StrictServer::start().await;
    let config = format!("[profile agent]\nregion = us-east-1\nendpoint_url = {}\n", strict.server.endpoint);
    let wrong = "[default]\naws_access_key_id = strictkey\naws_secret_access_key = wrong\n";
    let home = aws_files(&config, &format!("{wrong}[agent]\n{KEYS}"));
    persist(&strict, home.path(), "&profile=agent", &[]).await.unwrap();
    persist(&strict, home.path(), "", &[("AWS_PROFILE", "agent")]).await.unwrap();
    let url = [("AWS_ENDPOINT_URL", &*strict.server.endpoint), ("AWS_REGION", "us-east-1")];
    let error = persist(&strict, home.path(), "", &url).await.unwrap_err();
    assert!(error.contains("the secret access key is wrong"), "{error}");
}

#[tokio::test]
async fn a_process_that_prints_them() {
    let strict = StrictServer::start().await;
    let home = aws_files("", "");
    let keys = home.path().join("keys.json");
    let told = r#"{"Version": 1, "AccessKeyId": "strictkey", "SecretAccessKey": "strictsecret", "Expiration": "2999-01-01T00:00:00Z"}"#;
    std::fs::write(&keys, told).unwrap();
    let config = format!(
        "[profile process]\nregion = us-east-1\nendpoint_url = {}\ncredential_process = cat {}\n",
        strict.server.endpoint,
        keys.display()
    );
    std::fs::write(home.path().join(".aws/config"), config).unwrap();
    persist(&strict, home.path(), "&profile=process", &[]).await.unwrap();
    std::fs::remove_file(&keys).unwrap();
    let error = persist(&strict, home.path(), "&profile=process", &[]).await.unwrap_err();
    assert!(error.contains("credentials"), "{error}");
}

#[tokio::test]
async fn a_web_identity() {
    let strict = StrictServer::start().await;
    let proxy = Proxy::start(&strict.server.endpoint).await;
    let home = aws_files("", "");
    let token = home.path().join("token");
    std::fs::write(&token, "a.web.identity").unwrap();
    let answer = "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
        <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>strictkey</AccessKeyId>\
        <SecretAccessKey>strictsecret</SecretAccessKey><SessionToken>session</SessionToken>\
        <Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>\
        </AssumeRoleWithWebIdentityResponse>";
    proxy.fail(2, "POST", "/", Fault::answer_with(200, &[("content-type", "text/xml")], answer));
    let env = [
        ("AWS_ENDPOINT_URL", &*proxy.url()),
        ("AWS_REGION", "us-east-1"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/agent"),
    ];
    persist(&strict, home.path(), "", &env).await.unwrap();
    let log = proxy.log();
    let asked = log.iter().filter(|seen| seen.fault != Fault::Pass).count();
    assert_eq!(asked, 2, "once by each process");
    let signed = log.iter().filter(|seen| seen.fault == Fault::Pass);
    assert!(signed.clone().count() > 2);
    assert!(signed.clone().all(|seen| seen.head.header("x-amz-security-token") == Some("session")));
}
