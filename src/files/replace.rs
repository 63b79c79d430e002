//! Files that Portway writes itself: whole, or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Writes a file beside the one at the path, and puts it in its place: whoever reads sees the old one or the new one, whole,
/// also after a power failure. It gets the rights and, where that may be, the owner of the old one. A link stays a link to
/// the file that is replaced. May block.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = target(path)?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let beside = folder.join(name_beside(&path));
    let written = write(&beside, bytes, fs::metadata(&path).ok().as_ref())
        .and_then(|()| fs::rename(&beside, &path))
        // The name, too, is to outlast a power failure.
        .and_then(|()| File::open(folder)?.sync_all());
    if written.is_err() {
        // It may not be there at all.
        drop(fs::remove_file(&beside));
    }
    written
}

/// The file that a path leads to, which need not exist.
fn target(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => Ok(path.to_owned()),
        found => found,
    }
}

/// Hidden, and with an ending that no glob of `include` is likely to name.
fn name_beside(path: &Path) -> OsString {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    name
}

fn write(beside: &Path, bytes: &[u8], old: Option<&fs::Metadata>) -> io::Result<()> {
    // One that a crash has left.
    match fs::remove_file(beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mode = old.map_or(0o666, |_| 0o600);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(beside)?;
    if let Some(old) = old {
        // Without the right to it the file belongs to this process.
        drop(std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid())));
        file.set_permissions(Permissions::from_mode(old.mode() & 0o7777))?;
    }
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_with_its_rights_and_through_its_link() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        replace(&at("a.toml"), b"one").unwrap();
        assert_eq!(fs::read(at("a.toml")).unwrap(), b"one");
        fs::set_permissions(at("a.toml"), Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("a.toml", at("link.toml")).unwrap();
        // A crash has left one.
        fs::write(at(".a.toml.new"), b"half").unwrap();
        replace(&at("link.toml"), b"two").unwrap();
        assert_eq!(fs::read(at("a.toml")).unwrap(), b"two");
        assert!(at("link.toml").is_symlink());
        assert_eq!(fs::metadata(at("a.toml")).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        assert!(replace(&at("missing/b.toml"), b"x").is_err());
        std::os::unix::fs::symlink("nowhere/c.toml", at("broken.toml")).unwrap();
        assert!(replace(&at("broken.toml"), b"x").is_err());
    }
}
