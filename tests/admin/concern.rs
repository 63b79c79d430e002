//! O2: an edit concerns who it names, and the plan counts and lists just those.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::{Value, json};

use super::asker::{Asker, portway, start};
use crate::harness::instance::{Backend, Flow, PATIENCE, Place, Port, Portway, is_refused, route};
use crate::harness::until;

/// A UDP server that says its name. Its thread ends with the process.
pub fn udp_server(name: &'static str) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, from)) = socket.recv_from(&mut buffer) {
            drop(socket.send_to(name.as_bytes(), from));
        }
    });
    addr
}

/// A UDP port that nobody has, below those that the kernel gives to whoever sends.
pub fn udp_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 9_000) as u16;
    loop {
        let port = 12_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 19_000;
        if UdpSocket::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}

/// A client with a session.
pub struct Session {
    socket: UdpSocket,
    /// The server that it has reached.
    pub reached: String,
}

impl Session {
    pub fn open(port: u16) -> Session {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut session = Session { socket, reached: String::new() };
        session.reached = session.ask();
        session
    }

    /// The name of the server that answers now.
    pub fn ask(&self) -> String {
        self.socket.send(b"?").unwrap();
        let mut buffer = [0; 64];
        let length = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    pub fn port(&self) -> u16 {
        self.socket.local_addr().unwrap().port()
    }
}

/// Saves the rest of a file whose head the proxy has.
pub fn save(place: &Place, proxy: &mut Portway, routes: &str) {
    place.save(&(super::asker::head(place) + routes));
    proxy.phase("reloaded");
}

/// What the plan for a text says of its first changed route: how many it concerns, and which clients.
fn planned(place: &Place, asker: &Asker, routes: &str) -> (u64, Vec<String>) {
    let answer = asker.ask("POST", "/v1/plan", &(super::asker::head(place) + routes)).json();
    let changed = &answer["changed"][0];
    let clients = changed["concerned"].as_array().unwrap().iter();
    (
        changed["open"].as_u64().unwrap(),
        clients.map(|open| open["client"].as_str().unwrap().to_owned()).collect(),
    )
}

#[test]
fn o2_an_upstream_that_leaves_takes_its_own_connections_and_no_others() {
    let (one, two) = (Port::reserve(), Port::reserve());
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let text = |listen: &[&Port], upstream: &[&Backend], more: &str| {
        let quoted =
            |all: Vec<String>| all.iter().map(|one| format!("\"{one}\"")).collect::<Vec<_>>().join(", ");
        format!(
            "[[route]]\nname = \"r\"\nlisten = [{}]\nupstream = [{}]\non_change = \"cut\"\n{more}\n",
            quoted(listen.iter().map(|port| port.local()).collect()),
            quoted(upstream.iter().map(|backend| backend.addr.to_string()).collect()),
        )
    };
    let both = [&one, &two];
    let (place, mut proxy, asker) = start(&text(&both, &[&a, &b], ""));
    let mut flows: Vec<Flow> = (0..4).map(|_| Flow::open(one.number)).collect();
    flows.extend((0..4).map(|_| Flow::open(two.number)));
    let at_b = flows.iter().filter(|flow| flow.reached == "b").count();
    assert_eq!(at_b, 4, "in turn");

    // Lists and shares concern nobody.
    for more in ["deny = [\"192.0.2.0/24\"]", "allow = [\"127.0.0.0/8\"]", ""] {
        let new = text(&both, &[&a, &b], more);
        assert_eq!(planned(&place, &asker, &new).0, 0, "{more}");
        save(&place, &mut proxy, &new);
        flows.iter_mut().for_each(|flow| flow.ping().unwrap());
    }

    // One of two upstreams.
    let new = text(&both, &[&a], "");
    let (open, listed) = planned(&place, &asker, &new);
    let rows = asker.connections("");
    let of_b = rows.iter().filter(|row| row["upstream"] == json!(b.addr.to_string()));
    let mut of_b: Vec<String> = of_b.map(|row| row["client"].as_str().unwrap().to_owned()).collect();
    let mut listed = listed;
    listed.sort();
    of_b.sort();
    assert_eq!((open, &listed), (4, &of_b));
    save(&place, &mut proxy, &new);
    let (mut stay, mut go): (Vec<Flow>, Vec<Flow>) = flows.into_iter().partition(|flow| flow.reached == "a");
    assert!(go.iter_mut().all(Flow::was_reset));
    stay.iter_mut().for_each(|flow| flow.ping().unwrap());
    until("they are counted", || asker.route("r")["outcomes"] == json!({ "drained": 4 }));

    // One of two addresses.
    let new = text(&[&one], &[&a], "");
    assert_eq!(planned(&place, &asker, &new).0, 2);
    save(&place, &mut proxy, &new);
    assert!(is_refused(two.number));
    until("those of the address that left are gone", || asker.connections("").len() == 2);
    let mut stay: Vec<Flow> =
        stay.into_iter().filter_map(|mut flow| flow.ping().is_ok().then_some(flow)).collect();
    assert_eq!(stay.len(), 2);

    // Any other key: all of the route, also those that follow an earlier text of it.
    let new = text(&[&one], &[&a], "idle_timeout = \"1h\"");
    assert_eq!(planned(&place, &asker, &new).0, 2);
    save(&place, &mut proxy, &new);
    assert!(stay.iter_mut().all(Flow::was_reset));
    proxy.stop();
}

#[test]
fn o2_what_one_edit_has_kept_the_next_one_finds() {
    const CUT: &str = "on_change = \"cut\"";
    let (port, a, b) = (Port::reserve(), Backend::named("a"), Backend::named("b"));
    let other = route("other", &Port::reserve().local(), &a, "");
    let text = |upstream: &[&Backend], more: &str| {
        let list: Vec<String> = upstream.iter().map(|backend| format!("\"{}\"", backend.addr)).collect();
        format!(
            "{other}[[route]]\nname = \"r\"\nlisten = \"{}\"\nupstream = [{}]\n{more}\n",
            port.local(),
            list.join(", "),
        )
    };
    let (place, mut proxy, asker) = start(&text(&[&a, &b], ""));
    let mut flows = [Flow::open(port.number), Flow::open(port.number)];
    flows.sort_by_key(|flow| flow.reached.clone());
    // Of an upstream that leaves, of a route that changes, and of one that goes: they all go on.
    for new in [text(&[&a], ""), text(&[&a], "idle_timeout = \"1h\""), other.clone()] {
        save(&place, &mut proxy, &new);
        flows.iter_mut().for_each(|flow| flow.ping().unwrap());
    }
    save(&place, &mut proxy, &text(&[&a, &b], CUT));
    flows.iter_mut().for_each(|flow| flow.ping().unwrap());
    // They are of the route again, each of its upstream.
    let [mut of_a, mut of_b] = flows;
    let rows = asker.connections(&format!("upstream={}", b.addr));
    assert_eq!(
        planned(&place, &asker, &text(&[&a], CUT)),
        (1, vec![rows[0]["client"].as_str().unwrap().into()])
    );
    save(&place, &mut proxy, &text(&[&a], CUT));
    assert!(of_b.was_reset());
    of_a.ping().unwrap();
    let more = format!("{CUT}\nidle_timeout = \"2h\"");
    assert_eq!(planned(&place, &asker, &text(&[&a], &more)).0, 1);
    save(&place, &mut proxy, &text(&[&a], &more));
    assert!(of_a.was_reset());
    until("both are counted", || asker.route("r")["outcomes"] == json!({ "drained": 2 }));
    proxy.stop();
}

#[test]
fn o2_those_of_an_upstream_that_leaves_have_their_time_and_others_no_end() {
    let (port, a, b) = (Port::reserve(), Backend::named("a"), Backend::named("b"));
    let text = |upstream: &[&Backend]| {
        let list: Vec<String> = upstream.iter().map(|backend| format!("\"{}\"", backend.addr)).collect();
        format!(
            "[[route]]\nname = \"r\"\nlisten = \"{}\"\nupstream = [{}]\non_change = \"drain\"\n\
             drain_timeout = \"300ms\"\n",
            port.local(),
            list.join(", "),
        )
    };
    let (place, mut proxy, asker) = start(&text(&[&a, &b]));
    let flows: Vec<Flow> = (0..4).map(|_| Flow::open(port.number)).collect();
    let (mut stay, mut go): (Vec<Flow>, Vec<Flow>) = flows.into_iter().partition(|flow| flow.reached == "a");
    assert_eq!((stay.len(), go.len()), (2, 2));
    save(&place, &mut proxy, &text(&[&a]));
    assert!(go.iter_mut().all(Flow::was_reset));
    until("they are counted", || asker.route("r")["outcomes"] == json!({ "drained": 2 }));
    stay.iter_mut().for_each(|flow| flow.ping().unwrap());
    // It comes back, and goes again: those that it has then are concerned.
    save(&place, &mut proxy, &text(&[&b, &a]));
    let mut back = Flow::open(port.number);
    while back.reached != "b" {
        back = Flow::open(port.number);
    }
    back.ping().unwrap();
    save(&place, &mut proxy, &text(&[&a]));
    assert!(back.was_reset());
    stay.iter_mut().for_each(|flow| flow.ping().unwrap());
    drop(stay);
    proxy.stop();
}

#[test]
fn o2_sessions_of_an_upstream_that_leaves_end_and_others_go_on() {
    let (port, other, a, b) = (udp_port(), udp_port(), udp_server("a"), udp_server("b"));
    let text = |listen: &[u16], upstream: &[&String], word: &str| {
        let listen: Vec<String> = listen.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
        let list: Vec<String> = upstream.iter().map(|addr| format!("\"{addr}\"")).collect();
        format!(
            "[[route]]\nname = \"r\"\nprotocol = \"udp\"\nlisten = [{}]\nupstream = [{}]\non_change = \"{word}\"\n\
             drain_timeout = \"300ms\"\n",
            listen.join(", "),
            list.join(", "),
        )
    };
    let both = [port, other];
    for word in ["cut", "drain"] {
        let (place, mut proxy, asker) = start(&text(&both, &[&a, &b], word));
        let sessions: Vec<Session> = (0..4).map(|_| Session::open(port)).collect();
        let ids = || -> Vec<Value> { asker.connections("").iter().map(|row| row["id"].clone()).collect() };
        let of = |name: &str| sessions.iter().filter(|session| session.reached == name).collect::<Vec<_>>();
        let (stay, go) = (of("a"), of("b"));
        assert_eq!((stay.len(), go.len()), (2, 2), "{word}");
        assert_eq!(planned(&place, &asker, &text(&both, &[&a], word)).0, 2, "{word}");
        let stays: Vec<Value> =
            asker.connections(&format!("upstream={a}")).iter().map(|row| row["id"].clone()).collect();
        save(&place, &mut proxy, &text(&both, &[&a], word));
        until("those of b are gone", || ids() == stays);
        // The same sessions, and not new ones.
        assert!(stay.iter().all(|session| session.ask() == "a"), "{word}");
        assert_eq!(ids(), stays, "{word}");
        assert!(go.iter().all(|session| session.ask() == "a"), "{word}: they find the other");
        // An address that leaves, and one that stays.
        let last = Session::open(other);
        assert_eq!(planned(&place, &asker, &text(&[port], &[&a], word)).0, 1, "{word}");
        save(&place, &mut proxy, &text(&[port], &[&a], word));
        let client = format!("client=127.0.0.1:{}", last.port());
        until("its session is gone", || asker.connections(&client).is_empty());
        assert!(ids().len() >= 2, "{word}");
        asker.post("/v1/kill", &json!({ "filter": { "route": "r" } }));
        until("all are gone", || ids().is_empty());
        proxy.stop();
    }
}

#[test]
fn o2_a_person_reads_the_same_in_the_plan() {
    let (port, a, b) = (Port::reserve(), Backend::named("a"), Backend::named("b"));
    let text = |upstream: &[&Backend]| {
        let list: Vec<String> = upstream.iter().map(|backend| format!("\"{}\"", backend.addr)).collect();
        let listen = port.local();
        format!(
            "[[route]]\nname = \"r\"\nlisten = \"{listen}\"\nupstream = [{}]\non_change = \"cut\"\n",
            list.join(", ")
        )
    };
    let (place, proxy, asker) = start(&text(&[&a, &b]));
    let flows: Vec<Flow> = (0..4).map(|_| Flow::open(port.number)).collect();
    let gone = flows.iter().find(|flow| flow.reached == "b").unwrap();
    let next = place.folder().join("next.toml");
    std::fs::write(&next, super::asker::head(&place) + &text(&[&a])).unwrap();
    let shown = portway(&place.file(), &["plan", next.to_str().unwrap()]);
    assert!(shown.out.contains("~ r: 2 open connections are cut"), "{shown:?}");
    let of_b = asker.connections(&format!("upstream={}", b.addr));
    for row in &of_b {
        let line = format!("{} -> {}", row["client"].as_str().unwrap(), b.addr);
        assert!(shown.out.contains(&line), "{line}: {}", shown.out);
    }
    assert_eq!((of_b.len(), gone.reached.as_str()), (2, "b"));
    drop(flows);
    proxy.stop();
}
