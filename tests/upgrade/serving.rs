//! What clients see of an upgrade: nothing.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, spawn};

use super::upgrade;
use crate::admin::asker::{Asker, start};
use crate::admin::concern::udp_port;
use crate::harness::instance::{Backend, Flow, PATIENCE, Place, Port, Portway, route};
use crate::harness::{header, until};

/// Clients that come one after the other until they are told to stop.
pub struct Stream {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    client: JoinHandle<()>,
}

impl Stream {
    pub fn of(visit: impl Fn() -> std::io::Result<()> + Send + 'static) -> Stream {
        let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (end, count) = (stop.clone(), served.clone());
        let client = spawn(move || {
            while !end.load(Ordering::Relaxed) {
                visit().unwrap_or_else(|error| {
                    panic!("after {} clients: {error}", count.load(Ordering::Relaxed))
                });
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Stream { stop, served, client }
    }

    /// Waits until more have come.
    pub fn goes_on(&self) {
        let before = self.served.load(Ordering::Relaxed);
        until("more clients are served", || {
            self.served.load(Ordering::Relaxed) > before + 5 || self.client.is_finished()
        });
    }

    pub fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.client.join().unwrap();
        self.served.load(Ordering::Relaxed)
    }
}

/// An upstream that sends back each datagram.
fn datagram_echo() -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap().to_string();
    spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            drop(socket.send_to(&buffer[..length], from));
        }
    });
    addr
}

pub fn udp_client(port: u16) -> UdpSocket {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.connect(("127.0.0.1", port)).unwrap();
    client
}

pub fn ask(client: &UdpSocket) -> std::io::Result<()> {
    let mut answer = [0; 8];
    client.send(b"question")?;
    client.recv(&mut answer)?;
    if &answer == b"question" { Ok(()) } else { Err(std::io::Error::other("another answer")) }
}

/// Routes on TCP of one family and of both, on a Unix socket and on UDP.
pub fn every_listener() -> (Place, Portway, Asker, [Port; 2], u16) {
    let (one, both, udp) = (Port::reserve(), Port::everywhere(), udp_port());
    let backend = Backend::named("b");
    let place = Place::with("");
    let unix = format!(
        "[[route]]\nname = \"unix\"\nlisten = {{ address = \"unix:{}\", mode = \"0640\" }}\nupstream = \"{}\"\n",
        place.root().join("web.sock").display(),
        backend.addr
    );
    let routes = route("one", &one.local(), &backend, "")
        + &route("both", &both.number.to_string(), &backend, "")
        + &unix
        + &format!(
            "[[route]]\nname = \"udp\"\nprotocol = \"udp\"\nidle_timeout = \"1s\"\nlisten = \"{}\"\nupstream = \"{}\"\n",
            format_args!("127.0.0.1:{udp}"),
            datagram_echo()
        );
    place.save(&(crate::admin::asker::head(&place) + &routes));
    let portway = Portway::run(&place.file());
    let asker = Asker::unix(&place);
    (place, portway, asker, [one, both], udp)
}

fn by_unix(place: &Place) -> std::io::Result<()> {
    let mut client = UnixStream::connect(place.root().join("web.sock"))?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.write_all(b"ping\n")?;
    let mut answer = [0; 7];
    client.read_exact(&mut answer)?;
    if &answer == b"b\nping\n" { Ok(()) } else { Err(std::io::Error::other("another answer")) }
}

#[test]
fn u1_five_upgrades_in_a_row_refuse_and_reset_no_client_and_leave_no_process() {
    let (place, mut portway, asker, [one, both], udp) = every_listener();
    let place = Arc::new(place);
    let tcp = |port: u16| Stream::of(move || Flow::try_open(port)?.ping());
    let (for_unix, question) = (place.clone(), udp);
    let streams = [
        tcp(one.number),
        tcp(both.number),
        Stream::of(move || by_unix(&for_unix)),
        // A client each time, and so a session.
        Stream::of(move || ask(&udp_client(question))),
    ];
    for _ in 0..5 {
        streams.iter().for_each(Stream::goes_on);
        let answer = upgrade(&mut portway, &asker);
        assert_eq!(asker.get("/v1/status")["pid"], answer["pid"]);
        streams.iter().for_each(Stream::goes_on);
    }
    let served: Vec<u64> = streams.into_iter().map(Stream::end).collect();
    println!("served beside five upgrades: {served:?}");
    assert_eq!(portway.count("not upgraded"), 0);
    assert!(place.root().join("web.sock").exists());
    portway.old_ones_have_ended();
    portway.stop();
    assert!(!place.root().join("web.sock").exists(), "the last one removes the file");
    assert!(!place.root().join("admin.sock").exists());
}

