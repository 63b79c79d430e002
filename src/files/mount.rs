//! A file that is a mount point by itself: `docker run -v ./portway.toml:/etc/portway/portway.toml`.
//!
//! A mount follows the inode. Saving the file outside by rename (vim, `sed -i`) gives the name to a new inode, and the
//! mount shows the old one for ever. The edit cannot be read here, but it can be noticed: the old inode has no name any
//! more.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What is mounted at the file itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mounted {
    /// The path inside the mounted file system, as the kernel shows it now.
    pub root: Vec<u8>,
    /// Whether the mounted file has a name left.
    pub named: bool,
}

impl Mounted {
    /// Whether the file was replaced since `start`: an edit made there cannot be seen here.
    pub fn is_stale(&self, start: &Mounted) -> bool {
        !self.named || self.root != start.root
    }
}

/// What is mounted at `path`, if the file itself is a mount point.
pub(super) fn at(path: &Path) -> Option<Mounted> {
    let path = path.canonicalize().ok()?;
    let table = std::fs::read("/proc/self/mountinfo").ok()?;
    let root = root_of(&table, &path)?;
    let named = std::fs::metadata(&path).is_ok_and(|meta| meta.nlink() > 0) && !root.ends_with(b"//deleted");
    Some(Mounted { root, named })
}

/// The root of the topmost mount at exactly this path (proc_pid_mountinfo(5): the fourth and fifth field).
fn root_of(table: &[u8], path: &Path) -> Option<Vec<u8>> {
    table.split(|byte| *byte == b'\n').rev().find_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (unescaped(point) == path.as_os_str().as_bytes()).then(|| unescaped(root))
    })
}

/// Undoes the kernel's escapes: `\040` is a space.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let code = (byte == b'\\').then(|| after.get(..3)).flatten();
        let code = code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 8).ok());
        plain.push(code.unwrap_or(byte));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topmost_mount_at_exactly_the_path_counts() {
        let table = b"22 1 0:5 / /etc rw - ext4 /dev/a rw\n\
            23 22 0:5 /old /etc/a\\040b.toml rw - ext4 /dev/a rw\n\
            24 23 0:5 /new//deleted /etc/a\\040b.toml rw - ext4 /dev/a rw\n";
        assert_eq!(root_of(table, Path::new("/etc/a b.toml")).as_deref(), Some(&b"/new//deleted"[..]));
        assert_eq!(root_of(table, Path::new("/etc/a")), None);
    }
}
