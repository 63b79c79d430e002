//! A Unix socket at which a process waits for the one that takes over from it, started by somebody else: two containers of one
//! pod share the folder.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, chmod};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketType, accept_with, bind, connect, listen, socket_with,
};
use rustix::process::geteuid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::tcp::{FLAGS, register};

/// One process takes over at a time.
const BACKLOG: i32 = 1;

/// The socket of a process that waits. Dropping it leaves the file: by then it is that of the next one.
#[derive(Debug)]
pub struct HandoverSocket(AsyncFd<OwnedFd>);

impl HandoverSocket {
    /// Waits at this path, in place of whoever has waited there. Only this user may come. Needs a runtime.
    pub fn wait_at(path: &Path) -> io::Result<HandoverSocket> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, FLAGS, None)?;
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        // One that a process has left which was killed.
        drop(std::fs::remove_file(&new));
        bind(&socket, &SocketAddrUnix::new(&new)?)?;
        chmod(&new, Mode::RUSR | Mode::WUSR)?;
        listen(&socket, BACKLOG)?;
        std::fs::rename(&new, path)?;
        register(socket, Interest::READABLE).map(HandoverSocket)
    }

    /// The next process that comes: one end of a pair with it. Others than those of this user are sent away.
    pub async fn accept(&self) -> io::Result<OwnedFd> {
        loop {
            let accept = |socket: &OwnedFd| Ok(accept_with(socket, FLAGS)?);
            let socket = self.0.async_io(Interest::READABLE, accept).await?;
            if socket_peercred(&socket).is_ok_and(|peer| peer.uid == geteuid()) {
                return Ok(socket);
            }
        }
    }
}

/// The process that waits at this path: one end of a pair with it. `None`: nobody does.
pub fn meet_at(path: &Path) -> io::Result<Option<OwnedFd>> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, FLAGS, None)?;
    match connect(&socket, &SocketAddrUnix::new(path)?) {
        Ok(()) => Ok(Some(socket)),
        Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}
