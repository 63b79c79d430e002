//! Deadlines of what is asked of upstreams.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use super::{DEADLINE, has_sockets, paused, paused_for, sockets};
use crate::harness::instance::*;
use crate::harness::proc::SYN_SENT;
use crate::harness::tls::Tls;
use crate::harness::{End, Proxy, Upstream, until, upstream::Family};
use crate::upstreams::server::{Server, entry, leads};

#[test]
fn r7_an_upstream_that_accepted_during_a_pause_is_connected() {
    let (upstream, filler) = Upstream::deaf(Family::V4);
    // On a busy machine it takes seconds to see in the kernel's table of sockets that it dials.
    let proxy = Proxy::in_front_of(&upstream.addr).with(&["--set connect_timeout=10s"]).start();
    let mut client = proxy.connect();
    until("it dials", || proxy.process.count(SYN_SENT) > 0);
    let fill = filler.len();
    // The next SYN comes a second after the first, or three, or seven: within the pause.
    let mut accepted = None;
    paused_for(Duration::from_secs(11), proxy.process.0, || {
        (0..fill).for_each(|_| drop(upstream.accept()));
        accepted = Some(upstream.accept());
    });
    let mut server = accepted.unwrap();
    client.send(10);
    client.fin();
    assert_eq!(server.receive_all(), End::Fin(10));
    server.fin();
    assert_eq!(client.receive_all(), End::Fin(0));
    drop((client, server, filler));
    proxy.finish();
}

#[test]
fn r7_an_upstream_that_began_tls_during_a_pause_is_connected() {
    let upstream = Upstream::on(Family::V4);
    let options = format!("--set connect_timeout={DEADLINE}");
    let proxy = Proxy::in_front_of(&upstream.addr).with(&[&options]).beginning_tls().start();
    let mut client = proxy.connect();
    let server = upstream.accept();
    let (done, shaken) = mpsc::channel();
    paused(proxy.process.0, || {
        // It ends after the pause.
        std::thread::spawn(move || done.send(server.over(Tls::server)));
    });
    let mut server = shaken.recv_timeout(PATIENCE).unwrap().unwrap();
    client.send(10);
    server.receive(10);
    client.fin();
    server.fin();
    assert_eq!((server.receive_all(), client.receive_all()), (End::Fin(10), End::Fin(0)));
    drop((client, server));
    proxy.finish();
}

#[test]
fn r7_a_held_client_is_served_by_an_upstream_that_came_back_during_a_pause() {
    let (port, mut server) = (Port::reserve(), Server::new("app"));
    server.refuse();
    let place =
        Place::with(&leads(&port, &[entry(&server, "")], &format!("when_down = \"hold {DEADLINE}\"\n")));
    let portway = Portway::run(&place.file());
    let before = sockets(&portway);
    let client = std::net::TcpStream::connect(port.local()).unwrap();
    has_sockets(&portway, before, 1);
    paused(portway.pid(), || server.start());
    let flow = Flow::greeted(client).unwrap();
    assert_eq!(flow.reached, "app");
    drop(flow);
    server.end_connections();
    portway.stop();
}

#[test]
fn r7_an_upstream_that_answered_its_check_during_a_pause_is_not_down() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, addr) = (Port::reserve(), listener.local_addr().unwrap());
    let (turn, asked) = (Arc::new(Mutex::new(())), Arc::new(AtomicUsize::new(0)));
    let (may_answer, count) = (turn.clone(), asked.clone());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            if matches!(stream.read(&mut [0; 100]), Ok(1..)) {
                count.fetch_add(1, Ordering::SeqCst);
                let _answers = may_answer.lock();
                drop(stream.write_all(b"fine"));
            }
        }
    });
    let check = format!(
        "health = {{ interval = \"{DEADLINE}\", timeout = \"{DEADLINE}\", rise = 1, fall = 1, send = \"?\", expect = \"fine\" }}\n"
    );
    let place = Place::with(&leads(&port, &[format!("\"{addr}\"")], &check));
    let mut portway = Portway::run(&place.file());
    let held = turn.lock().unwrap();
    let before = asked.load(Ordering::SeqCst);
    until("a check waits for its answer", || asked.load(Ordering::SeqCst) > before);
    let mut held = Some(held);
    paused(portway.pid(), || drop(held.take()));
    let before = asked.load(Ordering::SeqCst);
    until("checks go on", || asked.load(Ordering::SeqCst) > before + 1);
    assert_eq!(portway.count("upstream is down"), 0, "{}", portway.log());
    portway.stop();
}
