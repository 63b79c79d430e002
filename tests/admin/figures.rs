//! What the endpoint says is what has happened: known bytes, known ends, counted once each.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

use serde_json::json;

use super::asker::{portway, start};
use crate::harness::instance::{Backend, Flow, PATIENCE, Port, is_refused, route};
use crate::harness::ports::free_port;
use crate::harness::until;

#[test]
fn bytes_and_ends_are_those_of_the_traffic() {
    let (port, backend) = (Port::reserve(), Backend::named("one"));
    let (place, proxy, asker) = start(&route("web", &port.local(), &backend, ""));
    let mut flow = Flow::open(port.number);
    flow.round_trip(&[7; 100_000]).unwrap();
    // While it is open: the greeting "one\n" came first.
    let open = json!({ "open": 1, "opened": 1, "closed": 0, "bytes_up": 100_000, "bytes_down": 100_004 });
    // The client has the last of it before it is counted.
    until("it is counted", || asker.route("web")["traffic"] == open);
    let row = &asker.connections("tcp=true")[0];
    assert_eq!((&row["bytes_up"], &row["bytes_down"]), (&json!(100_000), &json!(100_004)));
    assert_eq!(row["route"], "web");
    assert_eq!(row["upstream"], backend.addr.to_string());
    assert_eq!((&row["protocol"], &row["generation"]), (&json!("tcp"), &json!(1)));
    assert!(row["idle"].as_f64().unwrap() <= row["age"].as_f64().unwrap(), "{row}");
    assert!(row["tcp"]["client"]["rtt"].as_f64().unwrap() > 0.0, "{row}");
    assert!(row["tcp"]["upstream"]["window"].as_u64().unwrap() > 0, "{row}");
    drop(flow);
    until("it has ended", || asker.route("web")["traffic"]["closed"] == 1);
    for _ in 0..3 {
        let mut flow = Flow::open(port.number);
        flow.ping().unwrap();
    }
    until("they have ended", || asker.route("web")["traffic"]["closed"] == 4);
    let ended = json!({ "open": 0, "opened": 4, "closed": 4, "bytes_up": 100_015, "bytes_down": 100_031 });
    let route = asker.route("web");
    assert_eq!(route["traffic"], ended);
    assert_eq!(route["outcomes"], json!({ "client-closed": 4 }), "as the access log says it");
    // The upstream has had all of it, and the status is the sum of the routes.
    assert_eq!(asker.get("/v1/upstreams")["upstreams"][0]["traffic"], ended);
    assert_eq!(asker.get("/v1/status")["traffic"], ended);
    let shown = portway(&place.file(), &["status"]);
    assert!(shown.out.contains("web    up        0      4  98 KiB  98 KiB"), "{}", shown.out);
    proxy.stop();
}

