//! Carries messages with descriptors between two processes, over a socket pair (unix(7), SCM_RIGHTS).
//!
//! A message may be long; it goes in packets, its descriptors with the first. Whoever sends one waits for the answer before
//! the next: the kernel lets a process have only so many descriptors under way (RLIMIT_NOFILE, else
//! ETOOMANYREFS), and a message that nobody has answered counts as not sent.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::tcp::{FLAGS, register};
use super::within;

/// The most descriptors of one message (`SCM_MAX_FD` of the kernel).
pub const MOST_FDS: usize = 253;
/// The most bytes of one message.
pub const MOST_BYTES: usize = 64 << 20;
/// Whoever says nothing for so long is dead.
pub const SILENCE: Duration = Duration::from_secs(5);

/// The most bytes of one packet. The kernel takes it whole: it must fit the send buffer (`net.core.wmem_default`).
const PACKET: usize = 32 << 10;
/// Before the bytes of a packet: its kind, and whether the message ends with it.
const HEAD: usize = 2;
/// A packet of this kind says only that its sender lives. No message has it.
const ALIVE: u8 = 0;

/// One end of a socket pair.
#[derive(Debug)]
pub struct Carrier(AsyncFd<OwnedFd>);

/// A message.
#[derive(Debug, Default)]
pub struct Message {
    /// What it is, as the two ends have agreed. Not 0.
    pub kind: u8,
    /// What it says.
    pub bytes: Vec<u8>,
    /// Descriptors, each a duplicate that closes on exec.
    pub fds: Vec<OwnedFd>,
}

/// Why a message was not carried.
#[derive(Debug, thiserror::Error)]
pub enum CarrierError {
    /// The other end is closed: its process has ended.
    #[error("the other process has gone")]
    Gone,
    /// The other end says nothing, or takes nothing, for [`SILENCE`].
    #[error("the other process is silent for {} s", SILENCE.as_secs())]
    Silent,
    /// A message is not what one is made of.
    #[error("the other process sends what is no message: {0}")]
    Strange(&'static str),
    /// The system refuses.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl Carrier {
    /// Both ends of a new pair: ours, registered with the caller's runtime, and that of the other process.
    pub fn pair() -> io::Result<(Carrier, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, FLAGS, None)?;
        Ok((Carrier::over(ours)?, theirs))
    }

    /// Registers an end of a pair with the caller's runtime. It must be non-blocking.
    pub fn over(socket: OwnedFd) -> io::Result<Carrier> {
        register(socket, Interest::READABLE | Interest::WRITABLE).map(Carrier)
    }

    /// The socket itself.
    pub fn into_socket(self) -> OwnedFd {
        self.0.into_inner()
    }

    /// Sends a message: at most [`MOST_BYTES`] and [`MOST_FDS`]. A sender that was dropped on its way has spoiled the
    /// carrier.
    pub async fn send(&self, kind: u8, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), CarrierError> {
        if kind == ALIVE || bytes.len() > MOST_BYTES || fds.len() > MOST_FDS {
            return Err(io::Error::from(io::ErrorKind::InvalidInput).into());
        }
        let mut parts = bytes.chunks(PACKET);
        // A message may be empty, and still is one packet.
        let mut part = parts.next().unwrap_or_default();
        let mut fds = fds;
        loop {
            let next = parts.next();
            self.send_packet([kind, u8::from(next.is_none())], part, std::mem::take(&mut fds)).await?;
            let Some(next) = next else { return Ok(()) };
            part = next;
        }
    }

    /// Tells the other end, which waits for a message, that this one lives.
    pub async fn live(&self) -> Result<(), CarrierError> {
        self.send_packet([ALIVE, 1], &[], &[]).await
    }

    /// The next message. Fails once the other end has been silent for [`SILENCE`].
    pub async fn receive(&self) -> Result<Message, CarrierError> {
        self.message(Some(SILENCE)).await
    }

    /// The next message, however long it takes.
    pub async fn receive_late(&self) -> Result<Message, CarrierError> {
        self.message(None).await
    }

    /// `patience`: how long the other end may be silent.
    async fn message(&self, patience: Option<Duration>) -> Result<Message, CarrierError> {
        let mut message = Message::default();
        let mut packet = Packet::new();
        loop {
            match patience {
                Some(patience) => within(patience, self.receive_packet(&mut packet))
                    .await
                    .unwrap_or(Err(CarrierError::Silent))?,
                None => self.receive_packet(&mut packet).await?,
            }
            let Packet { bytes, length, fds } = &mut packet;
            let Some(([kind, last], part)) = bytes[..*length].split_first_chunk() else {
                return Err(CarrierError::Strange("a packet without a head"));
            };
            if *kind == ALIVE {
                continue;
            }
            if message.kind != ALIVE && message.kind != *kind {
                return Err(CarrierError::Strange("one message in another"));
            }
            if message.bytes.len() + part.len() > MOST_BYTES || message.fds.len() + fds.len() > MOST_FDS {
                return Err(CarrierError::Strange("it is too long"));
            }
            message.kind = *kind;
            message.bytes.extend_from_slice(part);
            message.fds.append(fds);
            if *last != 0 {
                return Ok(message);
            }
        }
    }

