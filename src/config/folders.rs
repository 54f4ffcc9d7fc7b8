//! The platform's folders (XDG Base Directory Specification; Apple's and Microsoft's own).

use std::{
    io::ErrorKind::{NotADirectory, NotFound, PermissionDenied},
    path::{Path, PathBuf},
};

use super::bad;
use crate::Result;

/// Looks up a variable of the environment.
type Variable<'a> = &'a dyn Fn(&str) -> Option<PathBuf>;

/// Where snapshots go when nothing says where.
pub(super) fn data(variable: Variable<'_>) -> Result<PathBuf> {
    let nowhere =
        || bad("there is no home directory to store in; set PERSIST_LOCAL_PATH or PERSIST_STORAGE_URL");
    folder(variable, "XDG_DATA_HOME", ".local/share", "LOCALAPPDATA").ok_or_else(nowhere)
}

/// The configuration file that is read when none is named.
pub(super) fn config_file(variable: Variable<'_>) -> Option<PathBuf> {
    Some(folder(variable, "XDG_CONFIG_HOME", ".config", "APPDATA")?.join("persist.toml"))
}

/// Whether something has this name, even if it cannot be read or is a link to nowhere.
pub(super) fn is_there(path: &Path) -> bool {
    path.symlink_metadata().map_or_else(|error| ![NotFound, NotADirectory].contains(&error.kind()), |_| true)
}

/// Whether this user may not even look.
pub(super) fn is_hidden(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|error| error.kind() == PermissionDenied)
}

/// `persist` in one of the user's folders. Relative paths in the variables are not valid (by the
/// specification of XDG).
fn folder(variable: Variable<'_>, xdg: &str, below_home: &str, windows: &str) -> Option<PathBuf> {
    let absolute = |name: &str| variable(name).filter(|path| path.is_absolute());
    let base = if cfg!(windows) {
        absolute(windows)
    } else if cfg!(target_os = "macos") {
        absolute("HOME").map(|home| home.join("Library/Application Support"))
    } else {
        absolute(xdg).or_else(|| absolute("HOME").map(|home| home.join(below_home)))
    };
    Some(base?.join("persist"))
}

#[cfg(all(test, not(windows), not(target_os = "macos")))]
mod tests {
    use super::*;

    fn found(pairs: &[(&str, &str)]) -> (String, Option<PathBuf>) {
        let variable =
            |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        let data = data(&variable).map_or_else(|e| e.message().into(), |path| path.display().to_string());
        (data, config_file(&variable))
    }

    #[test]
    fn follow_xdg_and_fall_back_to_home() {
        let both = [("XDG_DATA_HOME", "/data"), ("XDG_CONFIG_HOME", "/etc/me"), ("HOME", "/home/me")];
        assert_eq!(found(&both), ("/data/persist".into(), Some("/etc/me/persist/persist.toml".into())));
        let home =
            ("/home/me/.local/share/persist".into(), Some("/home/me/.config/persist/persist.toml".into()));
        assert_eq!(found(&both[2..]), home);
        assert_eq!(found(&[("XDG_DATA_HOME", "relative"), ("HOME", "/home/me")]), home);
        let nowhere = "there is no home directory to store in; set PERSIST_LOCAL_PATH or PERSIST_STORAGE_URL";
        assert_eq!(found(&[]), (nowhere.into(), None));
    }
}
