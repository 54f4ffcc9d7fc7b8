//! What the strict server permits.

use s3s::{
    S3Result,
    access::{S3Access, S3AccessContext},
    path::S3Path,
    s3_error,
};

use super::s3_server::Backend;

/// The permissions that Amazon asks for:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html>.
#[async_trait::async_trait]
impl S3Access for Backend {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        if cx.credentials().is_none() {
            return Err(s3_error!(AccessDenied));
        }
        let (resource, tagged) = match cx.s3_path() {
            S3Path::Root => return Err(s3_error!(AccessDenied)),
            S3Path::Bucket { bucket } => (format!("arn:aws:s3:::{bucket}"), false),
            S3Path::Object { bucket, key } => {
                let tagged =
                    self.store().objects.get(&**key).is_some_and(|object| !object.tagging.is_empty());
                (format!("arn:aws:s3:::{bucket}/{key}"), tagged)
            }
        };
        let mut needed = match cx.s3_op().name() {
            "GetObject" | "HeadObject" => vec!["s3:GetObject"],
            "PutObject" | "CreateMultipartUpload" | "UploadPart" | "CompleteMultipartUpload" => {
                vec!["s3:PutObject"]
            }
            "CopyObject" if tagged => {
                vec!["s3:GetObject", "s3:PutObject", "s3:GetObjectTagging", "s3:PutObjectTagging"]
            }
            "CopyObject" => vec!["s3:GetObject", "s3:PutObject"],
            "GetObjectTagging" => vec!["s3:GetObjectTagging"],
            "DeleteObject" => vec!["s3:DeleteObject"],
            "AbortMultipartUpload" => vec!["s3:AbortMultipartUpload"],
            "ListParts" => vec!["s3:ListMultipartUploadParts"],
            "ListMultipartUploads" => vec!["s3:ListBucketMultipartUploads"],
            "ListObjectsV2" => vec!["s3:ListBucket"],
            _ => return Err(s3_error!(AccessDenied)),
        };
        if cx.headers().contains_key("x-amz-tagging") {
            needed.push("s3:PutObjectTagging");
        }
        if cx.headers().contains_key("if-match") {
            needed.push("s3:GetObject");
        }
        let mut store = self.store();
        needed.into_iter().try_for_each(|action| store.permit(action, &resource))
    }
}
