//! The uploads that this process is at: the clean-up of one save must not take another's for what a lost
//! answer left.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use crate::lock::lock;

/// Of all adapters: several may write to one bucket.
static ALL: Mutex<Vec<Arc<Ongoing>>> = Mutex::new(Vec::new());

#[derive(Debug)]
struct Ongoing {
    /// The server, if it is not Amazon's.
    endpoint: Option<String>,
    bucket: String,
    name: String,
    /// None until its creation is answered.
    id: OnceLock<String>,
}

/// An upload that is under way until this is dropped.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<Ongoing>);

impl UnderWay {
    /// To be called before the service hears of it.
    pub(super) fn new(endpoint: Option<&str>, bucket: &str, name: &str) -> UnderWay {
        let endpoint = endpoint.map(str::to_string);
        let upload = Ongoing { endpoint, bucket: bucket.into(), name: name.into(), id: OnceLock::new() };
        let upload = Arc::new(upload);
        all().push(upload.clone());
        UnderWay(upload)
    }

    pub(super) fn begun(&self, id: &str) {
        let _ = self.0.id.set(id.into());
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        all().retain(|upload| !Arc::ptr_eq(upload, &self.0));
    }
}

fn all() -> MutexGuard<'static, Vec<Arc<Ongoing>>> {
    lock(&ALL)
}

/// The ids of all uploads of this object that are under way. None where one has no id yet: it may be any that
/// the service shows.
pub(super) fn ids(endpoint: Option<&str>, bucket: &str, name: &str) -> Option<Vec<String>> {
    let all = all();
    let here = all.iter().filter(|upload| {
        (upload.endpoint.as_deref(), &*upload.bucket, &*upload.name) == (endpoint, bucket, name)
    });
    here.map(|upload| upload.id.get().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_is_known_from_before_its_creation_to_its_end() {
        let of = |name| ids(Some("here"), "under-way", name);
        let new = || UnderWay::new(Some("here"), "under-way", "a");
        let _elsewhere = UnderWay::new(None, "under-way", "a");
        assert_eq!(of("a"), Some(Vec::new()));
        let (first, second) = (new(), new());
        first.begun("1");
        assert_eq!((of("a"), of("b")), (None, Some(Vec::new())));
        second.begun("2");
        assert_eq!(of("a"), Some(vec!["1".into(), "2".into()]));
        drop(first);
        assert_eq!(of("a"), Some(vec!["2".into()]));
    }
}
