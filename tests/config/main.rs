//! Configuration: every form that users write, every door to every setting, and who wins.
#![allow(clippy::unwrap_used)]

mod doors;
mod page;
mod places;
mod random;

use std::path::PathBuf;

use persist::{
    Codec, ErrorKind, SnapshotAdapterExt, StorageBackend, StorageConfig,
    config::{Sources, split_key, split_prefix},
};

pub(crate) fn vars(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

pub(crate) fn from_vars(pairs: &[(&str, &str)]) -> persist::Result<StorageConfig> {
    Sources::new().environment(vars(pairs))?.resolve()
}

/// The forms that the documentation promises. They must compile as they stand.
#[test]
fn the_constructors_of_issue_2_make_what_they_say() {
    assert_eq!(StorageConfig::default_local(), StorageConfig::default());
    let by_hand = StorageConfig {
        backend: StorageBackend::Local,
        local_base_path: Some(PathBuf::from("/var/lib/agents")),
        ..Default::default()
    };
    assert_eq!(by_hand, StorageConfig::local("/var/lib/agents"));
    let s3 = StorageConfig::s3_with_bucket_and_region("b".to_string(), "eu-west-1".to_string());
    assert_eq!((s3.backend, s3.bucket.as_deref()), (StorageBackend::S3, Some("b")));
    assert_eq!(s3.s3.region.as_deref(), Some("eu-west-1"));
    assert_eq!(StorageConfig::s3_with_bucket("b".to_string()).s3.region, None);
    let gcs = StorageConfig::gcs_with_bucket_prefix_and_credentials("b".to_string(), "p".to_string(), None);
    assert_eq!((gcs.bucket.as_deref(), gcs.prefix.as_deref()), (Some("b"), Some("p")));
    assert_eq!(gcs.gcs.credentials_path, None);
    assert_eq!(StorageConfig::gcs_with_bucket("b".to_string()).backend, StorageBackend::Gcs);
    let gcs = StorageConfig::gcs_with_bucket_and_credentials("b".to_string(), PathBuf::from("/key.json"));
    assert_eq!(gcs.gcs.credentials_path, Some(PathBuf::from("/key.json")));
}

#[test]
fn locations_from_urls() {
    let url = |text: &str| StorageConfig::from_url(text).unwrap();
    assert_eq!(url("/data/agents"), StorageConfig::local("/data/agents"));
    assert_eq!(url("relative"), StorageConfig::local("relative"));
    assert_eq!(url("a path?with=odd#characters%20"), StorageConfig::local("a path?with=odd#characters%20"));
    assert_eq!(url("outer:1"), StorageConfig::local("outer:1"));
    assert_eq!(url(r"C:\agents"), StorageConfig::local(r"C:\agents"));
    assert_eq!(url("file:///data/a%20b%23+"), StorageConfig::local("/data/a b#+"));
    assert_eq!(url("file://localhost/data"), StorageConfig::local("/data"));
    assert_eq!(url("FILE:/data"), StorageConfig::local("/data"));
    assert_eq!(url("memory://"), StorageConfig::memory());
    assert_eq!(url("memory:?compression=none"), StorageConfig::memory().with_codec(Codec::None));
    let config = url("s3://my.bucket-1/a/b%2Fc/?region=eu-west-1&endpoint_url=http%3A%2F%2F127.0.0.1:9000");
    assert_eq!((config.bucket.as_deref(), config.prefix.as_deref()), (Some("my.bucket-1"), Some("a/b/c")));
    assert_eq!(config.s3.region.as_deref(), Some("eu-west-1"));
    assert_eq!(config.s3.endpoint_url.as_deref(), Some("http://127.0.0.1:9000"));
    let config = url("gs://Bucket_1/user@example.com/outer:1|inner é/?project=p");
    assert_eq!(config.prefix.as_deref(), Some("user@example.com/outer:1|inner é"));
    assert_eq!((config.backend, config.gcs.project.as_deref()), (StorageBackend::Gcs, Some("p")));
    assert_eq!(url("s3://b/?region=&endpoint_url="), StorageConfig::s3_with_bucket("b".into()));
    for (text, backend) in [
        ("az://container/p?account=a", StorageBackend::Azure),
        ("sqlite:/tmp/x.db", StorageBackend::Sqlite),
        ("postgres://user:hunter2@h/db", StorageBackend::Postgres),
        ("mysql://h/db", StorageBackend::Mysql),
    ] {
        assert_eq!(url(text), StorageConfig::default().with_backend(backend));
    }
}

#[test]
fn keys_that_are_urls() {
    let split = |text: &str| split_key(text).unwrap().map(|(url, key)| (url, key.to_string()));
    assert_eq!(split("agents/42"), None);
    assert_eq!(split("outer:1|inner:2"), None);
    assert_eq!(split("s3:not-a-url"), None);
    let pair = |url: &str, key: &str| Some((url.to_string(), key.to_string()));
    assert_eq!(split("gs://bucket/a/b%20c.gz?project=p"), pair("gs://bucket?project=p", "a/b c.gz"));
    assert_eq!(split("file:///data/a%20b/c.gz"), pair("file:///data/a%20b/", "c.gz"));
    assert_eq!(split("file:///c.gz"), pair("file:///", "c.gz"));
    assert_eq!(split("memory:///c.gz"), pair("memory://", "c.gz"));
    assert_eq!(split("file:/data/c.gz"), pair("file:///data/", "c.gz"));
    // What a storage has another name for on disk is behind `//`.
    assert_eq!(split("file:///data//a:1/b%20c.gz"), pair("file:///data", "a:1/b c.gz"));
    assert_eq!(split("file:////a:1/c.gz?compression=none"), pair("file:///?compression=none", "a:1/c.gz"));
    assert_eq!(split_prefix("file:///data//a:1/").unwrap(), Some(("file:///data".into(), "a:1/".into())));
    assert_eq!(split_key("s3://bucket").unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(split_key("s3://bucket/a/../b").unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(split_prefix("s3://b/a/").unwrap(), Some(("s3://b".into(), "a/".into())));
    assert_eq!(split_prefix("s3://b").unwrap(), Some(("s3://b".into(), String::new())));
    assert_eq!(split_prefix("a/").unwrap(), None);
}

/// A folder whose name no storage gives to one is the storage if it is there, else a slip.
#[cfg(unix)]
#[test]
fn folders_in_the_urls_of_snapshots_are_not_parts_of_keys() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    for name in ["user:1", "what?", "a.", "a%252Fb"] {
        let url = format!("file://{root}/new/{}/deep/k.gz", name.replace('?', "%3F"));
        let error = split_key(&url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let fix = url.replace("/new/", "/new//");
        assert!(error.message().ends_with(&format!("write `//` where the key begins: {fix}")), "{error}");
        assert_eq!(split_key(&fix).unwrap().unwrap().0, format!("file://{root}/new"));
        split_prefix(&url).unwrap_err();
    }
    std::fs::create_dir(folder.path().join("user:1")).unwrap();
    for path in ["user:1", "user:1/new", "./user:1", "new"] {
        let (storage, key) = split_key(&format!("file://{root}/{path}/k.gz")).unwrap().unwrap();
        assert_eq!((storage, key.as_str()), (format!("file://{root}/{path}/"), "k.gz"));
    }
}

#[test]
fn no_secret_is_shown() {
    let secrets: Vec<(&str, &str)> = persist::config::SETTINGS
        .iter()
        .filter(|setting| setting.secret)
        .map(|setting| (setting.variables[0], "hunter2"))
        .collect();
    assert_eq!(secrets.len(), 5);
    // Credentials in JSON exclude no others in the configuration itself; the adapter refuses both.
    let config = from_vars(&secrets).unwrap();
    assert_eq!(config.s3.secret_access_key, Some("hunter2".into()));
    assert!(!format!("{config:?}").contains("hunter2"));
    for url in ["postgres://user:hunter2@host/db", "mysql:hunter2", "az://c?account_key=hunter2"] {
        let sources = Sources::new().url(url, "--storage").unwrap().environment(vars(&secrets)).unwrap();
        assert!(!format!("{:?}", sources.effective().unwrap()).contains("hunter2"), "{url}");
    }
}

/// In whichever place it stands: generated passwords have every character in them, also those that end a
/// host.
#[test]
fn no_password_of_a_url_in_a_wrong_place_is_shown() {
    use std::fmt::Write;
    for url in [
        "s3://AKIA:hunter2@bucket/p",
        "s3://AKIA:x/hunter2@bucket/p",
        "s3://AKIA:hunter2/x/y@bucket/p",
        "s3://AKIA:x?hunter2@bucket/p",
        "s3://AKIA%3Ax/hunter2@bucket",
        "s3://AKIA%3Ahunter2%40bucket",
        "s3://b?endpoint_url=http://u:hunter2@host",
        "s3://b?endpoint_url=http%3A%2F%2Fu%3Ahunter2%40host",
        "http://u:hunter2@host:9000/b",
        "postgres://u:x/hunter2@host/db",
        "postgres://u:x#hunter2@host/db",
        "mongodb+srv://u:x/hunter2@host/db",
    ] {
        let mut said = String::new();
        for setting in persist::config::SETTINGS.iter().filter(|setting| !setting.secret) {
            for variable in setting.variables.iter().chain(setting.generic) {
                // Where there is a password, a mistake: at the latest when the file is read.
                for place in [("PERSIST_BACKEND", "s3"), ("PERSIST_STORAGE_URL", "gs://b"), ("LANG", "C")] {
                    let pairs = vars(&[place, (variable, url)]);
                    match Sources::new().environment(pairs) {
                        Ok(sources) => {
                            write!(said, "{:?} {:?}", sources.found(), sources.effective()).unwrap();
                            write!(said, "{:?}", sources.configuration_file(None).map(drop)).unwrap();
                        }
                        Err(error) => write!(said, "{error:?}").unwrap(),
                    }
                }
            }
        }
        write!(said, "{:?}", StorageConfig::from_file(url)).unwrap();
        write!(said, "{:?}", StorageConfig::from_url(url).map(drop)).unwrap();
        write!(said, "{:?}", split_key(&format!("{url}/k")).map(drop)).unwrap();
        write!(said, "{:?}", split_key(&format!("{url}//k")).map(drop)).unwrap();
        let backends = [StorageBackend::Local, StorageBackend::S3, StorageBackend::Gcs];
        for config in [
            StorageConfig::default().with_bucket(url),
            StorageConfig::default().with_bucket("b").with_prefix(url),
            StorageConfig::default().with_bucket("b").with_namespace(url),
        ] {
            for backend in backends {
                let config = config.clone().with_backend(backend);
                let open = futures_util::FutureExt::now_or_never(config.open());
                let opened = open.expect("refused before anything is opened");
                write!(said, "{:?} {:?}", config.location(), opened.map(drop)).unwrap();
            }
        }
        assert!(!said.contains("hunter2"), "{url}: {}", around(&said, "hunter2"));
    }
}

/// A few hundred characters of a long text.
fn around(text: &str, word: &str) -> String {
    let at = text.find(word).map_or(0, |at| text[..at].chars().count());
    text.chars().skip(at.saturating_sub(300)).take(400).collect()
}

/// An `@` is a part of many ids, and no password stands before it there.
#[test]
fn what_has_no_password_is_shown_whole() {
    for url in ["s3://bucket/user@example.com/p", "file:///data/user@example.com", "gs://b?project=p"] {
        let sources = Sources::new().environment(vars(&[("PERSIST_STORAGE_URL", url)])).unwrap();
        let shown = |rows: Vec<persist::config::Effective>| {
            let row = rows.into_iter().find(|row| row.setting.name == "storage_url");
            row.and_then(|row| row.value)
        };
        assert_eq!(shown(sources.effective().unwrap()).as_deref(), Some(url));
        assert_eq!(shown(sources.found()).as_deref(), Some(url));
    }
}

/// Parsers of addresses differ: to some of them, these have a user and a password.
#[test]
fn no_address_of_a_server_smuggles_a_password_past() {
    for address in [
        "http://u:hunter2@host",
        "http:///u:hunter2@host",
        "http:\\\\u:hunter2@host",
        "http:u:hunter2@host",
        "HTTP:/u:hunter2@host",
        "http://u:p/hunter2@host",
        "http://u:p?hunter2@host",
        "//u:hunter2@host",
        "u:hunter2@host",
    ] {
        for variable in ["PERSIST_S3_ENDPOINT_URL", "PERSIST_GCS_ENDPOINT_URL"] {
            let error = from_vars(&[(variable, address)]).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(text.contains("leave user name and password out"), "{address}: {text}");
            assert!(!text.contains("hunter2"), "{address}: {text}");
        }
    }
}

#[tokio::test]
async fn opens_and_lays_namespace_below_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let config =
        StorageConfig::local(folder.path()).with_prefix("p/q").with_namespace("n").with_codec(Codec::None);
    let store = config.open().await.unwrap();
    store.save("state", "a/b").await.unwrap();
    assert_eq!(std::fs::read(folder.path().join("p/q/n/a/b")).unwrap(), b"state");
    assert_eq!(store.load("a/b").await.unwrap(), "state");
    assert_eq!(store.to_string(), format!("{}/p/q/n", persist_url(folder.path())));
}

/// Who is told where snapshots are finds them there.
#[tokio::test]
async fn the_location_is_a_url_of_the_same_storage() {
    let folder = tempfile::tempdir().unwrap();
    let long = format!("{}?", "é:".repeat(70));
    for (index, name) in
        ["plain", "user:1", "100%", "a%41", "what?", "#1", "a.", "a b+c", ".persist-tmp-x", &long, "u@x|y"]
            .into_iter()
            .enumerate()
    {
        let root = folder.path().join(if index % 2 == 0 { "root" } else { "%41 ?#" });
        let configs = [
            StorageConfig::local(&root).with_prefix(format!("p/{name}")),
            StorageConfig::local(&root).with_namespace(name),
            StorageConfig::local(root.join("")).with_prefix(name).with_namespace(format!("{name}/n")),
        ];
        for config in configs {
            let url = config.location().unwrap();
            config.open().await.unwrap().save("state", "a:b/k").await.unwrap();
            let again = StorageConfig::from_url(&url).unwrap();
            assert_eq!(again.location().unwrap(), url);
            let loaded = again.open().await.unwrap().load("a:b/k").await;
            assert_eq!(loaded.unwrap_or_else(|error| panic!("{url}: {error}")), "state");
        }
        for cloud in [StorageConfig::s3_with_bucket("b".into()), StorageConfig::gcs_with_bucket("b".into())] {
            let url = cloud.clone().with_prefix(name).with_namespace("n?").location().unwrap();
            assert_eq!(
                StorageConfig::from_url(&url).unwrap(),
                cloud.with_prefix(format!("{name}/n?")),
                "{url}"
            );
        }
    }
    assert_eq!(StorageConfig::local("/").location().unwrap(), "file:///");
    assert_eq!(StorageConfig::local("/").with_prefix("p").location().unwrap(), "file:///p");
    assert_eq!(StorageConfig::memory().with_prefix("p").location().unwrap(), "memory://");
}

fn persist_url(path: &std::path::Path) -> String {
    format!("file://{}", path.display())
}

/// What is configured holds for callers that do not say; their own word is stronger.
#[tokio::test]
async fn limits_and_the_fence_window_reach_loads_and_sessions() {
    use persist::{ErrorKind, Limits, LoadOptions, SnapshotAdapterExt, sessions::Sessions};
    let store = StorageConfig::memory().with_max_bytes(1000).with_max_ratio(7).open().await.unwrap();
    let limits = store.capabilities().settings.limits;
    assert_eq!((limits.max_bytes, limits.max_ratio), (1000, 7));
    store.save(vec![1; 1001], "key").await.unwrap();
    for error in [store.load("key").await.unwrap_err(), {
        let session = Sessions::new(store.clone()).unwrap().session("a", "s").unwrap();
        session.save(vec![1; 1001]).await.unwrap();
        let verified = session.verify().await.unwrap_err();
        assert_eq!(verified.kind(), ErrorKind::InvalidInput, "{verified}");
        session.load(1).await.unwrap_err()
    }] {
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(
            error.to_string().contains("limit of 1000 bytes; raise `max_bytes` (PERSIST_MAX_BYTES)"),
            "{error}"
        );
    }
    let options = LoadOptions::new().limits(Limits::default());
    assert_eq!(store.load_with("key", options).await.unwrap().len(), 1001);
    let window = std::time::Duration::from_secs(120);
    let store = StorageConfig::memory().with_fence_window(window).open().await.unwrap();
    assert_eq!(store.capabilities().settings.fence_window, window);
    let short = StorageConfig::memory().with_fence_window(window / 3).open().await.unwrap_err();
    assert_eq!(short.kind(), ErrorKind::InvalidConfig);
    assert!(short.to_string().contains("fence_window 40s: use 60 seconds to 30 days"), "{short}");
}

/// What variables and files refuse, code cannot slip past them either: the error comes before the first save
/// does.
#[tokio::test]
async fn values_that_no_save_could_use_are_refused_when_a_storage_is_opened() {
    let memory = StorageConfig::memory;
    for (config, says) in [
        (
            StorageConfig { codec: Some(Codec::Gzip { level: 42 }), ..memory() },
            "compression gzip:42: level 42",
        ),
        (StorageConfig { idle_timeout: Some(std::time::Duration::ZERO), ..memory() }, "idle_timeout is 0"),
        (memory().with_max_ratio(0), "max_ratio is 0"),
        (memory().with_max_bytes(0), "max_bytes is 0"),
    ] {
        let error = config.open().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.to_string().contains(says), "{error}");
    }
}

/// One range, whichever way a window is set.
#[tokio::test]
async fn a_fence_window_is_the_same_in_every_form() {
    use std::time::Duration;
    let day = Duration::from_secs(86_400);
    for (text, window) in [("60", day / 1440), ("48h", day * 2), ("3d", day * 3), ("30d", day * 30)] {
        let config = from_vars(&[("PERSIST_FENCE_WINDOW", text)]).unwrap();
        assert_eq!(config.fence_window, Some(window), "{text}");
        let url = StorageConfig::from_url(&format!("memory://?fence_window={text}")).unwrap();
        assert_eq!(url, StorageConfig::memory().with_fence_window(window));
        let store = url.open().await.unwrap();
        assert_eq!(store.capabilities().settings.fence_window, window);
        let _ = persist::sessions::Sessions::new(store).unwrap().fence_window(window).unwrap();
    }
    for (text, window) in [("59s", day / 1464), ("721h", day * 31), ("31d", day * 31)] {
        let error = from_vars(&[("PERSIST_FENCE_WINDOW", text)]).unwrap_err();
        assert!(error.message().contains("use 60 seconds to 30 days"), "{error}");
        StorageConfig::memory().with_fence_window(window).open().await.unwrap_err();
        let store = StorageConfig::memory().open().await.unwrap();
        persist::sessions::Sessions::new(store).unwrap().fence_window(window).unwrap_err();
    }
    // Other times stay at a day.
    assert!(from_vars(&[("PERSIST_RETRY_DEADLINE", "2d")]).unwrap_err().message().contains("at most 24h"));
}

/// To open a local storage is to read directories, which may take long: no work for the caller's thread.
#[cfg(unix)]
#[tokio::test]
async fn a_storage_is_not_opened_on_the_callers_thread() {
    let folder = tempfile::tempdir().unwrap();
    let config = StorageConfig::local(folder.path());
    // Once, another thread may be as fast as that.
    let at_once = || futures_util::FutureExt::now_or_never(config.open()).is_some();
    assert!((0..20).any(|_| !at_once()), "it was opened before anything else could run");
    config.open().await.unwrap();
}
