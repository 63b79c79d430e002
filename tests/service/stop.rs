//! The end, and the start after it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::launch::{Launch, connect, echo, lacks, lacks_root, own_address, ping, until, visit};
use crate::harness::proc::Process;

fn refused(addr: SocketAddr) -> bool {
    TcpStream::connect(addr).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[test]
fn a_stop_closes_the_listener_and_lets_connections_end() {
    let (launch, addr) = Launch::on_free_port(&echo().to_string());
    let mut portway = launch.start().ready();
    let (mut one, mut two) = (connect(addr), connect(addr));
    ping(&mut one);
    ping(&mut two);
    portway.signal(Signal::TERM);
    portway.lines.wait_for("INFO draining connections=2 at_most=30s");
    assert!(refused(addr));
    ping(&mut one);
    drop((one, two));
    assert!(portway.ended().success());
    portway.lines.wait_for("INFO stopped finished=2 cut=0");
}

#[test]
fn a_second_signal_ends_it_now() {
    let (launch, addr) = Launch::on_free_port(&echo().to_string());
    let mut portway = launch.start().ready();
    let mut client = connect(addr);
    ping(&mut client);
    portway.signal(Signal::INT);
    portway.lines.wait_for("draining");
    portway.signal(Signal::INT);
    assert!(portway.ended().success());
    portway.lines.wait_for("WARN stopped at once killed=1");
    assert_eq!(portway.lines.count("outcome=killed"), 1);
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_stop_with_nothing_open_does_not_talk_of_draining() {
    let (launch, _) = Launch::on_free_port(&echo().to_string());
    let mut portway = launch.start().ready();
    portway.signal(Signal::TERM);
    assert!(portway.ended().success());
    assert_eq!(portway.lines.count("draining"), 0);
    assert_eq!(portway.lines.count("stopped finished=0 cut=0"), 1);
}

#[test]
fn a_look_up_that_hangs_does_not_hold_up_the_end() {
    if lacks_root() || lacks(&["unshare", "mount", "ip", "setpriv", "socat"]) {
        return;
    }
    // A name server that never answers, in namespaces where nobody else asks it.
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("resolv"), "nameserver 127.0.0.1\noptions timeout:30 attempts:1\n").unwrap();
    let (resolv, asked, socket) = (path("resolv"), path("asked"), path("socket"));
    let prelude = format!(
        "ip link set lo up; mount --bind {resolv} /etc/resolv.conf\n\
         setpriv --pdeathsig KILL socat -u UDP-RECV:53,bind=127.0.0.1 CREATE:{asked} & \n\
         until ss -Hlnu | grep -q 127.0.0.1:53; do :; done"
    );
    let launch = Launch::forward(&format!("unix:{socket}"), "hangs.example:1");
    let mut portway = launch.unshared("-mn", &prelude).start().ready();
    let process = Process(portway.id());
    let before = process.fds();
    let _client = UnixStream::connect(&socket).unwrap();
    until("the client is accepted", || process.fds() != before);
    until("the name server is asked", || std::fs::metadata(&asked).is_ok_and(|meta| meta.len() > 0));
    portway.signal(Signal::TERM);
    portway.lines.wait_for("draining connections=1");
    let started = Instant::now();
    portway.signal(Signal::TERM);
    until("the program ends", || portway.child.try_wait().unwrap().is_some());
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[test]
fn after_a_kill_the_same_address_can_be_had_at_once() {
    let addr = own_address(1);
    let upstream = echo().to_string();
    for _ in 0..3 {
        let portway = Launch::forward(&addr.to_string(), &upstream).start().ready();
        let mut client = connect(addr);
        ping(&mut client);
        portway.signal(Signal::KILL);
        // What the kernel closed for it stays behind in TIME-WAIT and FIN-WAIT.
        assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
    }
    let _portway = Launch::forward(&addr.to_string(), &upstream).start().ready();
    visit(addr);
}

#[test]
fn a_taken_address_ends_the_start_with_code_1() {
    let addr = own_address(2);
    let _taken = TcpListener::bind(addr).unwrap();
    let mut portway = Launch::forward(&addr.to_string(), "127.0.0.1:1").start();
    assert_eq!(portway.ended().code(), Some(1));
}

#[test]
fn a_dead_unix_socket_is_replaced_and_a_live_one_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portway.sock");
    let listen = format!("unix:{}", path.display());
    let upstream = echo().to_string();
    // Dead: its program is gone, its file is not.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let mut portway = Launch::forward(&listen, &upstream).start().ready();
    let mut client = UnixStream::connect(&path).unwrap();
    client.write_all(b"!").unwrap();
    client.read_exact(&mut [0]).unwrap();
    // Live: the first goes on undisturbed.
    let mut second = Launch::forward(&listen, &upstream).start();
    assert_eq!(second.ended().code(), Some(1));
    client.write_all(b"!").unwrap();
    client.read_exact(&mut [0]).unwrap();
    drop(client);
    // A clean end takes the file along.
    portway.signal(Signal::TERM);
    assert!(portway.ended().success());
    assert!(!path.exists());
}
