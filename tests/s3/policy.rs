//! The policy in `docs/s3.md`: everything works with exactly these permissions, and each of them is needed.

use std::collections::BTreeSet;

use persist::{
    DeleteOptions, ErrorKind, ListOptions, PutOptions, SnapshotAdapter, SnapshotAdapterExt, Tier,
    adapters::s3::S3Adapter,
};

use crate::{
    bench::{key, kind, noise},
    support::{
        proxy::{Fault, Proxy},
        s3::{LARGE, quick},
        s3_server::{BUCKET, StrictServer},
    },
};

/// Actions and resources of the page's policy, for the bucket of the test.
fn policy() -> Vec<(String, String)> {
    let page = include_str!("../../docs/s3.md");
    let (_, rest) = page.split_once("```json\n").unwrap();
    let (json, _) = rest.split_once("```").unwrap();
    let policy: serde_json::Value = serde_json::from_str(&json.replace("my-bucket", BUCKET)).unwrap();
    let mut allowed = Vec::new();
    for statement in policy["Statement"].as_array().unwrap() {
        assert_eq!(statement["Effect"], "Allow");
        for action in statement["Action"].as_array().unwrap() {
            allowed.push((action.as_str().unwrap().into(), statement["Resource"].as_str().unwrap().into()));
        }
    }
    allowed
}

#[tokio::test]
async fn the_page_names_exactly_what_is_needed() {
    let strict = StrictServer::start().await;
    let proxy = Proxy::start(&strict.server.endpoint).await;
    let server = strict.server.behind(proxy.url());
    strict.store().allowed = Some(policy());
    let adapter = S3Adapter::open_under(BUCKET, "agents", &server.config, &quick()).await.unwrap();
    let can = adapter.capabilities();
    assert!(can.create && can.replace && can.create_large && can.conditional_delete && can.tiers, "{can:?}");
    assert!(!can.tags, "tags need more");
    for (name, len) in [("agents/small", 1000), ("agents/large", LARGE)] {
        let (key, bytes) = (key(name), noise(1, len));
        let meta = adapter.put(&key, bytes.clone().into(), PutOptions::new().create()).await.unwrap();
        let meta = adapter.put(&key, bytes.clone().into(), PutOptions::new().replace(meta.version)).await;
        assert!(adapter.load(name).await.unwrap() == bytes);
        adapter.set_tier(&key, Tier::Cool).await.unwrap();
        assert_eq!(adapter.head(&key).await.unwrap().tier, Some(Tier::Cool));
        let listed = futures_util::TryStreamExt::try_next(&mut adapter.list(ListOptions::new())).await;
        assert_eq!(listed.unwrap().unwrap().name(), name);
        adapter.delete(&key, DeleteOptions::new().if_version(meta.unwrap().version)).await.unwrap();
        assert!(!adapter.exists(name).await.unwrap());
    }
    // An upload whose creation was answered into the void is looked for and removed.
    proxy.fail(1, "POST", "uploads", Fault::Swallow);
    adapter.put(&key("agents/large"), noise(1, LARGE).into(), PutOptions::new()).await.unwrap();
    assert!(strict.store().uploads.is_empty());
    let (well, text) = super::doctor::doctor(&strict, &["--clean-uploads"]).await;
    assert!(well, "{text}");
    let named: BTreeSet<_> = policy().into_iter().map(|(action, _)| action).collect();
    assert_eq!(strict.store().used, named);
    let elsewhere = adapter.put(&key("others/small"), "state".into(), PutOptions::new()).await;
    assert_eq!(kind(elsewhere), ErrorKind::AccessDenied);
}

#[tokio::test]
async fn tags_need_what_the_table_says() {
    let strict = StrictServer::start().await;
    let tags = ["s3:GetObjectTagging", "s3:PutObjectTagging"];
    let all = format!("arn:aws:s3:::{BUCKET}/agents/*");
    strict.store().allowed =
        Some(policy().into_iter().chain(tags.map(|action| (action.into(), all.clone()))).collect());
    let adapter = S3Adapter::open_under(BUCKET, "agents", &strict.server.config, &quick()).await.unwrap();
    let tagged = key("agents/tagged");
    for len in [10, LARGE] {
        adapter.put(&tagged, noise(1, len).into(), PutOptions::new().tag("team", "a")).await.unwrap();
        adapter.set_tier(&tagged, Tier::Cool).await.unwrap();
        assert_eq!(adapter.head(&tagged).await.unwrap().tags["team"], "a");
    }
    // Who may not see them loads all the same.
    strict.store().allowed = Some(policy());
    let object = adapter.get(&tagged, Default::default()).await.unwrap();
    assert!(object.meta.tags.is_empty() && object.body.collect(u64::MAX).await.unwrap() == noise(1, LARGE));
}
