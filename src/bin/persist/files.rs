//! Folders that commands make for the files that they write.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use persist::{Error, ErrorKind, Result};

/// Makes a folder, and those that it is in, where they are missing: durably, as what is written to it.
///
/// # Errors
/// `InvalidInput` where something else has its name, and as the operating system refuses.
pub(crate) fn make_folder(path: &Path) -> Result<()> {
    let missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let made: Vec<&Path> = path.ancestors().take_while(missing).collect();
    fs::create_dir_all(path).map_err(|error| {
        let kind = match error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory | io::ErrorKind::NotFound => {
                ErrorKind::InvalidInput
            }
            _ => ErrorKind::Io,
        };
        Error::new(kind, format!("the folder {} cannot be made", path.display())).with_source(error)
    })?;
    for made in made {
        // Not every file system lets a directory be opened for that.
        if let Ok(above) = File::open(folder(made)) {
            let _ = above.sync_all();
        }
    }
    Ok(())
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
