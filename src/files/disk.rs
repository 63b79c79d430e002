//! Files on disk: read without ever blocking on what is no regular file, and recognized by their identity.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::OFlags;

use crate::model::Fault;

/// The largest file that is read, in bytes: enough for some hundred thousand routes.
pub const LARGEST: u64 = 16 * 1024 * 1024;

/// Tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Device and inode. Another pair is another file, as after a rename or a swapped link.
    pub inode: (u64, u64),
    /// The size in bytes.
    pub size: u64,
    /// Seconds and nanoseconds of the last change of the content (mtime).
    pub modified: (i64, i64),
    /// Seconds and nanoseconds of the last change of anything (ctime). It changes even where `modified` was copied.
    pub changed: (i64, i64),
    /// How many names the file has. 0: it was replaced, and only we still hold it.
    pub links: u64,
    /// When the file was created, if the file system knows: the inode of a removed file is soon given to another.
    pub born: Option<SystemTime>,
}

impl Identity {
    /// Whether both are states of one file, which was then written in place.
    pub fn is_same_file(&self, other: &Identity) -> bool {
        (self.inode, self.born) == (other.inode, other.born)
    }

    /// The identity of the file at a path. Follows links.
    pub fn of(path: &Path) -> io::Result<Identity> {
        std::fs::metadata(path).map(|metadata| Identity::from(&metadata))
    }
}

impl From<&Metadata> for Identity {
    fn from(file: &Metadata) -> Self {
        Identity {
            inode: (file.dev(), file.ino()),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
            links: file.nlink(),
            born: file.created().ok(),
        }
    }
}

/// The content of a file that was read.
#[derive(Clone, Debug)]
pub struct Content {
    /// All bytes of the file.
    pub bytes: Vec<u8>,
    /// The identity of the file before its first byte was read.
    pub identity: Identity,
}

/// Reads a regular file of at most [`LARGEST`] bytes. Anything else at the path is a fault, and never a hang.
pub fn read(path: &Path) -> Result<Content, Fault> {
    // A FIFO would block in open(2) until someone writes to it; a terminal must not become our controlling terminal.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = file.map_err(|error| unopened(path, &error))?;
    let metadata = file.metadata().map_err(|error| unread(&error))?;
    if let Some(fault) = not_a_file(&metadata) {
        return Err(fault);
    }
    if metadata.len() > LARGEST {
        return Err(too_large());
    }
    let bytes = contents(&file).map_err(|error| unread(&error))?;
    if bytes.len() as u64 > LARGEST {
        return Err(too_large());
    }
    Ok(Content { bytes, identity: Identity::from(&metadata) })
}

/// All bytes, or one more than [`LARGEST`]: the file may grow while it is read.
fn contents(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unopened(path: &Path, error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::NotFound if path.is_symlink() => Fault::new(
            "the link points to a file that does not exist",
            "create that file, or make the link anew",
        ),
        io::ErrorKind::NotFound => {
            Fault::new("there is no such file", "create it, or give the path of another one")
        }
        io::ErrorKind::PermissionDenied => Fault::new(
            "permission denied",
            "let the user that runs Portway read the file, and enter the folders above it",
        ),
        // ENXIO: a socket.
        _ if path.metadata().is_ok_and(|file| file.file_type().is_socket()) => no_file("a socket"),
        _ => unread(error),
    }
}

fn unread(error: &io::Error) -> Fault {
    Fault::new(format!("the file cannot be read: {error}"), "see what the kernel says about the disk: dmesg")
}

fn not_a_file(metadata: &Metadata) -> Option<Fault> {
    let kind = metadata.file_type();
    if kind.is_file() {
        None
    } else if kind.is_dir() {
        Some(Fault::new("this is a folder", "give the path of a file in it"))
    } else if kind.is_fifo() {
        Some(no_file("a pipe"))
    } else {
        Some(no_file("a device"))
    }
}

fn no_file(what: &str) -> Fault {
    Fault::new(format!("this is {what}, not a file"), "write the text to a regular file, and give its path")
}

fn too_large() -> Fault {
    Fault::new("the file is larger than 16 MiB", "is it the right one? Portway reads at most 16 MiB")
}