#[test]
fn u2_what_is_open_moves_and_the_old_process_ends() {
    let (port, backend) = (Port::reserve(), Backend::named("b"));
    let (_place, mut portway, asker) = start(&route("one", &port.local(), &backend, ""));
    let mut flow = Flow::open(port.number);
    let answer = upgrade(&mut portway, &asker);
    assert_eq!((answer["moved"].as_u64(), answer["draining"].as_u64()), (Some(1), Some(0)));
    portway.old_ones_have_ended();
    flow.ping().unwrap();
    let mut newcomer = Flow::open(port.number);
    newcomer.ping().unwrap();
    assert_eq!(asker.get("/v1/status")["traffic"]["open"], 2);
    drop(flow);
    until("one has ended", || asker.get("/v1/status")["traffic"]["open"] == 1);
    newcomer.ping().unwrap();
    drop(newcomer);
    portway.stop();
}

/// A server that knows connections by the names of `proxy_protocol` takes none for another.
#[test]
fn names_of_connections_go_on_after_those_of_the_old_process() {
    let (port, upstream) = (Port::reserve(), TcpListener::bind("127.0.0.1:0").unwrap());
    let backend = Backend { addr: upstream.local_addr().unwrap() };
    let (_place, mut portway, asker) =
        start(&route("one", &port.local(), &backend, "proxy_protocol = { send = \"v2\" }\n"));
    let named = |id: u64| {
        let client = TcpStream::connect(("127.0.0.1", port.number)).unwrap();
        let told = header::received(upstream.accept().unwrap().0, 0).0;
        drop(client);
        header::nonce(&told.notes[&header::UNIQUE_ID], &id.into())
    };
    let first = named(1);
    for id in 2..4 {
        upgrade(&mut portway, &asker);
        assert_eq!(named(id), first);
    }
    portway.old_ones_have_ended();
    portway.stop();
}

#[test]
fn u3_a_udp_client_goes_on_with_its_session_and_no_datagram_is_lost() {
    let (_place, mut portway, asker, _, udp) = every_listener();
    let client = udp_client(udp);
    ask(&client).unwrap();
    let session = |asker: &Asker| asker.connections("route=udp")[0].clone();
    let before = session(&asker);
    let stream = Stream::of(move || ask(&client));
    for _ in 0..5 {
        stream.goes_on();
        let answer = upgrade(&mut portway, &asker);
        assert_eq!((&answer["moved_sessions"], &answer["draining"]), (&1.into(), &0.into()), "{answer}");
    }
    stream.goes_on();
    let after = session(&asker);
    // The upstream sees the same client: nothing has begun anew.
    for key in ["id", "client", "peer", "local"] {
        assert_eq!(before[key], after[key], "{key}");
    }
    let asked = 8 * (1 + stream.end());
    until("all is counted", || asker.connections("route=udp")[0]["bytes_up"] == asked);
    until("and on the route", || asker.route("udp")["traffic"]["bytes_down"] == asked);
    assert_eq!(asker.route("udp")["traffic"]["opened"], 1);
    portway.old_ones_have_ended();
    portway.stop();
}

/// A new process that dies gives sessions back.
#[test]
fn u3_sessions_come_back_from_a_new_process_that_dies() {
    crate::harness::raise_descriptor_limit();
    let udp = udp_port();
    let listens = format!("listen = \"127.0.0.1:{udp}\"\nupstream = \"{}\"\n", datagram_echo());
    let (place, mut portway, asker) =
        start(&format!("[[route]]\nname = \"udp\"\nprotocol = \"udp\"\n{listens}"));
    let clients: Vec<UdpSocket> = (0..2_000).map(|_| udp_client(udp)).collect();
    clients.iter().for_each(|client| ask(client).unwrap());
    let before = asker.connections("route=udp");
    for way in ["exit", "dance"] {
        super::refused(&mut portway, &asker, &super::fake::fails_at(&place, &format!("{way}-at-sessions")));
        clients.iter().for_each(|client| ask(client).unwrap());
    }
    let of = |rows: &[serde_json::Value]| -> Vec<_> {
        rows.iter().map(|row| (row["id"].clone(), row["local"].clone())).collect()
    };
    assert_eq!(of(&asker.connections("route=udp")), of(&before));
    let answer = upgrade(&mut portway, &asker);
    assert_eq!(answer["moved_sessions"], 2_000, "{answer}");
    clients.iter().for_each(|client| ask(client).unwrap());
    assert_eq!(of(&asker.connections("route=udp")), of(&before));
    portway.old_ones_have_ended();
    asker.post("/v1/kill", &serde_json::json!({ "filter": { "route": "udp" } }));
    until("all have ended", || asker.get("/v1/status")["traffic"]["open"] == 0);
    portway.stop();
}
