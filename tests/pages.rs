//! The Rust of the pages compiles: every block in them stands, word for word, in a function here or in another test.
#![cfg(all(feature = "gcs", feature = "s3"))]
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

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

/// Only compiled: it would save where the settings of whoever runs it say.
#[expect(dead_code)]
#[rustfmt::skip]
async fn readme(state: &'static str) -> persist::Result<bytes::Bytes> {
    use persist::{SnapshotAdapterExt, StorageConfig};

    let store = StorageConfig::from_env()?.open().await?;        // PERSIST_STORAGE_URL=s3://bucket/prefix, or nothing at all
    store.save(state, "agents/42/state.json.gz").await?;         // atomic, durable, compressed, checked
    let state = store.load("agents/42/state.json.gz").await?;    // every byte verified, or an error
    Ok(state)
}

#[tokio::test]
#[rustfmt::skip]
async fn readme_sessions() -> persist::Result<()> {
    let store = persist::StorageConfig::from_url("memory://")?.open().await?;
    let state = "state";
    use persist::sessions::{At, Sessions};

    let session = Sessions::new(store)?.session("support-bot", "user@example.com")?;
    session.save(state).await?;                                  // one request, the bytes that changed; a stale writer gets `Conflict`
    let newest = session.load(At::Latest).await?.state;          // or a number, a tag, a time
    let what_if = session.fork("what-if", At::Seq(1)).await?;    // a history of its own from there on
    assert_eq!((newest, what_if.load(At::Latest).await?.state), (state.into(), state.into()));
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
