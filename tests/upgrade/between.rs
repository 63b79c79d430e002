//! Stands between a process and the one that takes over from it: carries each packet and its descriptors from one to the other,
//! and at a given packet kills the new one and itself. So a true successor dies at any point of an upgrade.

use std::ffi::OsStr;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// The most descriptors of a packet, and more than its bytes.
const MOST_FDS: usize = 253;
const MOST_BYTES: usize = 64 << 10;

/// Where the new process dies.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// At the packet of this number, counted from 1 over both directions.
    pub packet: usize,
    /// Once the packet has reached it, or the other: else it dies before.
    pub after: bool,
}

/// The last word of the old process before it leaves: what dies later dies alone.
const FAREWELL: &[u8] = b"farewell";

/// A command for this program. If it is to die, it does so with the caller, however that ends: else a new process whose carrier was
/// killed would take the old one for dead, and serve beside it.
pub fn command(program: impl AsRef<OsStr>, dies: bool) -> Command {
    if !dies {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// Carries packets between standard input and a program until one end is closed, or up to this point. Says how many there were
/// until the old process has left.
pub fn carry(mut program: Command, die_at: Option<Point>, mut say: impl FnMut(usize)) -> std::io::Result<()> {
    let old = std::io::stdin();
    rustix::io::ioctl_fionbio(&old, false)?;
    let flags = SocketFlags::CLOEXEC;
    let (new, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    // The program expects that its end does not block; ours does.
    rustix::io::ioctl_fionbio(&theirs, true)?;
    let mut child = program.stdin(Stdio::from(theirs)).spawn()?;
    drop(program);
    let mut packets = 0;
    loop {
        let mut ready = [PollFd::new(&old, PollFlags::IN), PollFd::new(&new, PollFlags::IN)];
        poll(&mut ready, None)?;
        let from_old = !ready[0].revents().is_empty();
        let (from, to) = if from_old { (old.as_fd(), new.as_fd()) } else { (new.as_fd(), old.as_fd()) };
        let Some((bytes, fds)) = receive(from)? else { return Ok(()) };
        if from_old && bytes.windows(FAREWELL.len()).any(|part| part == FAREWELL) {
            say(packets);
        }
        // A pulse is no step.
        packets += usize::from(bytes.first() != Some(&0));
        let due = die_at.filter(|point| point.packet == packets);
        if due.is_none_or(|point| point.after) {
            send(to, &bytes, &fds)?;
        }
        if due.is_some() {
            die(&mut child);
        }
    }
}

/// The new one first: the old one must not see the end before.
fn die(child: &mut Child) -> ! {
    let _ = child.kill();
    let _ = child.wait();
    std::process::abort()
}

fn receive(from: BorrowedFd<'_>) -> std::io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; MOST_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(from, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = message {
            fds.extend(more);
        }
    }
    bytes.truncate(got.bytes);
    Ok((!bytes.is_empty()).then_some((bytes, fds)))
}

fn send(to: BorrowedFd<'_>, bytes: &[u8], fds: &[OwnedFd]) -> std::io::Result<()> {
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&fds));
    }
    sendmsg(to, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}
