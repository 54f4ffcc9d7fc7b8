//! `persist doctor --clean-uploads`: uploads that crashed writers left.

use std::time::Duration;

#[cfg(feature = "s3")]
use persist::ErrorKind;
use persist::StorageConfig;

/// One line of the report for each upload that was found, and one for all.
pub(super) struct Found {
    pub(super) lines: Vec<persist::Result<String>>,
    pub(super) sum: String,
}

/// Looks for unfinished uploads under the configured prefix. `clean` removes those that were begun longer
/// ago.
///
/// `None`: there is nothing to say about this storage.
#[cfg(feature = "s3")]
pub(super) async fn look(
    config: &StorageConfig,
    clean: bool,
    older: Duration,
) -> persist::Result<Option<Found>> {
    let Some((adapter, below)) = config.open_s3().await? else { return Ok(nothing(clean)) };
    let prefix = below.map(|key| format!("{key}/")).unwrap_or_default();
    let uploads = match adapter.list_uploads(&prefix).await {
        Ok(uploads) => uploads,
        // Who only saves and loads needs no such permission.
        Err(error) if !clean && error.kind() == ErrorKind::AccessDenied => {
            let sum = "not looked for: these credentials may not list them (s3:ListBucketMultipartUploads)";
            return Ok(Some(Found { lines: vec![], sum: sum.into() }));
        }
        Err(error) if !clean && error.kind() == ErrorKind::Unsupported => {
            return Ok(Some(Found { lines: vec![], sum: format!("not looked for: {}", error.message()) }));
        }
        Err(error) => return Err(error),
    };
    let (mut lines, mut removed, mut old) = (vec![], 0, 0);
    for upload in &uploads {
        let begun = upload
            .begun
            .map_or_else(|| "at a time that the server does not tell".into(), crate::output::time);
        let line = format!("{}, begun {begun}", upload.name);
        let is_old = upload.age.is_some_and(|age| age >= older);
        old += usize::from(is_old);
        lines.push(match (clean, is_old) {
            (true, true) => adapter.abort_upload(upload).await.map(|()| {
                removed += 1;
                format!("{line}: removed")
            }),
            (true, false) => Ok(format!("{line}: left, a writer may be at it")),
            (false, _) => Ok(line),
        });
    }
    let age = match older.as_secs() {
        seconds if seconds % 3600 == 0 => format!("{} h", seconds / 3600),
        seconds => format!("{seconds} s"),
    };
    let sum = match (uploads.len(), clean) {
        (0, _) => "none".into(),
        (all, true) => format!("{removed} removed, {} left", all - removed),
        (all, false) if old > 0 => {
            format!("{all}, {old} of them older than {age}; --clean-uploads removes those")
        }
        (all, false) if uploads.iter().any(|upload| upload.age.is_none()) => {
            format!("{all}, none known to be older than {age}")
        }
        (all, false) => format!("{all}, all begun in the last {age}"),
    };
    Ok(Some(Found { lines, sum }))
}

#[cfg(not(feature = "s3"))]
pub(super) async fn look(_: &StorageConfig, clean: bool, _: Duration) -> persist::Result<Option<Found>> {
    Ok(nothing(clean))
}

fn nothing(clean: bool) -> Option<Found> {
    let sum = "this storage keeps none: an upload that ends early leaves nothing that is billed";
    clean.then(|| Found { lines: vec![], sum: sum.into() })
}
