//! Whether a success is S3's: the login page of a gateway, a web console or a proxy in maintenance says 200
//! too, and has done nothing.

use aws_sdk_s3::{
    config::http::HttpResponse,
    operation::{RequestId, get_object::GetObjectOutput, head_object::HeadObjectOutput},
};

use super::{
    client::Shared,
    errors::{Failure, place},
};
use crate::{Error, ErrorKind, Key, meta::is_page};

/// Refuses an answer without an ETag, which each of S3's to PutObject and UploadPart has.
pub(super) fn has_etag(operation: &'static str, etag: Option<&str>, shared: &Shared) -> Result<(), Failure> {
    if etag.is_some_and(|etag| !etag.is_empty()) {
        Ok(())
    } else {
        Err(not_s3s(operation, "a success without an ETag", shared))
    }
}

/// What tells S3's answer to a GET or a HEAD. The outputs have the same accessors and no common trait.
pub(super) struct Shown<'a> {
    request_id: Option<&'a str>,
    etag: Option<&'a str>,
    dated: bool,
    /// It has headers that S3 alone gives.
    own: bool,
    content_type: Option<&'a str>,
}

macro_rules! shown {
    ($($output:ty),*) => {$(
        impl<'a> From<&'a $output> for Shown<'a> {
            fn from(output: &'a $output) -> Self {
                Shown {
                    request_id: output.request_id(),
                    etag: output.e_tag(),
                    dated: output.last_modified().is_some(),
                    own: output.metadata().is_some_and(|own| !own.is_empty())
                        || output.version_id().is_some()
                        || output.storage_class().is_some()
                        || output.server_side_encryption().is_some(),
                    content_type: output.content_type(),
                }
            }
        }
    )*};
}

shown!(GetObjectOutput, HeadObjectOutput);

impl Shown<'_> {
    /// Refuses what shows no object. Mirrors give no request id, some gateways in front of files of other
    /// programs know no ETag for them, and a web server that has one page for all paths gives that a date and
    /// an ETag. A key may say that it is a page itself.
    pub(super) fn checked(self, operation: &'static str, key: &Key, shared: &Shared) -> Result<(), Failure> {
        let name = key.as_str().to_ascii_lowercase();
        match self.request_id {
            Some(_) => Ok(()),
            None if self.own => Ok(()),
            None if self.content_type.is_some_and(is_page)
                && !name.ends_with(".html")
                && !name.ends_with(".htm") =>
            {
                Err(a_page(operation, shared))
            }
            None if self.dated => Ok(()),
            None => has_etag(operation, self.etag, shared),
        }
    }
}

/// Whether an answer that has no content with S3 is another's: a page for people, or what a gateway says of
/// every route that it does not have. Servers that give no request id send nothing there, or a document.
pub(super) fn is_anothers(answer: &HttpResponse) -> bool {
    let header = |name| answer.headers().get(name);
    let (media, length) = (header("content-type").unwrap_or_default(), header("content-length"));
    let says = match length {
        Some(length) => length.parse::<u64>().is_ok_and(|length| length > 0),
        // In chunks. No server of S3's protocol says anything as JSON.
        None => media.contains("json"),
    };
    answer.status().as_u16() != 204
        && header("x-amz-request-id").is_none()
        && (says && !media.contains("xml") || length != Some("0") && is_page(media))
}

/// The error for an answer that says something where S3 has nothing to say.
pub(super) fn anothers(operation: &'static str, shared: &Shared) -> Failure {
    not_s3s(operation, "which has content where S3 has none", shared)
}

/// The error for a page in place of S3's answer.
fn a_page(operation: &'static str, shared: &Shared) -> Failure {
    not_s3s(operation, "a page for people", shared)
}

fn not_s3s(operation: &'static str, what: &str, shared: &Shared) -> Failure {
    let text = format!(
        "the answer, {what}, is not S3's; check endpoint_url ({}) and what stands in between",
        place(shared)
    );
    let error = Error::new(ErrorKind::Unavailable, text).with_backend("s3").with_operation(operation);
    Failure { unanswered: true, ..Failure::of(error) }
}