#[test]
fn pipes_are_counted_as_long_as_they_are_open() {
    let (port, server) = (Port::reserve(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (listen, upstream) = (port.local(), server.local_addr().unwrap());
    let (_place, proxy, asker) =
        start(&format!("[[route]]\nlisten = \"{listen}\"\nupstream = \"{upstream}\"\nrelay = \"splice\"\n"));
    let descriptors = || proxy.descriptors().get("pipe").copied().unwrap_or_default() as u64;
    let (before, pipes) = (descriptors(), || asker.get("/v1/status")["limits"]["pipes"].clone());
    assert_eq!(pipes(), json!({ "used": 0, "most": 512 }));
    let client = TcpStream::connect(("127.0.0.1", port.number)).unwrap();
    let mut pushed = server.accept().unwrap().0;
    pushed.set_nonblocking(true).unwrap();
    // Nobody reads: what no socket takes stays in a pipe.
    until("a pipe holds what the client does not read", || {
        while pushed.write(&[7; 1 << 16]).is_ok() {}
        pipes()["used"].as_u64() > Some(0)
    });
    assert_eq!(pipes()["used"].as_u64().map(|used| 2 * used), Some(descriptors() - before));
    drop((client, pushed));
    until("the pipes are closed", || pipes()["used"] == 0);
    proxy.stop();
}

#[test]
fn sessions_are_counted_as_connections_are() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let upstream = server.local_addr().unwrap();
    let listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let (_place, proxy, asker) = start(&format!(
        "[[route]]\nname = \"dns\"\nprotocol = \"udp\"\nlisten = \"{listen}\"\nupstream = \"{upstream}\"\n"
    ));
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(listen).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send(b"12345").unwrap();
    let mut buffer = [0; 100];
    let (_, from) = server.recv_from(&mut buffer).unwrap();
    server.send_to(b"123", from).unwrap();
    assert_eq!(client.recv(&mut buffer).unwrap(), 3);
    let open = json!({ "open": 1, "opened": 1, "closed": 0, "bytes_up": 5, "bytes_down": 3 });
    until("it is counted", || asker.route("dns")["traffic"] == open);
    assert_eq!(asker.get("/v1/upstreams")["upstreams"][0]["traffic"], open);
    let rows = asker.connections("route=dns");
    assert_eq!(rows[0]["client"], client.local_addr().unwrap().to_string());
    assert_eq!((&rows[0]["protocol"], &rows[0]["path"]), (&json!("udp"), &json!("datagram")));
    assert_eq!(rows[0]["peer"], upstream.to_string());
    assert!(rows[0]["idle"].as_f64().is_some());
    assert_eq!(asker.get("/v1/status")["limits"]["sessions"]["used"], 1);
    let killed = asker.post("/v1/kill", &json!({ "ids": [rows[0]["id"]] }));
    assert_eq!(killed, json!({ "killed": 1, "unknown": [] }));
    until("it is gone", || asker.connections("").is_empty());
    assert_eq!(asker.route("dns")["outcomes"], json!({ "killed": 1 }));
    assert_eq!(asker.get("/v1/upstreams")["upstreams"][0]["traffic"]["closed"], 1);
    proxy.stop();
}

/// They have a quarter of all places.
#[test]
fn clients_that_have_not_said_where_they_go_are_shown_while_there_are_any() {
    let (port, backend) = (Port::reserve(), Backend::named("one"));
    let limits = "[limits]\nmax_connections = 400\npreread_memory = \"64 MiB\"\n";
    let tls = route("tls", &port.local(), &backend, "sni = \"a.example\"\nsniff_timeout = \"1h\"\n");
    let (place, proxy, asker) = start(&[limits, &tls].concat());
    let shown = || {
        let out = portway(&place.file(), &["status"]).out;
        out.lines().find(|line| line.starts_with("preread")).map(str::to_owned)
    };
    assert_eq!(shown(), None);
    let silent = [0, 1].map(|_| TcpStream::connect(("127.0.0.1", port.number)).unwrap());
    until("both are read", || asker.get("/v1/status")["limits"]["preread"]["used"] == 2);
    let line = "preread      2 of 100 have no upstream yet, with 16 KiB of 64 MiB";
    assert_eq!(shown().as_deref(), Some(line));
    drop(silent);
    until("both are gone", || asker.get("/v1/status")["limits"]["preread"]["used"] == 0);
    assert_eq!(shown(), None);
    proxy.stop();
}

#[test]
fn an_upstream_that_is_down_is_named_with_its_reason() {
    let (port, dead, backend) = (Port::reserve(), Port::reserve(), Backend::named("one"));
    let dead_addr = dead.local();
    let text = format!(
        "[[route]]\nname = \"web\"\nlisten = \"{}\"\nbalance = \"first\"\nupstream = [\"{dead_addr}\", \"{}\"]\n",
        port.local(),
        backend.addr
    );
    let (place, proxy, asker) = start(&text);
    assert_eq!(asker.route("web")["state"], "up", "nothing is known of it");
    for _ in 0..3 {
        assert_eq!(Flow::open(port.number).reached, "one");
    }
    let route = asker.route("web");
    assert_eq!(route["state"], "degraded", "{route}");
    assert_eq!(route["reason"], format!("{dead_addr}: connection refused"));
    let upstreams = asker.get("/v1/upstreams");
    let [first, second] = &upstreams["upstreams"].as_array().unwrap()[..] else { panic!("{upstreams}") };
    assert_eq!((&first["state"], &first["failed"]), (&json!("down"), &json!(3)));
    // Beside the address itself, the reason alone.
    assert_eq!(
        (&first["reason"], &first["addresses"][0]["reason"]),
        (&json!("connection refused"), &first["reason"])
    );
    assert_eq!((&second["state"], &second["failed"]), (&json!("up"), &json!(0)));
    assert_eq!(
        asker.get("/v1/status")["routes"],
        json!({ "all": 1, "up": 0, "degraded": 1, "down": 0, "disabled": 0 })
    );
    assert!(portway(&place.file(), &["status"]).out.contains("degraded"));
    proxy.stop();
}

#[test]
fn who_is_turned_away_is_counted_by_the_key_that_says_so() {
    let (port, backend) = (Port::reserve(), Backend::named("one"));
    let (place, proxy, asker) = start(&route("web", &port.local(), &backend, "deny = \"127.0.0.1\"\n"));
    assert!(!portway(&place.file(), &["status"]).out.contains("turned away"), "nobody was");
    assert!(!is_refused(port.number));
    until("it is counted", || asker.get("/v1/status")["turned_away"] == 1);
    let shown = portway(&place.file(), &["status"]).out;
    assert!(shown.contains("\nturned away  1\n"), "{shown}");
    assert_eq!(asker.route("web")["turned_away"]["allow, deny"], 1);
    assert_eq!(asker.route("web")["traffic"]["opened"], 0, "it is no connection of the route");
    proxy.stop();
}

/// What a scraper adds up must not shrink: while connections end, nothing is counted twice and nothing is taken back.
#[test]
fn counters_never_shrink_while_connections_come_and_go() {
    let (port, backend) = (Port::reserve(), Backend::named("one"));
    let (_place, proxy, asker) = start(&route("web", &port.local(), &backend, ""));
    let number = port.number;
    let clients: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(move || {
                for _ in 0..100 {
                    Flow::open(number).round_trip(&[1; 5000]).unwrap();
                }
            })
        })
        .collect();
    let mut last = [0; 4];
    let mut looks = 0;
    while !clients.iter().all(|client| client.is_finished()) {
        let traffic = asker.route("web")["traffic"].clone();
        let now = ["opened", "closed", "bytes_up", "bytes_down"].map(|key| traffic[key].as_u64().unwrap());
        assert!(now.iter().zip(last).all(|(now, last)| *now >= last), "{last:?} and then {now:?}");
        assert!(now[2] <= 400 * 5000 && now[3] <= 400 * 5004, "{now:?}: counted twice");
        last = now;
        looks += 1;
    }
    assert!(looks > 5, "only {looks} looks");
    clients.into_iter().for_each(|client| client.join().unwrap());
    until("all have ended", || asker.route("web")["traffic"]["closed"] == 400);
    let traffic = asker.route("web")["traffic"].clone();
    assert_eq!((&traffic["bytes_up"], &traffic["bytes_down"]), (&json!(2_000_000), &json!(2_001_600)));
    proxy.stop();
}
