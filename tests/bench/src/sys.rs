//! The few system calls that the standard library does not have, each as one safe function.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::num::NonZeroU64;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::event::epoll::{self, Event};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType};
use rustix::process::{Resource, Rlimit, Signal};
use rustix::thread::CpuSet;

/// How long a full socket may stay full before the run has failed.
const STUCK: Duration = Duration::from_secs(20);

/// The client's ports. Below the range that the kernel gives to sockets without one (32768 up): a port bound by us
/// would cost each `connect` of the proxy a look.
const PORTS: std::ops::Range<u16> = 10_240..32_000;

/// Gives each connection of this process its own source address and port, so that none waits for the TIME-WAIT of
/// another. Process `run` uses 127.r.r.1 and up.
pub struct Sources {
    run: u16,
    next: u32,
}

impl Sources {
    /// `run` must differ among processes of one comparison.
    pub fn new(run: u16) -> Self {
        Sources { run, next: 0 }
    }

    fn next(&mut self) -> Result<SocketAddr> {
        let ports = u32::from(PORTS.end - PORTS.start);
        let (host, port) = (self.next / ports, self.next % ports);
        if host >= 250 {
            bail!("no source addresses are left");
        }
        self.next += 1;
        // 127.0.x.x stays with the listeners.
        let [high, low] = self.run.to_be_bytes();
        let ip = Ipv4Addr::new(127, 1 + high % 254, low, 1 + host as u8);
        Ok(SocketAddr::new(IpAddr::V4(ip), PORTS.start + port as u16))
    }

    /// A socket bound to the next free source, without delay for small writes.
    pub fn socket(&mut self) -> Result<TcpStream> {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
        rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
        rustix::net::sockopt::set_tcp_nodelay(&socket, true)?;
        loop {
            match rustix::net::bind(&socket, &self.next()?) {
                Ok(()) => return Ok(TcpStream::from(socket)),
                // Someone listens on this port on all addresses.
                Err(Errno::ADDRINUSE) => {}
                Err(error) => return Err(error).context("binding a client's socket"),
            }
        }
    }

    /// A UDP socket bound to the next free source, and connected. It does not block.
    pub fn datagrams(&mut self, target: SocketAddr) -> Result<UdpSocket> {
        loop {
            match UdpSocket::bind(self.next()?) {
                Ok(socket) => {
                    socket.connect(target)?;
                    socket.set_nonblocking(true)?;
                    return Ok(socket);
                }
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error).context("binding a client's UDP socket"),
            }
        }
    }

    /// A blocking connection. Errors: refused, or no route.
    pub fn connect(&mut self, target: SocketAddr) -> Result<TcpStream> {
        let socket = self.socket()?;
        rustix::net::connect(&socket, &target).with_context(|| format!("connecting to {target}"))?;
        Ok(socket)
    }
}

/// A new epoll instance.
pub fn epoll() -> Result<OwnedFd> {
    epoll::create(epoll::CreateFlags::CLOEXEC).context("epoll_create")
}

/// Waits for events, at most `limit`.
pub fn wait(poll: &OwnedFd, events: &mut Vec<Event>, limit: Option<Duration>) -> Result<()> {
    let limit = limit
        .map(|limit| Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: i64::from(limit.subsec_nanos()) });
    events.clear();
    match epoll::wait(poll, rustix::buffer::spare_capacity(events), limit.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error).context("epoll_wait"),
    }
}

/// Waits for events. Errors: there is none for so long that the proxy must have lost something.
pub fn wait_or_stuck(poll: &OwnedFd, events: &mut Vec<Event>) -> Result<()> {
    wait(poll, events, Some(STUCK))?;
    ensure!(!events.is_empty(), "nothing happened for {STUCK:?}");
    Ok(())
}

/// One `recv`.
pub fn recv(socket: &TcpStream, buffer: &mut [u8]) -> rustix::io::Result<usize> {
    rustix::net::recv(socket, &mut *buffer, RecvFlags::empty()).map(|(n, _)| n)
}

/// Sends all of `bytes` on a non-blocking socket; waits where it is full, which with one message under way is rare.
pub fn send_all(socket: &TcpStream, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match rustix::net::send(socket, bytes, SendFlags::NOSIGNAL) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let limit = Timespec { tv_sec: STUCK.as_secs() as i64, tv_nsec: 0 };
                if poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&limit))? == 0 {
                    bail!("a socket stayed full for {STUCK:?}");
                }
            }
            Err(error) => return Err(error).context("send"),
        }
    }
    Ok(())
}

/// Room for as many datagrams as the kernel allows.
pub fn large_buffer(socket: &UdpSocket) -> Result<()> {
    rustix::net::sockopt::set_socket_recv_buffer_size(socket, 4 << 20).context("SO_RCVBUF")
}

/// Makes a socket blocking, with a limit on each read and write.
pub fn blocking(socket: &TcpStream, limit: Duration) -> Result<()> {
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(limit))?;
    socket.set_write_timeout(Some(limit))?;
    Ok(())
}

/// Its close sends RST instead of FIN.
pub fn reset_at_close(socket: &TcpStream) -> Result<()> {
    rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO)).context("SO_LINGER")
}

/// The queue of connections that wait to be accepted, as long as the peers' (the standard library asks for 128).
pub fn listen_long(listener: &TcpListener) -> Result<()> {
    rustix::net::listen(listener, 4096).context("listen")
}

/// This thread gives way to the others: bulk beside small messages must not decide who runs.
pub fn be_nice() {
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), 10);
}

/// Timers of this thread are exact (the default slack is 50 µs).
pub fn exact_timers() -> Result<()> {
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1)).context("PR_SET_TIMERSLACK")
}

/// This thread, and the processes it starts, run on these cores.
pub fn run_on(cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    rustix::thread::sched_setaffinity(None, &set).with_context(|| format!("cannot run on cores {cores:?}"))
}

/// The cores that this process may use.
pub fn cores() -> Result<Vec<usize>> {
    let set = rustix::thread::sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
}

/// Raises the limit on descriptors, of this process and those it starts, to the hard one; returns it.
pub fn raise_descriptors() -> Result<u64> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// Marks a process that is in the namespace already.
const INSIDE: &str = "PORTWAY_BENCH_NAMESPACE";

/// Begins anew in a network namespace of its own: its loopback has no ports and TIME-WAITs of others. Returns within it.
/// Errors: there can be none.
pub fn in_a_namespace() -> Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(());
    }
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let error = command
        .args(["--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    Err(error).context("cannot run unshare (Debian: util-linux); with --here no namespace is needed")
}

/// Becomes another program, which is asked to end when the process that started it dies: a driver that is killed must
/// not leave proxies behind.
pub fn exec(args: &[String]) -> Result<()> {
    let (program, args) = args.split_first().context("exec PROGRAM [ARGUMENT]...")?;
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    Err(Command::new(program).args(args).exec()).with_context(|| format!("cannot run {program}"))
}
