//! Which addresses are this host's own, as the kernel's routes say: those of every interface, secondary ones, and whole
//! networks of a `local` route. Asked through rtnetlink(7), one address at a time: a list may be long, and leaves out
//! networks.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, bind, recv, send, socket_with};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::tcp::{FLAGS, register};

// linux/rtnetlink.h, linux/netlink.h
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const NLM_F_REQUEST: u16 = 1;
const RTA_DST: u16 = 1;
const RTN_LOCAL: u8 = 2;
/// The groups of changed IPv4 and IPv6 addresses.
const ADDRESS_GROUPS: u32 = 0x10 | 0x100;
/// The size of `struct nlmsghdr`, in bytes.
const HEADER: usize = 16;

/// Whether a packet to this address stays on this host. Where the kernel cannot be asked, only a loopback address does.
pub fn is_own(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    ip.is_loopback() || ask(ip).unwrap_or(false)
}

fn ask(ip: IpAddr) -> io::Result<bool> {
    let socket = open()?;
    send(&socket, &question(ip), SendFlags::NOSIGNAL)?;
    // The kernel answers within the call before.
    let mut answer = [0; 1024];
    let (_, length) = recv(&socket, &mut answer[..], RecvFlags::DONTWAIT)?;
    Ok(is_local(answer.get(..length).unwrap_or_default()))
}

fn open() -> rustix::io::Result<OwnedFd> {
    // Its protocol 0 is NETLINK_ROUTE.
    socket_with(AddressFamily::NETLINK, SocketType::RAW, FLAGS, None)
}

/// `RTM_GETROUTE`: the route to one address.
fn question(ip: IpAddr) -> Vec<u8> {
    let (family, octets) = match ip {
        IpAddr::V4(ip) => (AddressFamily::INET, ip.octets().to_vec()),
        IpAddr::V6(ip) => (AddressFamily::INET6, ip.octets().to_vec()),
    };
    let bits = u8::try_from(8 * octets.len()).unwrap_or(u8::MAX);
    let attribute = u16::try_from(4 + octets.len()).unwrap_or_default();
    let mut message = vec![0; 4];
    message.extend([RTM_GETROUTE.to_ne_bytes(), NLM_F_REQUEST.to_ne_bytes()].concat());
    // Sequence and sender: one question, one answer.
    message.extend([0; 8]);
    // struct rtmsg: the family, the length of the destination, and eight bytes and flags of zero.
    message.extend([u8::try_from(family.as_raw()).unwrap_or_default(), bits, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    message.extend([attribute.to_ne_bytes(), RTA_DST.to_ne_bytes()].concat());
    message.extend(octets);
    let length = u32::try_from(message.len()).unwrap_or_default();
    message[..4].copy_from_slice(&length.to_ne_bytes());
    message
}

/// Whether the kernel's answer is a route to this host. An unreachable address has an error instead of a route.
fn is_local(answer: &[u8]) -> bool {
    let kind = answer.get(4..6).and_then(|kind| kind.try_into().ok()).map(u16::from_ne_bytes);
    kind == Some(RTM_NEWROUTE) && answer.get(HEADER + 7) == Some(&RTN_LOCAL)
}

/// Notices changes of this host's addresses.
#[derive(Debug)]
pub struct AddressNews(AsyncFd<OwnedFd>);

impl AddressNews {
    /// Subscribes. Fails where the kernel or a sandbox has no rtnetlink.
    pub fn subscribe() -> io::Result<AddressNews> {
        let socket = open()?;
        bind(&socket, &SocketAddrNetlink::new(0, ADDRESS_GROUPS))?;
        register(socket, Interest::READABLE).map(AddressNews)
    }

    /// Resolves after a change.
    pub async fn changed(&self) -> io::Result<()> {
        let mut ready = self.0.readable().await?;
        // What is said does not matter, and neither does an overflow: both mean a change.
        while recv(&self.0, &mut [0; 4096][..], RecvFlags::DONTWAIT) != Err(rustix::io::Errno::AGAIN) {}
        ready.clear_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_networks_are_own_and_others_are_not() {
        let is_own = |text: &str| is_own(text.parse().unwrap());
        assert!(is_own("127.0.0.1") && is_own("127.9.9.9") && is_own("::1") && is_own("::ffff:127.0.0.1"));
        assert!(!is_own("192.0.2.1") && !is_own("2001:db8::1"));
        // Asked, not known beforehand.
        assert!(ask("127.0.0.2".parse().unwrap()).unwrap());
        assert!(!ask("192.0.2.1".parse().unwrap()).unwrap_or(false));
    }
}
