//! The pages: every block of Rust in them compiles, because it stands, word for word, in a function here or in
//! another test; every link leads somewhere; what is logged as a warning is listed.
#![cfg(all(feature = "gcs", feature = "s3"))]
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where the blocks may stand.
const COMPILED: [&str; 3] =
    [include_str!("pages.rs"), include_str!("conformance.rs"), include_str!("sessions_guide.rs")];

fn words(text: &str) -> String {
    // rustfmt may break lines and indents them; comments stay.
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_block_is_compiled() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs.chain([root.join("README.md"), root.join("CONTRIBUTING.md")]);
    let compiled = COMPILED.map(words).concat();
    let mut blocks = 0;
    for page in pages.filter(|path| path.extension().is_some_and(|end| end == "md")) {
        let text = fs::read_to_string(&page).unwrap();
        for block in text.split("```rust\n").skip(1) {
            let block = block.split("```").next().unwrap();
            assert!(compiled.contains(&words(block)), "{}: not compiled:\n{block}", page.display());
            blocks += 1;
        }
    }
    assert!(blocks >= 3, "only {blocks} blocks were found");
}

#[test]
fn every_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let adr = fs::read_dir(root.join("docs/adr")).unwrap();
    let pages = fs::read_dir(root.join("docs")).unwrap().chain(fs::read_dir(root).unwrap()).chain(adr);
    let pages = pages.map(|entry| entry.unwrap().path());
    let mut links = 0;
    for page in pages.filter(|path| path.extension().is_some_and(|end| end == "md")) {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            assert!(target.exists(), "{}: {link}", page.display());
            let heading = |line: &str| line.starts_with('#') && slug(line) == anchor;
            let found = anchor.is_empty() || fs::read_to_string(&target).unwrap().lines().any(heading);
            assert!(found, "{}: no heading for {link}", page.display());
            links += 1;
        }
    }
    assert!(links > 50, "only {links} links were found");
}

/// People alert on what is logged as a warning.
#[test]
fn every_warning_is_listed() {
    // Told once at the start of a program, to who set it up.
    const TOLD_AT_THE_START: [&str; 2] =
        ["no permission to look for a configuration file", "this program logs `yup_oauth2` at level debug"];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/operations.md")).unwrap();
    let mut warnings = 0;
    for file in sources(&root.join("src")) {
        let text = fs::read_to_string(&file).unwrap();
        for call in text.split("tracing::warn!(").skip(1).chain(text.split("tracing::error!(").skip(1)) {
            let message = call.split('"').nth(1).unwrap();
            let listed = page.contains(&format!("`{}", message.split([';', ':']).next().unwrap()));
            let told = TOLD_AT_THE_START.iter().any(|start| message.starts_with(start));
            assert!(listed || told, "{}: {message:?} is not in docs/operations.md", file.display());
            warnings += 1;
        }
    }
    assert!(warnings > 10, "only {warnings} warnings were found");
}

/// The files of the library.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("src/bin") {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
    files
}

/// Who copies an example has its ids for ever: no erasure can rename them.
#[test]
fn no_example_names_a_person() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    for page in docs.chain([root.join("README.md")]).filter(|path| path.is_file()) {
        let text = fs::read_to_string(&page).unwrap();
        assert!(!text.contains("@example."), "{}", page.display());
    }
}

/// The anchor of a heading, as web sites that show Markdown make it.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Only compiled: it would save where the settings of whoever runs it say.
#[expect(dead_code)]
mod readme {
    use persist::{
        StorageConfig,
        sessions::{At, Sessions},
    };

    #[tokio::main]
    async fn main() -> persist::Result<()> {
        // PERSIST_STORAGE_URL=s3://bucket/prefix, or local disk where nothing is set.
        let store = StorageConfig::from_env()?.open().await?;
        let session = Sessions::new(store)?.session("support-bot", "conversation-7")?;
        session.save(r#"{"step": 7}"#).await?;
        let newest = session.load(At::Latest).await?; // or a number, a tag, a time
        println!("commit {}: {}", newest.commit.seq, String::from_utf8_lossy(&newest.state));
        Ok(())
    }
}

#[tokio::test]
async fn readme_one_state() -> persist::Result<()> {
    let store = persist::StorageConfig::from_url("memory://")?.open().await?;
    use persist::SnapshotAdapterExt;

    store.save(r#"{"step": 7}"#, "agents/42/state.json.gz").await?;
    let state = store.load("agents/42/state.json.gz").await?;
    assert_eq!(state, r#"{"step": 7}"#);
    Ok(())
}

#[tokio::test]
async fn readme_read_change_save() -> persist::Result<()> {
    use persist::{SaveOptions, SnapshotAdapterExt};
    const KEY: &str = "state.json.gz";
    #[derive(serde::Serialize, serde::Deserialize)]
    struct State {
        step: u64,
    }
    let store = persist::StorageConfig::from_url("memory://")?.open().await?;
    store.save_json(&State { step: 7 }, KEY).await?;

    let (mut state, version) = store.load_json_versioned::<State>(KEY).await?;
    state.step += 1;
    let unchanged = SaveOptions::new().replace(version);
    store.save_json_with(&state, KEY, unchanged).await?; // `Conflict` where somebody was faster: load again
    assert_eq!(store.load_json::<State>(KEY).await?.step, 8);
    Ok(())
}

#[tokio::test]
async fn readme_sessions() -> persist::Result<()> {
    use persist::sessions::{At, Sessions};
    let store = persist::StorageConfig::from_url("memory://")?.open().await?;
    let again = Sessions::new(store.clone())?.session("support-bot", "conversation-7")?;
    let state = 7;

    let session = Sessions::new(store)?.session("support-bot", "conversation-7")?;
    session.save_json(&state).await?; // durable; a stale writer gets `Conflict`
    let newest = session.load(At::Latest).await?; // every byte is checked
    let what_if = session.fork("what-if", At::Seq(1)).await?; // copies nothing
    assert_eq!((newest.json::<u64>()?, what_if.load(At::Latest).await?.json::<u64>()?), (7, 7));
    // What the program prints when it is run again.
    assert_eq!((newest.commit.seq, again.save_json(&state).await?.seq), (1, 2));
    Ok(())
}

/// Only compiled: the bucket is nobody's.
#[expect(dead_code)]
async fn gcs() -> persist::Result<()> {
    use persist::{GcsConfig, RetryConfig, SnapshotAdapterExt, adapters::gcs::GcsAdapter};

    let store = GcsAdapter::open("my-bucket", &GcsConfig::default(), &RetryConfig::default()).await?;
    store.save("state", "agents/42/state.json.gz").await?;
    Ok(())
}

#[expect(dead_code)]
async fn s3() -> persist::Result<()> {
    use persist::{RetryConfig, S3Config, SnapshotAdapterExt, adapters::s3::S3Adapter};

    let store = S3Adapter::open("my-bucket", &S3Config::default(), &RetryConfig::default()).await?;
    store.save("state", "agents/42/state.json.gz").await?;
    Ok(())
}
