//! What an error of the system says.

use std::io;

use rustix::io::Errno;

/// Whether this system denied what was asked of it, so that it says nothing about a peer: no port, no descriptor, no
/// memory was left.
pub fn is_local(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(
        errno,
        Some(Errno::ADDRNOTAVAIL | Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::AGAIN)
    )
}

/// The error without Rust's `(os error 111)`.
pub(super) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}
