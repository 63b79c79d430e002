//! The file of a Unix listener: who may connect, and its end.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::Permissions;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, CWD, Gid, OFlags, chownat, fchmod, fstat, openat};

use crate::model::{Group, SocketAccess};
use crate::state::lock;

/// Where this system's groups are.
const GROUPS: &str = "/etc/group";

/// Device and inode.
type Identity = (u64, u64);

/// The paths of this process's socket files. A path may lead to the file of another one, through a link.
static OWN: Mutex<BTreeMap<Identity, Vec<PathBuf>>> = Mutex::new(BTreeMap::new());

/// The file of a Unix listener. Dropping this removes the file, unless another has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: Identity,
    /// Another process has the socket too, and removes the file.
    left: AtomicBool,
}

/// A path that leads to a socket file of this process, which has this one.
#[derive(Debug, thiserror::Error)]
#[error("it is the file of unix:{}", .0.display())]
pub struct OwnFile(pub PathBuf);

/// Fails if a socket file of this process is there: nobody else may have the path. The kernel keeps the inode as long as the
/// socket is open, so no other file can be taken for it.
pub(super) fn not_own(path: &Path) -> io::Result<()> {
    let Ok(identity) = identity(path) else { return Ok(()) };
    match lock(&OWN).get(&identity).and_then(|paths| paths.first()) {
        Some(own) => Err(io::Error::new(io::ErrorKind::AddrInUse, OwnFile(own.clone()))),
        None => Ok(()),
    }
}

/// Why a Unix socket cannot have its mode or group.
#[derive(Debug)]
pub enum AccessError {
    /// This system has no such group, or its groups cannot be read.
    NoGroup(Group),
    /// The system does not let this process give the file that group.
    Denied(Group, io::Error),
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AccessError::NoGroup(group) => write!(f, "there is no group `{group}`"),
            AccessError::Denied(group, error) => write!(f, "cannot give it to the group `{group}`: {error}"),
        }
    }
}

impl std::error::Error for AccessError {}

/// An access with the number of its group.
pub(super) struct Wanted<'a> {
    access: &'a SocketAccess,
    group: Option<Gid>,
}

impl<'a> Wanted<'a> {
    /// Looks the group up.
    pub fn of(access: &'a SocketAccess) -> io::Result<Self> {
        let group = access.group.as_ref().map(number_of).transpose()?;
        Ok(Wanted { access, group: group.map(Gid::from_raw) })
    }

    /// Prepares a socket that is not bound yet. bind(2) makes the file with the socket's own mode, less the umask: so it
    /// never has more rights than wanted, and before it has its group only its owner has any.
    pub fn begin(&self, socket: impl AsFd) -> io::Result<()> {
        let mode = self.access.mode.bits();
        let mode = if self.group.is_some() { mode & 0o700 } else { mode };
        Ok(fchmod(socket, mode.into())?)
    }
}

/// The number of a group. A name is looked up in `/etc/group` only: a directory service could keep the server waiting.
pub fn number_of(group: &Group) -> io::Result<u32> {
    let name = match group {
        Group::Number(number) => return Ok(*number),
        Group::Name(name) => name,
    };
    let groups = std::fs::read(GROUPS).unwrap_or_default();
    let groups = String::from_utf8_lossy(&groups);
    let found = groups.lines().find_map(|line| {
        // NAME:PASSWORD:NUMBER:MEMBERS (group(5)).
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, AccessError::NoGroup(group.clone())))
}

