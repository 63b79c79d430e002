//! The places where a change can put another file at a path.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::FsWord;

/// How many links are followed: as many as Linux follows (path_resolution(7)).
const LINKS: usize = 40;

/// A folder. Its identity tells it from a later one at the same path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folder {
    pub path: PathBuf,
    /// Device and inode.
    pub identity: (u64, u64),
}

/// A name in a folder: the file's, or that of a link on the way to it. An empty one: every name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub folder: Folder,
    pub name: OsString,
}

impl Place {
    /// Whether an event of this name concerns it.
    pub fn has(&self, name: &OsStr) -> bool {
        self.name.is_empty() || self.name == name
    }
}

/// Local file systems (statfs(2)): inotify(7) reports every change there. (It does not report what others do on a
/// network, or outside of a virtual machine.)
const LOCAL: [FsWord; 9] = [
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // xfs
    0x9123_683e, // btrfs
    0xf2f5_2010, // f2fs
    0xca45_1a4e, // bcachefs
    0x2fc1_2fc1, // zfs
    0x0102_1994, // tmpfs
    0x8584_58f6, // ramfs
    0x794c_7630, // overlayfs
];

impl Folder {
    /// Whether both are the same folder, by whatever path.
    pub fn is_same(&self, other: &Folder) -> bool {
        self.identity == other.identity
    }

    /// Whether it is on a local file system ([`LOCAL`]).
    pub fn is_local(&self) -> bool {
        rustix::fs::statfs(&self.path).is_ok_and(|system| LOCAL.contains(&system.f_type))
    }
}

/// The places of the file and of each link on the way to it. If a part of the path is missing, its place is the last.
pub(super) fn on_the_way(path: &Path) -> Vec<Place> {
    let mut found = Vec::new();
    note_way(path, &mut found);
    found
}

/// Adds every name of a folder, and the places on the way to it.
pub(super) fn note_folder(path: &Path, found: &mut Vec<Place>) {
    note_way(path, found);
    // By the path that its events have: the watcher knows no other.
    if let Ok(path) = std::fs::canonicalize(path) {
        note(found, &path, OsString::new());
    }
}

/// Adds the places of a file and of each link on the way to it.
pub(super) fn note_way(path: &Path, found: &mut Vec<Place>) {
    let Ok(path) = std::path::absolute(path) else { return };
    let mut here = PathBuf::from("/");
    let mut ahead: VecDeque<OsString> = parts(&path).collect();
    let mut links = 0;
    let mut last = OsString::new();
    while let Some(part) = ahead.pop_front() {
        let next = match part.to_str() {
            Some("..") => here.parent().unwrap_or(Path::new("/")).to_owned(),
            _ => here.join(&part),
        };
        match std::fs::read_link(&next) {
            Ok(target) if links < LINKS => {
                links += 1;
                note(found, &here, part);
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
                    ahead.push_front(part);
                }
            }
            // Not a link: a folder to go on from, the file, or nothing.
            _ if next.is_dir() && !ahead.is_empty() => here = next,
            _ => {
                last = part;
                break;
            }
        }
    }
    note(found, &here, last);
}

fn parts(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

fn note(found: &mut Vec<Place>, path: &Path, name: OsString) {
    let Ok(meta) = std::fs::metadata(path) else { return };
    let folder = Folder { path: path.to_owned(), identity: (meta.dev(), meta.ino()) };
    let place = Place { folder, name };
    if !found.contains(&place) {
        found.push(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_is_local_only_if_it_is_known_to_be() {
        let at = |path: &str| Folder { path: path.into(), identity: (0, 0) };
        assert!(at("/").is_local());
        // Not one of those that tell of every change.
        assert!(!at("/proc").is_local());
        assert!(!at("/no/such/folder").is_local());
    }
}
