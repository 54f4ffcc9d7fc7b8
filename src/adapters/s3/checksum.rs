//! The CRC32 of whole objects, which S3 keeps beside them: sent with a large upload, compared at the end of a
//! load.

use aws_sdk_s3::{operation::get_object::GetObjectOutput, types::ChecksumType};
use aws_smithy_types::base64;
use futures_util::stream::try_unfold;

use super::fail::fail;
use crate::{Body, ErrorKind};

/// As S3 writes it: base64 of the big-endian bytes.
pub(super) fn text(hasher: crc32fast::Hasher) -> String {
    base64::encode(hasher.finalize().to_be_bytes())
}

/// What an answer that holds the whole object says its CRC32 is. One made of the parts' (`…-N`) says nothing
/// about the bytes.
pub(super) fn told(output: &GetObjectOutput) -> Option<String> {
    let composite = output.checksum_type() == Some(&ChecksumType::Composite);
    output.checksum_crc32().filter(|sum| !composite && !sum.contains('-')).map(str::to_string)
}

/// Fails at the end of a whole object whose CRC32 is not `expected`, also where it came over several
/// connections, which the SDK does not compare.
pub(super) fn verified(body: Body, expected: String) -> Body {
    let len = body.len();
    let state = (body, crc32fast::Hasher::new(), expected);
    let stream = try_unfold(state, |(mut body, mut hasher, expected)| async move {
        match body.chunk().await? {
            Some(chunk) => {
                hasher.update(&chunk);
                Ok(Some((chunk, (body, hasher, expected))))
            }
            None if text(hasher) == expected => Ok(None),
            None => Err(damaged()),
        }
    });
    let body = Body::from_stream(stream);
    len.into_iter().fold(body, Body::with_len)
}

/// The bytes are not those that were stored.
pub(super) fn damaged() -> crate::Error {
    fail(ErrorKind::Corrupt, "the bytes do not match the service's checksum")
        .with_advice("load again")
        .with_operation("get")
}
