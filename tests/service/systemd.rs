//! The service manager: what it is told, and the sockets that it passes.

use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::process::Command;

use rustix::process::Signal;

use crate::harness::instance::Port;
use crate::harness::launch::{Launch, PATIENCE, PORTWAY, connect, echo, ping, until, visit};

/// A service manager that listens.
struct Manager(UnixDatagram);

impl Manager {
    fn hears(&self) -> Vec<String> {
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut message = [0; 4096];
        let length = self.0.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap().lines().map(ToOwned::to_owned).collect()
    }
}

#[test]
fn the_service_manager_hears_of_the_start_and_of_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = Manager(UnixDatagram::bind(&path).unwrap());
    let (launch, addr) = Launch::on_free_port(&echo().to_string());
    let mut portway = launch.env("NOTIFY_SOCKET", path.to_str().unwrap()).start();
    let id = portway.id();
    assert_eq!(manager.hears(), ["READY=1", &format!("MAINPID={id}"), "STATUS=1 routes, 1 listeners"]);
    let mut client = connect(addr);
    ping(&mut client);
    portway.signal(Signal::TERM);
    // 30 s for the drain, and some more.
    assert_eq!(
        manager.hears(),
        ["STOPPING=1", "EXTEND_TIMEOUT_USEC=35000000", "STATUS=draining 1 connections"]
    );
    drop(client);
    assert!(portway.ended().success());
}

#[test]
fn the_watchdog_is_kept_while_it_serves_and_while_it_drains() {
    let name = format!("portway-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = Manager(UnixDatagram::bind_addr(&address).unwrap());
    let (launch, addr) = Launch::on_free_port(&echo().to_string());
    let launch = launch.env("NOTIFY_SOCKET", &format!("@{name}")).env("WATCHDOG_USEC", "50000");
    let portway = launch.start();
    assert_eq!(manager.hears()[0], "READY=1");
    for _ in 0..5 {
        assert_eq!(manager.hears(), ["WATCHDOG=1"]);
    }
    let mut client = connect(addr);
    ping(&mut client);
    portway.signal(Signal::TERM);
    while manager.hears()[0] != "STOPPING=1" {}
    for _ in 0..5 {
        assert_eq!(manager.hears(), ["WATCHDOG=1"]);
    }
    // A stopped program says nothing: that is what the manager waits for.
    portway.signal(Signal::STOP);
    manager.0.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
    while manager.0.recv(&mut [0; 64]).is_ok() {}
    portway.signal(Signal::CONT);
    assert_eq!(manager.hears(), ["WATCHDOG=1"]);
}

#[test]
fn a_watchdog_of_another_process_is_none_of_ours() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = Manager(UnixDatagram::bind(&path).unwrap());
    let (launch, _) = Launch::on_free_port(&echo().to_string());
    let launch = launch.env("NOTIFY_SOCKET", path.to_str().unwrap());
    let mut portway = launch.env("WATCHDOG_USEC", "1000").env("WATCHDOG_PID", "1").start();
    assert_eq!(manager.hears()[0], "READY=1");
    portway.signal(Signal::TERM);
    assert_eq!(manager.hears()[0], "STOPPING=1");
    assert!(portway.ended().success());
}

#[test]
fn a_passed_socket_serves_the_listener_of_its_address() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    let ours = socket.try_clone().unwrap();
    let launch = Launch::forward(&addr.to_string(), &echo().to_string()).inherit(socket);
    let mut portway = launch.start().ready();
    visit(addr);
    portway.signal(Signal::TERM);
    assert!(portway.ended().success());
    // Whoever passed it has it still, and a client of the meantime waits in its queue.
    let _client = connect(addr);
    ours.accept().unwrap();
}

/// Closing our end would not close the port: somebody else has the socket, and its clients would wait for ever.
#[test]
fn t16_a_passed_socket_stays_open_where_a_route_refuses() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    let dead = Port::reserve();
    let launch = Launch::forward(&addr.to_string(), &dead.local()).args(&["--set", "when_down=refuse"]);
    let mut portway = launch.inherit(socket).start().ready();
    let reset = || {
        let mut client = connect(addr);
        let ended = std::io::Read::read(&mut client, &mut [0]);
        ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
    };
    const SAID: &str = "this socket is inherited and stays open";
    until("it is down", || reset() && portway.lines.count(SAID) > 0);
    // It accepts, and resets whom nobody serves, again and again; it is said once.
    for _ in 0..5 {
        assert!(reset());
    }
    let listener = TcpListener::bind(dead.local()).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            std::thread::spawn(move || drop(std::io::copy(&mut &client, &mut &client)));
        }
    });
    until("it is served again", || {
        let mut client = connect(addr);
        let sent = std::io::Write::write_all(&mut client, b"!");
        sent.is_ok() && std::io::Read::read_exact(&mut client, &mut [0]).is_ok()
    });
    assert_eq!(portway.lines.count(SAID), 1);
    portway.signal(Signal::TERM);
    assert!(portway.ended().success());
}

