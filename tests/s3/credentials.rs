//! Where credentials come from, by a process of its own for each, since they are found in the environment.
//! The server checks signatures.

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
    saved_and_loaded(strict, home, &format!("checksums=when_supported{query}"), env).await
}

async fn saved_and_loaded(
    strict: &StrictServer,
    home: &Path,
    query: &str,
    env: &[(&str, &str)],
) -> Result<(), String> {
    let state = home.join("state.json");
    std::fs::write(&state, "{\"step\": 1}").unwrap();
    let storage = format!("s3://{}/of?{query}", strict.server.bucket);
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

/// An endpoint that the SDK finds by itself is checked as well: its password would be in every message.
#[tokio::test]
async fn an_endpoint_with_a_password_is_refused() {
    let strict = StrictServer::start().await;
    let url = strict.server.endpoint.replace("http://", "http://user:SECRET@");
    let config = format!("[profile agent]\nregion = us-east-1\nendpoint_url = {url}\n");
    let home = aws_files(&config, &format!("[agent]\n{KEYS}"));
    let keys = [("AWS_ACCESS_KEY_ID", "strictkey"), ("AWS_SECRET_ACCESS_KEY", "strictsecret")];
    let by_variable = [keys[0], keys[1], ("AWS_REGION", "us-east-1"), ("AWS_ENDPOINT_URL_S3", &url)];
    for (query, env) in [("&profile=agent", &[][..]), ("", &by_variable)] {
        let error = persist(&strict, home.path(), query, env).await.unwrap_err();
        assert!(error.contains("endpoint_url: leave out user, password"), "{error}");
        assert!(!error.contains("SECRET"), "{error}");
    }
}

/// What roles answer: keys with an end, in these words.
fn of_role(expiration: &str) -> String {
    format!(
        r#"{{"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2020-01-01T00:00:00Z", "AccessKeyId": "strictkey",
            "SecretAccessKey": "strictsecret", "Token": "session", "Expiration": "{expiration}"}}"#
    )
}

/// ECS, and EKS Pod Identity: an address in the environment, with a token.
#[tokio::test]
async fn a_containers_role() {
    let strict = StrictServer::start().await;
    let soon = std::time::SystemTime::now() + std::time::Duration::from_secs(2);
    let soon =
        aws_smithy_types::DateTime::from(soon).fmt(aws_smithy_types::date_time::Format::DateTime).unwrap();
    for (expiration, renewed) in [("2999-01-01T00:00:00Z", false), (&*soon, true)] {
        let proxy = Proxy::start(&strict.server.endpoint).await;
        proxy.fail(999, "GET", "/credentials", Fault::answer_with(200, &[], &of_role(expiration)));
        let home = aws_files("", "");
        let env = [
            ("AWS_ENDPOINT_URL", &*proxy.url()),
            ("AWS_REGION", "us-east-1"),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("{}/credentials", proxy.url())),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "of the container"),
        ];
        persist(&strict, home.path(), "", &env).await.unwrap();
        let log = proxy.log();
        let (asked, signed): (Vec<_>, Vec<_>) = log.iter().partition(|seen| seen.target == "/credentials");
        assert!(asked.iter().all(|seen| seen.head.header("authorization") == Some("of the container")));
        // Two processes; what ends soon is fetched again for each request behind the first.
        assert_eq!(asked.len() > 2, renewed, "{} times", asked.len());
        assert!(signed.len() > 2);
        assert!(signed.iter().all(|seen| seen.head.header("x-amz-security-token") == Some("session")));
    }
}

/// EC2: a token first (IMDSv2), then the role's name, then its keys.
#[tokio::test]
async fn an_instances_role() {
    let strict = StrictServer::start().await;
    let proxy = Proxy::start(&strict.server.endpoint).await;
    let ttl = [("x-aws-ec2-metadata-token-ttl-seconds", "21600")];
    let keys = of_role("2999-01-01T00:00:00Z");
    proxy.fail(99, "PUT", "/latest/api/token", Fault::answer_with(200, &ttl, "of the instance"));
    proxy.fail(99, "GET", "/agent", Fault::answer_with(200, &[], &keys));
    proxy.fail(99, "GET", "/iam/", Fault::answer_with(200, &[], "agent"));
    let home = aws_files("", "");
    let env = [
        ("AWS_ENDPOINT_URL", &*proxy.url()),
        ("AWS_REGION", "us-east-1"),
        ("AWS_EC2_METADATA_DISABLED", "false"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &*proxy.url()),
    ];
    persist(&strict, home.path(), "", &env).await.unwrap();
    let log = proxy.log();
    let asked: Vec<_> = log.iter().filter(|seen| seen.target.contains("/meta-data/")).collect();
    assert!(asked.len() >= 4, "{asked:?}");
    assert!(asked.iter().all(|seen| seen.head.header("x-aws-ec2-metadata-token") == Some("of the instance")));
    let signed: Vec<_> = log.iter().filter(|seen| seen.fault == Fault::Pass).collect();
    assert!(signed.len() > 2);
    assert!(signed.iter().all(|seen| seen.head.header("x-amz-security-token") == Some("session")));
}

