//! Watches the many sockets of one task: an epoll instance of its own, which the runtime watches as one descriptor. So
//! a batch of datagrams for a thousand sessions wakes one task once.

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

/// Watches sockets for something to read.
#[derive(Debug)]
pub struct Poller {
    epoll: AsyncFd<OwnedFd>,
}

/// The readable sockets, by the numbers that they were added with.
#[derive(Debug, Default)]
pub struct Ready {
    numbers: Vec<u64>,
}

impl Ready {
    /// Most sockets that one look reports.
    pub const MOST: usize = 128;

    /// The number of each readable socket, as passed to [`Poller::add`].
    pub fn numbers(&self) -> impl Iterator<Item = u64> {
        self.numbers.iter().copied()
    }
}

impl Poller {
    /// Creates a poller that watches nothing yet. Must be called within a runtime.
    pub fn new() -> io::Result<Poller> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        // SAFETY: an `OwnedFd` is one open descriptor until it is dropped, and only the `AsyncFd` drops it.
        let epoll = unsafe { AsyncFd::register_with_interest(epoll, Interest::READABLE) }?;
        Ok(Poller { epoll })
    }

    /// Watches a socket until it is closed. Each arrival is reported once (edge-triggered): read until a call returns
    /// less than it could.
    pub fn add(&self, socket: &impl AsFd, number: u64) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::ET;
        Ok(epoll::add(self.epoll.get_ref(), socket, EventData::new_u64(number), flags)?)
    }

    /// Watches a socket no longer.
    pub fn remove(&self, socket: &impl AsFd) {
        // Fails only for a socket that is not watched.
        let _ = epoll::delete(self.epoll.get_ref(), socket);
    }

    /// Waits until at least one socket is readable. Cancel-safe: dropping the future loses nothing.
    pub async fn wait(&self, ready: &mut Ready) -> io::Result<()> {
        loop {
            let mut guard = self.epoll.readable().await?;
            let whole = self.look(ready)?;
            if whole {
                // Whatever arrives from now on raises a new event of the outer epoll.
                guard.clear_ready();
            } else {
                guard.retain_ready();
            }
            if !ready.numbers.is_empty() {
                return Ok(());
            }
        }
    }

    /// Asks which sockets are readable now. Returns whether these are all, or at most [`Ready::MOST`] of them.
    pub fn look(&self, ready: &mut Ready) -> io::Result<bool> {
        let mut space = [const { MaybeUninit::uninit() }; Ready::MOST];
        let (events, _) = epoll::wait(self.epoll.get_ref(), &mut space, Some(&Timespec::default()))?;
        ready.numbers.clear();
        ready.numbers.extend(events.iter().map(|event| event.data.u64()));
        Ok(events.len() < Ready::MOST)
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    fn sockets(many: usize, poller: &Poller) -> Vec<UdpSocket> {
        let sockets: Vec<UdpSocket> = (0..many).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        for (number, socket) in (0..).zip(&sockets) {
            poller.add(socket, number).unwrap();
            socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        }
        sockets
    }

    #[tokio::test]
    async fn a_look_says_whether_it_has_seen_all() {
        for (many, looks) in [(2, vec![(2, true), (0, true)]), (128, vec![(128, false), (0, true)])] {
            let (poller, mut ready) = (Poller::new().unwrap(), Ready::default());
            let _open = sockets(many, &poller);
            for expected in looks {
                let whole = poller.look(&mut ready).unwrap();
                assert_eq!((ready.numbers().count(), whole), expected);
            }
        }
    }
}