/// A plan only looks: the options of a socket that somebody else has too are set by who serves it.
#[test]
fn a_plan_leaves_a_passed_socket_as_it_is() {
    use rustix::net::sockopt::{set_socket_keepalive, socket_keepalive};
    let folder = tempfile::tempdir().unwrap();
    let (file, edit) = (folder.path().join("portway.toml"), folder.path().join("edit.toml"));
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let (passed, ours) = (socket.local_addr().unwrap(), socket.try_clone().unwrap());
    set_socket_keepalive(&ours, true).unwrap();
    let route = |listen| format!("[[route]]\nlisten = \"{listen}\"\nupstream = \"{}\"\n", echo());
    let admin = format!("[admin]\nlisten = \"unix:{}\"\n", folder.path().join("admin.sock").display());
    let text = admin + &route(crate::harness::launch::own_address(4));
    std::fs::write(&file, &text).unwrap();
    std::fs::write(&edit, text + &route(passed)).unwrap();
    let portway = Launch::default().args(&["run", file.to_str().unwrap()]).inherit(socket).start().ready();
    let plan = Command::new(PORTWAY).arg("plan").arg(&edit).env("PORTWAY_CONFIG", &file).output().unwrap();
    let shown = String::from_utf8_lossy(&plan.stdout);
    assert!(plan.status.code() == Some(3) && shown.contains(&format!("+ {passed}")), "{plan:?}");
    assert!(socket_keepalive(&ours).unwrap());
    drop(portway);
}

#[test]
fn a_bare_port_takes_the_dual_stack_socket_of_systemd() {
    // `[::]` of std is a dual-stack socket, as `ListenStream=8080` is.
    let socket = TcpListener::bind("[::]:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let launch = Launch::forward(&port.to_string(), &echo().to_string()).inherit(socket);
    let portway = launch.start().ready();
    visit(([127, 0, 0, 1], port).into());
    visit((std::net::Ipv6Addr::LOCALHOST, port).into());
    assert_eq!(portway.lines.count("WARN"), 0);
}

#[test]
fn a_passed_unix_socket_keeps_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portway.sock");
    let socket = UnixListener::bind(&path).unwrap();
    let listen = format!("unix:{}", path.display());
    let mut portway = Launch::forward(&listen, &echo().to_string()).inherit(socket).start().ready();
    drop(UnixStream::connect(&path).unwrap());
    portway.signal(Signal::TERM);
    assert!(portway.ended().success());
    assert!(path.exists());
}

#[test]
fn a_passed_socket_that_no_route_uses_is_named_once() {
    let (launch, addr) = Launch::on_free_port(&echo().to_string());
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let unused = other.local_addr().unwrap();
    let portway = launch.inherit(other).env("LISTEN_FDNAMES", "web:spare").start().ready();
    let line = portway.lines.wait_for("no route listens on this socket");
    assert!(line.contains(&format!("socket=\"{unused} (spare)\"")), "{line}");
    assert_eq!(portway.lines.count("WARN"), 1);
    visit(addr);
}

#[test]
fn a_descriptor_that_does_not_listen_is_named() {
    let (launch, addr) = Launch::on_free_port(&echo().to_string());
    let (not_listening, _other) = UnixStream::pair().unwrap();
    let portway = launch.inherit(not_listening).env("LISTEN_FDNAMES", "web:odd").start().ready();
    let line = portway.lines.wait_for("cannot be used");
    assert!(line.contains("4 odd: it does not listen"), "{line}");
    visit(addr);
}

#[test]
fn sockets_for_another_process_are_left_alone() {
    let addr = crate::harness::launch::own_address(3);
    let launch = Launch::forward(&addr.to_string(), &echo().to_string());
    let portway = launch.env("LISTEN_FDS", "1").env("LISTEN_PID", "1").start().ready();
    visit(addr);
    assert_eq!(portway.lines.count("WARN"), 0);
}

/// `ListenDatagram=`: it serves the UDP listener of its address, and no TCP listener of that port.
#[test]
fn a_passed_datagram_socket_serves_the_udp_listener_of_its_address() {
    let (socket, upstream) = (UdpSocket::bind("[::]:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let port = socket.local_addr().unwrap().port();
    let ours = socket.try_clone().unwrap();
    let launch = Launch::forward(&port.to_string(), &upstream.local_addr().unwrap().to_string());
    let mut portway =
        launch.args(&["--protocol", "udp", "--idle-timeout", "1s"]).inherit(socket).start().ready();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(("127.0.0.1", port)).unwrap();
    for socket in [&client, &upstream, &ours] {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    let mut buffer = [0; 16];
    client.send(b"question").unwrap();
    let (length, from) = upstream.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"question");
    upstream.send_to(b"answer", from).unwrap();
    assert_eq!(client.recv(&mut buffer).map(|length| buffer[..length].to_vec()).unwrap(), b"answer");
    assert_eq!(portway.lines.count("WARN"), 0);
    portway.signal(Signal::TERM);
    assert!(portway.ended().success());
    // Whoever passed it has it still, and what comes in the meantime waits in its queue.
    client.send(b"later").unwrap();
    ours.set_nonblocking(false).unwrap();
    assert_eq!(ours.recv(&mut buffer).unwrap(), 5);
}
