//! What is attacked: one proxy with every kind of listener, in a network of its own, and its upstreams.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::instance::{PORTWAY, Place, Portway};
use crate::harness::proc::Process;
use crate::harness::tls::PEMS;
use crate::harness::{Netns, PATIENCE, pass};

/// Ports of the proxy, on 127.0.0.1 of its network.
pub const TCP: u16 = 7001;
/// Shared by two routes: the name of the client's hello chooses.
pub const SNI: u16 = 7002;
/// TLS ends there.
pub const TLS: u16 = 7003;
/// A PROXY header is read of 127.66/16.
pub const PROXY: u16 = 7004;
/// Its upstream is gone, and its clients wait.
pub const HOLD: u16 = 7005;
pub const ADMIN: u16 = 7009;
/// Four UDP listeners.
pub const UDP: [u16; 4] = [7101, 7102, 7103, 7104];
/// Their upstream.
pub const ECHO: u16 = 9001;
/// Descriptors of the proxy: so few that an attack from one machine takes them all.
const NOFILE: usize = 2000;

/// The proxy under attack.
pub struct Target {
    pub netns: Netns,
    pub portway: Portway,
    _place: Place,
    /// Its memory and its descriptors at rest.
    memory: u64,
    descriptors: BTreeMap<String, usize>,
    connections: usize,
}

impl Target {
    pub fn start() -> Target {
        let netns = Netns::new();
        // Whoever answers 10.9/16 is never heard again: half-open connections stay so.
        for args in [
            "link add void type veth peer name nowhere",
            "addr add 10.8.0.1/32 dev void",
            "link set void arp off up",
        ] {
            netns.ip(args);
        }
        netns.ip("route add 10.9.0.0/16 dev void");
        netns.sysctl("ipv4/conf/all/rp_filter", "0");
        netns.sysctl("ipv4/conf/lo/rp_filter", "0");
        // More errors than the kernel would send of itself are part of an attack.
        netns.sysctl("ipv4/icmp_ratelimit", "0");
        netns.enter(serve);
        let place = Place::with("");
        std::fs::set_permissions(place.root(), std::fs::Permissions::from_mode(0o755)).unwrap();
        PEMS.write(&place.folder());
        std::fs::write(place.file(), text()).unwrap();
        let limit = format!("--nofile={NOFILE}");
        let mut command: Command = netns.command("prlimit");
        let portway = Portway::start(command.args([&limit, PORTWAY, "run", "--config"]).arg(place.file()));
        let mut target =
            Target { netns, portway, _place: place, memory: 0, descriptors: BTreeMap::new(), connections: 0 };
        target.rests();
        target.descriptors = target.process().fds();
        target
    }

    fn process(&self) -> Process {
        Process(self.portway.pid())
    }

    /// Notes what it holds at rest.
    pub fn rests(&mut self) {
        self.connections = self.process().tcp().len();
        self.memory = self.process().memory();
    }

    /// How many bytes more than at rest it has.
    pub fn grown(&self) -> u64 {
        self.process().memory().saturating_sub(self.memory)
    }

    /// Waits until it has no more connections than at rest: a machine that does twenty things at once may need a minute for those
    /// that wait in the kernel. Sessions of UDP have their time.
    pub fn lets_go(&mut self) {
        let (mut last, mut since) = ((0, 0), Instant::now());
        loop {
            let now = (self.process().tcp().len(), self.lines());
            if now.0 <= self.connections {
                return;
            }
            if now != last {
                (last, since) = (now, Instant::now());
            }
            assert!(
                since.elapsed() < PATIENCE,
                "{now:?} connections and lines, {} at rest",
                self.connections
            );
            pass(Duration::from_millis(2));
        }
    }

    /// Descriptors that it has more than at rest.
    pub fn left_over(&self) -> BTreeMap<String, usize> {
        let mut now = self.process().fds();
        now.retain(|kind, count| *count > self.descriptors.get(kind).copied().unwrap_or_default());
        now
    }

    pub fn open(&self) -> usize {
        self.process().fds().values().sum()
    }

    /// Lines of its logs.
    pub fn lines(&mut self) -> usize {
        self.portway.catch_up();
        self.portway.seen.len()
    }
}

fn text() -> String {
    let udp: String = UDP
        .iter()
        .map(|port| {
            format!(
                "[[route]]\nname = \"udp{port}\"\nprotocol = \"udp\"\nlisten = \"127.0.0.1:{port}\"\n\
                 upstream = \"127.0.0.1:{ECHO}\"\nidle_timeout = \"5s\"\n"
            )
        })
        .collect();
    let tcp = [
        ("tcp", TCP, String::new()),
        ("named", SNI, "sni = \"panel.example\"\n".to_owned()),
        ("rest", SNI, String::new()),
        ("tls", TLS, "tls = { cert = \"cert.pem\", key = \"key.pem\" }\n".to_owned()),
        ("proxied", PROXY, "proxy_protocol = { accept = true, trusted = [\"127.66.0.0/16\"] }\n".to_owned()),
    ];
    let tcp: String = tcp
        .iter()
        .map(|(name, port, more)| {
            format!("[[route]]\nname = \"{name}\"\nlisten = \"127.0.0.1:{port}\"\nupstream = \"127.0.0.1:{ECHO}\"\n{more}")
        })
        .collect();
    // Silent clients of shared addresses are heard within sniff_timeout, as long as by default.
    format!(
        "[log]\nformat = \"json\"\n[admin]\nlisten = \"127.0.0.1:{ADMIN}\"\n{tcp}{udp}\
         [[route]]\nname = \"hold\"\nlisten = \"127.0.0.1:{HOLD}\"\nupstream = \"127.0.0.1:1\"\nwhen_down = \"hold 2s\"\n"
    )
}

/// An upstream that echoes, over TCP and UDP.
fn serve() {
    let tcp = TcpListener::bind(("127.0.0.1", ECHO)).unwrap();
    // std's queue is short.
    rustix::net::listen(&tcp, 4096).unwrap();
    tcp.set_nonblocking(true).unwrap();
    let udp = UdpSocket::bind(("127.0.0.1", ECHO)).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let tcp = tokio::net::TcpListener::from_std(tcp).unwrap();
            while let Ok((mut stream, _)) = tcp.accept().await {
                tokio::spawn(async move {
                    let mut buffer = vec![0; 4096];
                    while let Ok(got @ 1..) = stream.read(&mut buffer).await {
                        if stream.write_all(&buffer[..got]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
    });
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok((got, from)) = udp.recv_from(&mut buffer) {
            // Whoever is gone is gone.
            drop(udp.send_to(&buffer[..got], from));
        }
    });
}

/// An address of the proxy.
pub fn at(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}