impl SocketFile {
    /// The file that was just bound.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        let identity = identity(path)?;
        lock(&OWN).entry(identity).or_default().push(path.to_owned());
        Ok(SocketFile { path: path.to_owned(), identity, left: AtomicBool::new(false) })
    }

    /// Leaves the file to another process that has the socket too, or takes it back.
    pub(super) fn leave(&self, to_another: bool) {
        self.left.store(to_another, Ordering::Relaxed);
    }

    /// Sets the mode and the group, without a moment in which anybody could connect who may neither before nor after. A
    /// file that has taken this one's place is left alone: the folder may belong to somebody else.
    pub(super) fn allow(&self, wanted: &Wanted<'_>) -> io::Result<()> {
        let file = openat(CWD, &self.path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, 0.into())?;
        let now = fstat(&file)?;
        if (now.st_dev, now.st_ino) != self.identity {
            return Err(io::ErrorKind::NotFound.into());
        }
        // fchmod(2) does not take a descriptor that only names a file.
        let by_descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
        let set = |mode: u32| std::fs::set_permissions(&by_descriptor, Permissions::from_mode(mode));
        let (old, new) = (now.st_mode & 0o7777, wanted.access.mode.bits());
        if let Some(group) = wanted.group.filter(|group| group.as_raw() != now.st_gid) {
            if old & new != old {
                set(old & new)?;
            }
            chownat(&file, "", None, Some(group), AtFlags::EMPTY_PATH)
                .map_err(|errno| denied(wanted.access, errno.into()))?;
        }
        if old != new { set(new) } else { Ok(()) }
    }
}

fn denied(access: &SocketAccess, error: io::Error) -> io::Error {
    match &access.group {
        Some(group) => io::Error::new(error.kind(), AccessError::Denied(group.clone(), error)),
        None => error,
    }
}

fn identity(path: &Path) -> io::Result<Identity> {
    let meta = std::fs::symlink_metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let mut own = lock(&OWN);
        if let Some(paths) = own.get_mut(&self.identity) {
            // Several may be of one socket, for a moment: an upgrade hands duplicates over.
            paths.pop();
            if paths.is_empty() {
                own.remove(&self.identity);
            }
        }
        drop(own);
        if !*self.left.get_mut() && identity(&self.path).is_ok_and(|now| now == self.identity) {
            // Best effort: the next bind replaces a dead file.
            drop(std::fs::remove_file(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::model::SocketOptions;
    use crate::net::bind;

    fn access(mode: &str, group: Option<u32>) -> SocketAccess {
        SocketAccess { mode: mode.parse().unwrap(), group: group.map(Group::Number) }
    }

    fn mode_of(path: &Path) -> u32 {
        std::fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_file_is_born_with_no_more_rights_than_wanted() {
        let folder = tempfile::tempdir().unwrap();
        for (wanted, at_first) in [(access("0600", None), 0o600), (access("0666", Some(7)), 0o600)] {
            let path = folder.path().join(at_first.to_string() + &wanted.mode.to_string());
            let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
            Wanted::of(&wanted).unwrap().begin(&socket).unwrap();
            socket.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
            assert_eq!(mode_of(&path), at_first);
        }
    }

    #[test]
    fn a_file_that_has_taken_its_place_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("own"), folder.path().join("other"));
        let addr = crate::model::ListenAddr::Unix(path.clone());
        let bound =
            bind(&addr, false, &access("0640", None)).unwrap().listen(SocketOptions::default()).unwrap();
        assert_eq!(mode_of(&path), 0o640);
        let _other = UnixListener::bind(&other).unwrap();
        let before = mode_of(&other);
        type Replace = fn(&Path, &Path) -> io::Result<()>;
        let ways: [Replace; 2] = [
            |from: &Path, to: &Path| std::os::unix::fs::symlink(from, to),
            |from: &Path, to: &Path| std::fs::rename(from, to),
        ];
        for replace in ways {
            std::fs::remove_file(&path).unwrap();
            replace(&other, &path).unwrap();
            assert!(bound.allow(&access("0777", None)).is_err());
            assert_eq!(mode_of(if other.exists() { &other } else { &path }), before);
        }
    }

    #[test]
    fn a_group_is_found_by_its_name_and_a_stranger_is_named() {
        assert_eq!(number_of(&Group::Name("root".to_owned())).unwrap(), 0);
        assert_eq!(number_of(&Group::Number(77)).unwrap(), 77);
        let error = number_of(&Group::Name("no-such-group".to_owned())).unwrap_err();
        assert_eq!(error.to_string(), "there is no group `no-such-group`");
    }
}
