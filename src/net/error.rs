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

/// Whether a failed send of many datagrams in one call may fail for the offload alone: no support (EIO, EINVAL), or a path that is
/// narrower than a segment. One by one they may pass.
pub(super) fn is_of_offload(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::IO | Errno::INVAL | Errno::MSGSIZE | Errno::OPNOTSUPP))
}

/// The text of the error in lower case, without Rust's `(os error 111)`.
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_is_of_one_kind_or_of_none() {
        for (errno, local, gone, of_offload) in [
            (Errno::ADDRNOTAVAIL, true, false, false),
            (Errno::MFILE, true, false, false),
            (Errno::NFILE, true, false, false),
            (Errno::NOBUFS, true, false, false),
            (Errno::NOMEM, true, false, false),
            (Errno::AGAIN, true, false, false),
            // A datagram before has been refused, which a second try would not show.
            (Errno::CONNREFUSED, false, true, false),
            (Errno::HOSTUNREACH, false, true, false),
            (Errno::NETUNREACH, false, true, false),
            (Errno::HOSTDOWN, false, true, false),
            (Errno::NETDOWN, false, true, false),
            (Errno::NOENT, false, true, false),
            (Errno::TIMEDOUT, false, false, false),
            (Errno::IO, false, false, true),
            (Errno::INVAL, false, false, true),
            (Errno::MSGSIZE, false, false, true),
            (Errno::OPNOTSUPP, false, false, true),
        ] {
            let error = io::Error::from(errno);
            assert_eq!(
                (is_local(&error), is_gone(&error), is_of_offload(&error)),
                (local, gone, of_offload),
                "{errno:?}"
            );
        }
    }

    #[test]
    fn an_error_is_said_in_lower_case_and_without_its_number() {
        assert_eq!(plain(&Errno::CONNREFUSED.into()), "connection refused");
        assert_eq!(plain(&io::Error::other("No name")), "no name");
    }
}
