//! Reads system errors: whether they are local, and their text.

use std::io;

use rustix::io::Errno;

/// Whether this system itself is short of something (no port, no descriptor or no memory is left), so that the error
/// says nothing about a peer.
pub fn is_local(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(
        errno,
        Some(Errno::ADDRNOTAVAIL | Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::AGAIN)
    )
}

/// Whether a failed connect shows that nobody is there: refused, unreachable, or no such Unix socket. A timeout does not:
/// the peer may be slow to accept.
pub fn is_gone(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(
        errno,
        Some(
            Errno::CONNREFUSED
                | Errno::HOSTUNREACH
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::NETDOWN
                | Errno::NOENT
        )
    )
}

/// The text of the error in lower case, without Rust's `(os error 111)`.
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}