/// A machine whose metadata server gives nobody a role says so at once, and is not asked again and again.
#[tokio::test]
async fn a_machine_without_a_role() {
    let strict = StrictServer::start().await;
    let proxy = Proxy::start(&strict.server.endpoint).await;
    proxy.fail(999, "PUT", "/latest/api/token", Fault::answer_with(403, &[], ""));
    let env = [
        ("AWS_ENDPOINT_URL", &*proxy.url()),
        ("AWS_REGION", "us-east-1"),
        ("AWS_EC2_METADATA_DISABLED", "false"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &*proxy.url()),
        ("PERSIST_RETRY_ATTEMPTS", "8"),
        ("PERSIST_RETRY_INITIAL_DELAY", "1ms"),
    ];
    let home = aws_files("", "");
    let error = persist(&strict, home.path(), "", &env).await.unwrap_err();
    assert!(error.contains("the AWS credentials could not be fetched; check the profile"), "{error}");
    assert!(!error.contains("retrying"), "{error}");
    // The SDK asks four times by itself.
    assert!(proxy.log().len() <= 4, "{}", proxy.log().len());
}

/// What the SDK's own settings say of checksums is honoured at other servers than Amazon's, too.
#[tokio::test]
async fn checksums_by_the_settings_of_the_sdk() {
    let strict = StrictServer::start().await;
    let profile = |line: &str| {
        let config = format!("[profile agent]\nregion = us-east-1\n{line}\n");
        aws_files(&config, &format!("[agent]\n{KEYS}"))
    };
    let none = "".to_string();
    for (line, variable, sent, compared) in [
        (&none, None, false, false),
        (&"request_checksum_calculation = when_supported".to_string(), None, true, true),
        (&none, Some(("AWS_REQUEST_CHECKSUM_CALCULATION", "WHEN_SUPPORTED")), true, true),
        (&none, Some(("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_supported")), false, true),
        (
            &"request_checksum_calculation = when_supported".to_string(),
            Some(("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")),
            true,
            false,
        ),
    ] {
        let proxy = Proxy::start(&strict.server.endpoint).await;
        let home = profile(line);
        let url = proxy.url();
        let env: Vec<_> =
            [("AWS_ENDPOINT_URL", &*url), ("AWS_PROFILE", "agent")].into_iter().chain(variable).collect();
        saved_and_loaded(&strict, home.path(), "", &env).await.unwrap();
        let log = proxy.log();
        let state = |method: &str, header: &str| {
            let mut seen =
                log.iter().filter(|seen| seen.method == method && seen.target.contains("/of/state"));
            seen.next().unwrap().head.header(header).is_some()
        };
        let found = (state("PUT", "x-amz-checksum-crc32"), state("GET", "x-amz-checksum-mode"));
        assert_eq!(found, (sent, compared), "{line} {variable:?}");
    }
}

/// As a mounted secret has it. No header can hold that, and the SDK would not look.
#[tokio::test]
async fn a_line_break_in_a_key_is_told() {
    let strict = StrictServer::start().await;
    let home = aws_files("", "");
    let base = [
        ("AWS_ENDPOINT_URL", &*strict.server.endpoint),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "strictkey"),
        ("AWS_SECRET_ACCESS_KEY", "strictsecret"),
    ];
    persist(&strict, home.path(), "", &base).await.unwrap();
    for (name, value, shown) in [
        ("AWS_ACCESS_KEY_ID", "strictkey\n", "access key id"),
        ("AWS_SECRET_ACCESS_KEY", "strictsecret\n", "secret access key"),
        ("AWS_SESSION_TOKEN", "tok\u{e9}n", "session token"),
        ("AWS_REGION", "us-\u{e9}ast-1", "region"),
        ("PERSIST_S3_ACCESS_KEY_ID", "strictkey\n", "access_key_id"),
    ] {
        let more = [(name, value), ("PERSIST_S3_SECRET_ACCESS_KEY", "strictsecret")];
        let more = &more[..if name.starts_with("PERSIST") { 2 } else { 1 }];
        let env: Vec<_> = base.iter().chain(more).copied().collect();
        let error = persist(&strict, home.path(), "", &env).await.unwrap_err();
        assert!(error.to_lowercase().contains(shown), "{name}: {error}");
        assert!(!error.contains("strictkey") && !error.contains("strictsecret"), "{name}: {error}");
    }
}
