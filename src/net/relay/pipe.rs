//! Kernel pipes, which move bytes from socket to socket without a copy (splice(2)).
//!
//! A direction holds a pipe only while bytes are in it. It takes the pipe from a bounded pool and returns it empty: an
//! unprivileged user gets 16,384 pages for pipes, and after that pipes of two pages (pipe(7), `pipe-user-pages-soft`).

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use rustix::io::{Errno, ioctl_fionread};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

use crate::net::Socket;
use crate::state::lock;

/// Most pipes of this process, in use and in the pool: at 16 pages each, half of what an unprivileged user may have.
pub const MOST_PIPES: usize = 512;
/// Bytes that a large pipe may hold (pipe(7), `pipe-max-size`), and that one call may move. Each page is a slot that
/// holds one socket fragment: the more slots, the fewer acknowledgements and wake-ups a byte costs. Measured on
/// loopback, CPU time per GiB: 0.28 s with 16 pages, 0.23 s with 64, 0.18 s with 256.
const LARGE: usize = 1 << 20;
/// Most large pipes: together with the others they stay below the user's share.
const MOST_LARGE: usize = 24;

static AT_REST: Mutex<Vec<Pipe>> = Mutex::new(Vec::new());
static OPEN: AtomicUsize = AtomicUsize::new(0);
static LIMIT: AtomicUsize = AtomicUsize::new(MOST_PIPES);
static OPEN_LARGE: AtomicUsize = AtomicUsize::new(0);
static ADOPTING: AtomicBool = AtomicBool::new(false);
static USERS: AtomicUsize = AtomicUsize::new(0);

/// Sets how many pipes this process may have open, each with two descriptors; at most [`MOST_PIPES`].
pub fn limit_pipes(most: usize) {
    LIMIT.store(most.min(MOST_PIPES), Ordering::Relaxed);
}

/// Sets whether pipes of another process are on their way here. Meanwhile none is opened: theirs alone may be as many as the limit,
/// and a descriptor that finds no room spoils the whole hand-over.
pub fn adopt_pipes(come: bool) {
    ADOPTING.store(come, Ordering::Relaxed);
}

/// How many pipes this process has open, and how many it may have.
pub fn pipes() -> (usize, usize) {
    (OPEN.load(Ordering::Relaxed), LIMIT.load(Ordering::Relaxed))
}

fn at_rest() -> MutexGuard<'static, Vec<Pipe>> {
    lock(&AT_REST)
}

/// A direction that moves bulk data. The pool keeps no more pipes than there are such directions, so an idle proxy has
/// none.
#[derive(Debug)]
pub(super) struct User(());

impl User {
    pub fn begin() -> User {
        USERS.fetch_add(1, Ordering::Relaxed);
        User(())
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let left = USERS.fetch_sub(1, Ordering::Relaxed) - 1;
        at_rest().truncate(left);
    }
}

/// A pipe, and how many bytes are in it.
#[derive(Debug)]
pub(super) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    large: bool,
    held: usize,
}

impl Pipe {
    /// Takes an empty pipe. `None` if the limit is reached, or the kernel refuses one.
    pub fn take() -> Option<Pipe> {
        if let Some(pipe) = at_rest().pop() {
            return Some(pipe);
        }
        if ADOPTING.load(Ordering::Relaxed) {
            return None;
        }
        if OPEN.fetch_add(1, Ordering::Relaxed) < LIMIT.load(Ordering::Relaxed)
            && let Ok((read, write)) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)
        {
            let large = enlarge(&write);
            return Some(Pipe { read, write, large, held: 0 });
        }
        OPEN.fetch_sub(1, Ordering::Relaxed);
        None
    }

    /// Returns an empty pipe to the pool. Closes a pipe that still holds bytes: nobody wants them.
    pub fn give_back(self) {
        if self.held == 0 {
            at_rest().push(self);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// How many bytes are in it.
    pub fn len(&self) -> usize {
        self.held
    }

    /// Both of its ends, the one to read from first.
    pub fn ends(&self) -> [&OwnedFd; 2] {
        [&self.read, &self.write]
    }

    /// A pipe of another process with this many bytes, or fewer if there are.
    pub fn adopt(read: OwnedFd, write: OwnedFd, held: usize) -> Pipe {
        OPEN.fetch_add(1, Ordering::Relaxed);
        let there = ioctl_fionread(&read).map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        Pipe { read, write, large: false, held: held.min(there) }
    }

    /// What is in it, for a path without pipes.
    pub fn into_bytes(self) -> Vec<u8> {
        let mut bytes = vec![0; self.held];
        let mut filled = 0;
        while let Some(rest @ [_, ..]) = bytes.get_mut(filled..) {
            match rustix::io::read(&self.read, rest) {
                Ok(0) | Err(_) => break,
                Ok(n) => filled += n,
            }
        }
        bytes.truncate(filled);
        bytes
    }

    /// Moves what the socket has into the pipe, which must be empty: a full pipe gives EAGAIN, and so does an empty
    /// socket, and the caller could not tell which it was.
    pub fn fill(&mut self, from: &Socket) -> Result<usize, Errno> {
        debug_assert!(self.held == 0);
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let n = splice(from, None, &self.write, None, LARGE, flags)?;
        self.held = n;
        Ok(n)
    }

    /// Moves what the pipe holds to the socket.
    pub fn drain(&mut self, to: &Socket) -> Result<usize, Errno> {
        let n = splice(&self.read, None, to, None, self.held, SpliceFlags::NONBLOCK | SpliceFlags::MOVE)?;
        self.held -= n;
        Ok(n)
    }
}

/// Makes a new pipe large, unless there are [`MOST_LARGE`] already. Returns whether it is large.
fn enlarge(pipe: &OwnedFd) -> bool {
    let more = OPEN_LARGE.fetch_add(1, Ordering::Relaxed) < MOST_LARGE;
    let large = more && fcntl_setpipe_size(pipe, LARGE).is_ok();
    if !large {
        OPEN_LARGE.fetch_sub(1, Ordering::Relaxed);
    }
    large
}

impl Drop for Pipe {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
        OPEN_LARGE.fetch_sub(usize::from(self.large), Ordering::Relaxed);
    }
}
