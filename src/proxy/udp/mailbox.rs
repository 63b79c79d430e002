//! What one UDP listener hands to another.

use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::session::Session;
use crate::net::datagram::{Parcel, Segments};
use crate::state::flows::Flow;
use crate::state::lock;

/// Most bytes of datagrams in a mailbox: as much as waits in the socket of a listener.
const MOST_BYTES: usize = 4 << 20;
/// What a run costs beside its bytes, so that empty datagrams are bounded too.
const PER_RUN: usize = 128;

/// What other listeners have handed to one.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    /// Whether there is anything: most listeners never get any, and look at no lock.
    any: AtomicBool,
    mail: Mutex<Mail>,
}

/// The content of a mailbox.
#[derive(Debug, Default)]
pub(super) struct Mail {
    pub sessions: Vec<Flow<Session>>,
    /// In order of arrival.
    pub parcels: Vec<Parcel>,
    bytes: usize,
}

impl Mailbox {
    pub(super) fn has_any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    pub(super) fn put_sessions(&self, sessions: Vec<Flow<Session>>) {
        lock(&self.mail).sessions.extend(sessions);
        self.any.store(true, Ordering::Release);
    }

    /// Copies a run that was sent to this address. Returns whether it fits.
    pub(super) fn put(&self, segments: &Segments<'_>, to: IpAddr) -> bool {
        let mut mail = lock(&self.mail);
        if mail.bytes > MOST_BYTES {
            return false;
        }
        mail.bytes += segments.data.len() + PER_RUN;
        mail.parcels.push(Parcel::of(segments, to));
        self.any.store(true, Ordering::Release);
        true
    }

    pub(super) fn take(&self) -> Mail {
        let mut mail = lock(&self.mail);
        self.any.store(false, Ordering::Release);
        std::mem::take(&mut *mail)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;

    #[test]
    fn a_mailbox_holds_four_megabytes_of_datagrams_however_short_they_are() {
        let from = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let to = IpAddr::V4(Ipv4Addr::LOCALHOST);
        // Each counts 128 bytes more. The one that goes beyond the bound is the last.
        for (size, most) in [(0, 32_769), (1_000, 3_719), (60_000, 70)] {
            let (mailbox, datagram) = (Mailbox::default(), vec![7; size]);
            let put = || mailbox.put(&Segments::single(from, None, &datagram), to);
            assert_eq!((0..40_000).take_while(|_| put()).count(), most, "{size}");
            assert!(mailbox.has_any());
            assert_eq!(mailbox.take().parcels.len(), most);
            assert!(!mailbox.has_any() && put(), "there is room again");
        }
    }
}
