//! `portway probe --udp`: each line of input becomes one datagram, and the answers become output.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Stdin, stdin, stdout};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until};

use super::steps::{Count, Since, Steps, bytes};
use super::{connect, explain};
use crate::model::{UpstreamAddr, units};
use crate::net::itself;

/// Largest payload of a datagram over IPv4, in bytes; a longer line becomes several.
const PAYLOAD_MAX: usize = 65_507;

/// Sends and receives until no answer has come for `limit` after the end of input. Returns whether an answer came.
pub(super) async fn probe(addr: &UpstreamAddr, limit: Duration, steps: &Steps) -> bool {
    let start = Instant::now();
    let Some(addrs) = connect::resolve(addr, limit, steps).await else { return false };
    let Some((socket, peer)) = open(&addrs, limit, steps).await else { return false };
    let mut talk = Exchange {
        peer: UpstreamAddr::Ip(peer),
        socket,
        start,
        asked_at: None,
        sent: (0, 0),
        received: (0, 0),
        quiet_at: None,
    };
    match talk.run(limit, steps).await {
        Ok(()) => talk.summary(limit, steps),
        Err(End::OutputGone) => {}
        Err(End::Refused(error)) => {
            let why = match error.kind() {
                io::ErrorKind::ConnectionRefused => {
                    "refused (ICMP port unreachable): nothing listens there".to_owned()
                }
                _ => explain::unreached(&talk.peer, &error, limit),
            };
            steps.error(format_args!("{} by UDP: {why}", talk.peer));
        }
    }
    talk.received.0 > 0
}

/// A socket for the first address that this host has a route to. `None`: there is none, and that was reported.
async fn open(addrs: &[SocketAddr], limit: Duration, steps: &Steps) -> Option<(UdpSocket, SocketAddr)> {
    for addr in addrs {
        let opened = async {
            let mut socket = connected(*addr).await?;
            if itself::is_with_itself(&socket, *addr) {
                // While the first one lives, the kernel gives the second another port.
                socket = connected(*addr).await?;
            }
            Ok::<_, io::Error>((socket.local_addr()?, socket))
        };
        match opened.await {
            Ok((local, socket)) => {
                steps.say(format_args!("sending to {addr} from {local}"));
                return Some((socket, *addr));
            }
            Err(error) => {
                let why = explain::unreached(&UpstreamAddr::Ip(*addr), &error, limit);
                steps.error(format_args!("could not send to {addr}: {why}"));
            }
        }
    }
    None
}

async fn connected(addr: SocketAddr) -> io::Result<UdpSocket> {
    let local: SocketAddr = match addr {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(addr).await?;
    Ok(socket)
}

enum End {
    OutputGone,
    Refused(io::Error),
}

/// Datagrams and bytes.
type Amount = (u64, u64);

struct Exchange {
    peer: UpstreamAddr,
    socket: UdpSocket,
    start: Instant,
    /// When the first datagram was sent.
    asked_at: Option<Instant>,
    sent: Amount,
    received: Amount,
    /// Set by the end of input, and put off by each answer after it.
    quiet_at: Option<Instant>,
}

impl Exchange {
    async fn run(&mut self, limit: Duration, steps: &Steps) -> Result<(), End> {
        let mut input = BufReader::new(stdin());
        let mut line = Vec::new();
        let mut output = stdout();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let quiet_at = self.quiet_at;
            tokio::select! {
                got = self.socket.recv(&mut buffer) => {
                    let length = got.map_err(End::Refused)?;
                    self.count_answer(length, steps);
                    let write = async {
                        output.write_all(&buffer[..length]).await?;
                        output.flush().await
                    };
                    write.await.map_err(|_| End::OutputGone)?;
                    self.quiet_at = self.quiet_at.map(|_| Instant::now() + limit);
                }
                ended = read_line(&mut input, &mut line), if quiet_at.is_none() => {
                    if let Err(error) = ended {
                        steps.error(format_args!("could not read standard input: {error}"));
                        line.clear();
                    }
                    if line.is_empty() {
                        self.quiet_at = Some(Instant::now() + limit);
                    } else {
                        self.asked_at.get_or_insert_with(Instant::now);
                        self.socket.send(&line).await.map_err(End::Refused)?;
                        self.sent = (self.sent.0 + 1, self.sent.1 + line.len() as u64);
                        line.clear();
                    }
                }
                () = sleep_until(quiet_at.unwrap_or(self.start)), if quiet_at.is_some() => return Ok(()),
            }
        }
    }

    fn count_answer(&mut self, length: usize, steps: &Steps) {
        if self.received.0 == 0 {
            steps.say(format_args!("first answer after {}", Since(self.asked_at.unwrap_or(self.start))));
        }
        self.received = (self.received.0 + 1, self.received.1 + length as u64);
    }

    fn summary(&self, limit: Duration, steps: &Steps) {
        if self.received.0 == 0 {
            let silence = units::show(limit);
            let meaning = "nothing is there, a firewall drops it, or the service does not answer this";
            let why = if self.sent.0 == 0 { "no input, so nothing was sent" } else { meaning };
            steps.error(format_args!("no answer from {} within {silence}: {why}", self.peer));
        }
        let show =
            |(count, size): Amount| format!("{} ({})", Count(count, "datagram", "datagrams"), bytes(size));
        let (sent, received) = (show(self.sent), show(self.received));
        steps.say(format_args!("ended, total {}, sent {sent}, received {received}", Since(self.start)));
    }
}

/// Reads a line with its end, or as much as fits into a datagram; empty at the end of input. May be dropped and called
/// again with the same `line`.
async fn read_line(input: &mut BufReader<Stdin>, line: &mut Vec<u8>) -> io::Result<()> {
    let room = PAYLOAD_MAX.saturating_sub(line.len()) as u64;
    input.take(room).read_until(b'\n', line).await.map(drop)
}
