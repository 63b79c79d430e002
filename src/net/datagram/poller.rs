//! Many sockets of one task: an epoll of its own, which the runtime watches as one descriptor. So a batch of datagrams for
//! a thousand sessions wakes one task once.

#![allow(
    unsafe_code,
    reason = "tokio's constructor from a descriptor is unsafe, and its safe one deprecated"
)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// So many sockets are told of at once.
const AT_ONCE: usize = 128;

/// Watches sockets for something to read.
#[derive(Debug)]
pub struct Poller {
    epoll: AsyncFd<OwnedFd>,
}

/// The sockets that have something, by the numbers they were added with.
#[derive(Debug, Default)]
pub struct Ready {
    numbers: Vec<u64>,
}

impl Ready {
    /// Their numbers.
    pub fn numbers(&self) -> impl Iterator<Item = u64> {
        self.numbers.iter().copied()
    }
}

impl Poller {
    /// One that watches nothing yet. Needs the runtime.
    pub fn new() -> io::Result<Poller> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        // SAFETY: an `OwnedFd` is one open descriptor until it is dropped, which it is with the `AsyncFd`.
        let epoll = unsafe { AsyncFd::register_with_interest(epoll, Interest::READABLE) }?;
        Ok(Poller { epoll })
    }

    /// Watches a socket until it is closed. It is told of once for what has come: read it until a call brings less than
    /// it could.
    pub fn add(&self, socket: &impl AsFd, number: u64) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::ET;
        Ok(epoll::add(self.epoll.get_ref(), socket, EventData::new_u64(number), flags)?)
    }

    /// Waits until sockets have something. Dropping the future loses nothing.
    pub async fn wait(&self, ready: &mut Ready) -> io::Result<()> {
        loop {
            let mut guard = self.epoll.readable().await?;
            let whole = self.look(ready)?;
            if whole {
                // What comes from now on makes a new event of the outer epoll.
                guard.clear_ready();
            } else {
                guard.retain_ready();
            }
            if !ready.numbers.is_empty() {
                return Ok(());
            }
        }
    }

    /// Asks which sockets have something. Whether these are all.
    fn look(&self, ready: &mut Ready) -> io::Result<bool> {
        let mut space = [const { MaybeUninit::uninit() }; AT_ONCE];
        let (events, _) = epoll::wait(self.epoll.get_ref(), &mut space, Some(&Timespec::default()))?;
        ready.numbers.clear();
        ready.numbers.extend(events.iter().map(|event| event.data.u64()));
        Ok(events.len() < AT_ONCE)
    }
}