    async fn send_packet(
        &self,
        head: [u8; HEAD],
        part: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), CarrierError> {
        let send = |socket: &OwnedFd| {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            let parts = [IoSlice::new(&head), IoSlice::new(part)];
            // A packet is sent whole, or not at all.
            Ok(sendmsg(socket, &parts, &mut control, SendFlags::NOSIGNAL).map(drop)?)
        };
        match within(SILENCE, self.0.async_io(Interest::WRITABLE, send)).await {
            Ok(Err(error)) if is_gone(&error) => Err(CarrierError::Gone),
            Ok(sent) => Ok(sent?),
            Err(_) => Err(CarrierError::Silent),
        }
    }

    async fn receive_packet(&self, packet: &mut Packet) -> Result<(), CarrierError> {
        let receive = |socket: &OwnedFd| {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut parts = [IoSliceMut::new(&mut packet.bytes)];
            let received = recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
            packet.fds.clear();
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(fds) = message {
                    packet.fds.extend(fds);
                }
            }
            packet.length = received.bytes;
            Ok(received.flags)
        };
        let flags = match self.0.async_io(Interest::READABLE, receive).await {
            Err(error) if is_gone(&error) => return Err(CarrierError::Gone),
            flags => flags?,
        };
        if flags.contains(ReturnFlags::CTRUNC) {
            // This process has no descriptors left; the kernel has closed those that did not fit.
            return Err(io::Error::from(rustix::io::Errno::MFILE).into());
        }
        if flags.contains(ReturnFlags::TRUNC) {
            return Err(CarrierError::Strange("a packet is too long"));
        }
        // Every packet has a head.
        if packet.length == 0 { Err(CarrierError::Gone) } else { Ok(()) }
    }
}

/// What one read takes in.
struct Packet {
    bytes: Box<[u8]>,
    length: usize,
    fds: Vec<OwnedFd>,
}

impl Packet {
    fn new() -> Packet {
        Packet { bytes: vec![0; HEAD + PACKET].into(), length: 0, fds: Vec::new() }
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    use super::*;

    fn pair() -> (Carrier, Carrier) {
        let (ours, theirs) = Carrier::pair().unwrap();
        (ours, Carrier::over(theirs).unwrap())
    }

    #[tokio::test]
    async fn a_long_message_comes_whole_and_its_descriptors_work() {
        let (ours, theirs) = pair();
        let long: Vec<u8> = (0..=u8::MAX).cycle().take(5 * PACKET + 1).collect();
        let (reader, mut writer) = std::io::pipe().unwrap();
        let fds = vec![reader.as_fd(); MOST_FDS];
        let asked = async {
            ours.send(7, &long, &fds).await.unwrap();
            let answer = ours.receive().await.unwrap();
            assert_eq!((answer.kind, &answer.bytes[..], answer.fds.len()), (8, &b"taken"[..], 0));
        };
        let answered = async {
            let message = theirs.receive().await.unwrap();
            assert_eq!((message.kind, message.bytes.len(), message.fds.len()), (7, long.len(), MOST_FDS));
            assert!(message.bytes == long, "other bytes");
            theirs.live().await.unwrap();
            theirs.send(8, b"taken", &[]).await.unwrap();
            message.fds
        };
        let ((), mut fds) = tokio::join!(asked, answered);
        writer.write_all(b"through").unwrap();
        drop(writer);
        let mut text = String::new();
        File::from(fds.pop().unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
        for fd in &fds {
            let flags = rustix::io::fcntl_getfd(fd).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        }
    }

    #[tokio::test]
    async fn more_than_a_message_holds_is_refused_before_anything_is_sent() {
        let (ours, theirs) = pair();
        let fd = std::io::stderr();
        let fds = vec![fd.as_fd(); MOST_FDS + 1];
        assert!(matches!(ours.send(1, b"", &fds).await, Err(CarrierError::System(_))));
        assert!(matches!(ours.send(ALIVE, b"", &[]).await, Err(CarrierError::System(_))));
        ours.send(1, b"", &[]).await.unwrap();
        let message = theirs.receive().await.unwrap();
        assert_eq!((message.kind, message.bytes.len(), message.fds.len()), (1, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_silent_is_known_and_whoever_has_gone_too() {
        let (ours, theirs) = pair();
        assert!(matches!(ours.receive().await, Err(CarrierError::Silent)));
        theirs.send(3, b"last words", &[]).await.unwrap();
        drop(theirs);
        // What it has said before is still heard.
        assert_eq!(ours.receive().await.unwrap().bytes, b"last words");
        assert!(matches!(ours.receive().await, Err(CarrierError::Gone)));
        assert!(matches!(ours.send(1, b"", &[]).await, Err(CarrierError::Gone)));
        // Nobody reads: the queue fills up.
        let (ours, _theirs) = pair();
        let full = async {
            loop {
                ours.send(1, &[0; PACKET], &[]).await?;
            }
        };
        let full: Result<(), CarrierError> = full.await;
        assert!(matches!(full, Err(CarrierError::Silent)), "{full:?}");
    }

    #[tokio::test]
    async fn what_is_no_message_is_refused() {
        let (ours, theirs) = pair();
        let raw = |bytes: &[u8]| rustix::net::send(theirs.0.get_ref(), bytes, SendFlags::NOSIGNAL).unwrap();
        raw(&[1]);
        assert!(matches!(ours.receive().await, Err(CarrierError::Strange(_))));
        raw(&[1, 0, 5]);
        raw(&[2, 1, 5]);
        assert!(matches!(ours.receive().await, Err(CarrierError::Strange(_))));
        raw(&[1; HEAD + PACKET + 1]);
        assert!(matches!(ours.receive().await, Err(CarrierError::Strange(_))));
    }
}
