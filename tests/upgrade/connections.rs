//! What is open moves to the new process: nobody notices, and no byte is lost or doubled.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use serde_json::{Value, json};
use socket2::SockRef;

use super::fake::fails_at;
use super::{refused, upgrade};
use crate::admin::asker::{Asker, head, portway as command};
use crate::harness::instance::{LONG_QUEUE, Place, Port, Portway};
use crate::harness::peer::{End, push_until_blocked};
use crate::harness::{Peer, until};

/// More than the kernel's queues and a pipe hold.
pub const MUCH: u64 = 64 << 20;
const SOME: u64 = 300_000;

/// A route, and both ends of the connections through it.
pub struct Line {
    path: &'static str,
    pub port: Port,
    upstream: TcpListener,
}

impl Line {
    fn of(path: &'static str) -> Line {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        SockRef::from(&upstream).listen(LONG_QUEUE).unwrap();
        Line { path, port: Port::reserve(), upstream }
    }

    fn text(&self, name: &str) -> String {
        let upstream: SocketAddr = self.upstream.local_addr().unwrap();
        format!(
            "[[route]]\nname = \"{name}\"\nlisten = \"{}\"\nupstream = \"{upstream}\"\n{}\n",
            self.port.local(),
            self.path
        )
    }

    pub fn open(&self) -> Pair {
        let client = TcpStream::connect(("127.0.0.1", self.port.number)).unwrap();
        let (server, _) = self.upstream.accept().unwrap();
        Pair { client: Peer::client(client.into()), server: Peer::server(server.into()) }
    }
}

/// Both ends of one connection.
pub struct Pair {
    pub client: Peer,
    pub server: Peer,
}

impl Pair {
    /// Sends both ways.
    fn talk(&mut self) {
        exchange(std::slice::from_mut(self), SOME / 10);
    }

    /// Ends as both want it: the client first.
    pub fn end(mut self) {
        self.client.fin();
        assert!(matches!(self.server.receive_all(), End::Fin(_)));
        self.server.fin();
        assert!(matches!(self.client.receive_all(), End::Fin(_)));
    }
}

/// Each sends so many bytes both ways, beside the others: they do not wait for each other.
pub fn exchange(pairs: &mut [Pair], bytes: u64) {
    pairs.iter_mut().for_each(|pair| pair.client.send(bytes));
    for Pair { server, .. } in pairs.iter_mut() {
        server.receive(bytes);
        server.send(bytes);
    }
    pairs.iter_mut().for_each(|pair| pair.client.receive(bytes));
}

/// Every path of a relay, and how to write it.
const PATHS: [&str; 4] = [
    "",
    "relay = \"splice\"",
    "relay = \"copy\"",
    "bandwidth = { up = \"200 MiB/s\", down = \"200 MiB/s\" }",
];

pub fn lines_of(paths: &[&'static str]) -> (Place, Portway, Asker, Vec<Line>) {
    let lines: Vec<Line> = paths.iter().map(|path| Line::of(path)).collect();
    let place = Place::with("");
    let routes: String = lines.iter().enumerate().map(|(i, line)| line.text(&format!("r{i}"))).collect();
    place.save(&(head(&place) + &routes));
    let portway = Portway::run(&place.file());
    let asker = Asker::unix(&place);
    (place, portway, asker, lines)
}

pub fn moved(answer: &Value) -> (u64, u64) {
    (answer["moved"].as_u64().unwrap(), answer["draining"].as_u64().unwrap())
}

#[test]
fn u20_every_path_moves_whether_it_is_idle_half_closed_or_held_back() {
    let (_place, mut portway, asker, lines) = lines_of(&PATHS);
    let open = |count: usize| -> Vec<Pair> {
        let mut pairs: Vec<Pair> =
            lines.iter().flat_map(|line| (0..count).map(|_| line.open()).collect::<Vec<_>>()).collect();
        pairs.iter_mut().for_each(Pair::talk);
        pairs
    };
    let mut idle = open(2);
    // The client has ended, and waits for the answer.
    let mut asked = open(1);
    for pair in &mut asked {
        pair.client.send(SOME);
        pair.client.fin();
        assert!(matches!(pair.server.receive_all(), End::Fin(_)));
    }
    // The server has ended, and still reads.
    let mut told = open(1);
    for pair in &mut told {
        pair.server.fin();
        assert!(matches!(pair.client.receive_all(), End::Fin(_)));
    }
    // Nobody reads what the client sends, or the server. A copy holds it in its own buffer, and stays until that is sent.
    let mut held = open(2);
    let mut pushed = Vec::new();
    for (i, pair) in held.iter_mut().enumerate() {
        let from = if i % 2 == 0 { &mut pair.client } else { &mut pair.server };
        pushed.push(push_until_blocked(&mut [from], MUCH)[0]);
    }
    let all = (idle.len() + asked.len() + told.len() + held.len()) as u64;
    let stuck = 2;
    assert_eq!(moved(&upgrade(&mut portway, &asker)), (all - stuck, stuck));
    // What has moved moves again; the copies are in the oldest process.
    assert_eq!(moved(&upgrade(&mut portway, &asker)), (all - stuck, 0));

    idle.iter_mut().for_each(Pair::talk);
    for (i, (mut pair, pushed)) in held.into_iter().zip(pushed).enumerate() {
        let Pair { client, server } = &mut pair;
        let (from, to) = if i % 2 == 0 { (client, server) } else { (server, client) };
        assert!(pushed < MUCH);
        to.receive(pushed);
        from.send(SOME);
        to.receive(SOME);
        pair.end();
    }
    for mut pair in asked {
        pair.server.send(SOME);
        pair.client.receive(SOME);
        pair.server.fin();
        assert!(matches!(pair.client.receive_all(), End::Fin(_)));
    }
    for mut pair in told {
        pair.client.send(SOME);
        pair.server.receive(SOME);
        pair.client.fin();
        assert!(matches!(pair.server.receive_all(), End::Fin(_)));
    }
    idle.into_iter().for_each(Pair::end);
    portway.old_ones_have_ended();
    portway.stop();
}

#[test]
fn u21_what_moves_at_full_speed_loses_and_doubles_no_byte() {
    let (_place, mut portway, asker, lines) = lines_of(&PATHS);
    let all = 96 << 20;
    let threads: Vec<_> = lines
        .iter()
        .flat_map(|line| {
            let Pair { mut client, mut server } = line.open();
            let (mut other, mut answers) = (client.twin(), server.twin());
            [
                std::thread::spawn(move || client.send(all)),
                std::thread::spawn(move || server.receive(all)),
                std::thread::spawn(move || answers.send(all)),
                std::thread::spawn(move || other.receive(all)),
            ]
        })
        .collect();
    let mut moves = Vec::new();
    while !threads.iter().all(std::thread::JoinHandle::is_finished) && moves.len() < 8 {
        moves.push(moved(&upgrade(&mut portway, &asker)).0);
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    println!("moved beside the bytes: {moves:?}");
    assert!(moves[0] >= 3, "of four connections: {moves:?}");
    portway.old_ones_have_ended();
    portway.stop();
}

#[test]
fn u22_a_reset_arrives_after_a_move_as_a_reset() {
    let (_place, mut portway, asker, lines) = lines_of(&PATHS);
    let mut pairs: Vec<Pair> = lines.iter().flat_map(|line| [line.open(), line.open()]).collect();
    pairs.iter_mut().for_each(Pair::talk);
    let all = pairs.len() as u64;
    assert_eq!(moved(&upgrade(&mut portway, &asker)), (all, 0));
    portway.old_ones_have_ended();
    for (i, pair) in pairs.into_iter().enumerate() {
        let Pair { client, server } = pair;
        let (gone, mut stays) = if i % 2 == 0 { (client, server) } else { (server, client) };
        gone.reset();
        assert!(matches!(stays.receive_all(), End::Reset(_)), "{i}");
    }
    portway.stop();
}

#[test]
fn u23_connections_of_unix_sockets_move() {
    let place = Place::with("");
    let (front, back) = (place.root().join("front.sock"), place.root().join("back.sock"));
    let upstream = UnixListener::bind(&back).unwrap();
    let text = |path: &Path| format!("\"unix:{}\"", path.display());
    let route = format!("[[route]]\nname = \"u\"\nlisten = {}\nupstream = {}\n", text(&front), text(&back));
    place.save(&(head(&place) + &route));
    let mut portway = Portway::run(&place.file());
    let asker = Asker::unix(&place);
    let client = UnixStream::connect(&front).unwrap();
    let (server, _) = upstream.accept().unwrap();
    let peer = |stream: UnixStream| socket2::Socket::from(std::os::fd::OwnedFd::from(stream));
    let mut pair = Pair { client: Peer::client(peer(client)), server: Peer::server(peer(server)) };
    pair.talk();
    let pushed = push_until_blocked(&mut [&mut pair.client], MUCH)[0];
    assert_eq!(moved(&upgrade(&mut portway, &asker)), (1, 0));
    pair.server.receive(pushed);
    pair.talk();
    pair.end();
    portway.old_ones_have_ended();
    portway.stop();
}

#[test]
fn u24_a_new_process_that_dies_with_connections_gives_them_back() {
    let (place, mut portway, asker, lines) = lines_of(&PATHS);
    let mut pairs: Vec<Pair> = lines.iter().flat_map(|line| [line.open(), line.open()]).collect();
    pairs.iter_mut().for_each(Pair::talk);
    let pushed = push_until_blocked(&mut [&mut pairs[0].client], MUCH)[0];
    for way in ["exit", "abort", "dance", "hang"] {
        let said = refused(&mut portway, &asker, &fails_at(&place, &format!("{way}-at-connections")));
        println!("{way}: {said}");
        pairs.iter_mut().skip(1).for_each(Pair::talk);
    }
    pairs[0].server.receive(pushed);
    assert_eq!(moved(&upgrade(&mut portway, &asker)), (pairs.len() as u64, 0));
    pairs.iter_mut().for_each(Pair::talk);
    pairs.into_iter().for_each(Pair::end);
    portway.old_ones_have_ended();
    portway.stop();
}

#[test]
fn u25_what_a_connection_is_goes_with_it() {
    let (_place, mut portway, asker, lines) = lines_of(&[""]);
    let mut pair = lines[0].open();
    pair.talk();
    until("it is counted", || asker.connections("")[0]["bytes_down"].as_u64() == Some(SOME / 10));
    let before = asker.connections("");
    assert_eq!(moved(&upgrade(&mut portway, &asker)), (1, 0));
    let after = asker.connections("");
    for key in [
        "id",
        "client",
        "route",
        "upstream",
        "peer",
        "local",
        "connect",
        "listener",
        "bytes_up",
        "bytes_down",
        "path",
    ] {
        assert_eq!(before[0][key], after[0][key], "{key}");
    }
    let age = |of: &[Value]| of[0]["age"].as_f64().unwrap();
    assert!(age(&after) >= age(&before), "{before:?} {after:?}");
    // By its id it is found and ended.
    let id = &after[0]["id"];
    let killed = asker.post("/v1/kill", &serde_json::json!({ "ids": [id] }));
    println!("{killed}");
    assert!(matches!(pair.client.receive_all(), End::Reset(_)));
    assert!(matches!(pair.server.receive_all(), End::Reset(_)));
    portway.old_ones_have_ended();
    portway.stop();
}

#[test]
fn u26_what_an_edit_lets_go_on_moves_and_what_it_drains_ends_in_its_time() {
    let (place, mut portway, asker, lines) = lines_of(&["", "on_change = \"drain\"\ndrain_timeout = \"2s\""]);
    let mut pairs: Vec<Pair> = lines.iter().map(Line::open).collect();
    pairs.iter_mut().for_each(Pair::talk);
    let text = std::fs::read_to_string(place.file()).unwrap();
    place.save(&text.replace("[[route]]", "[[route]]\nidle_timeout = \"1h\""));
    portway.phase("reloaded");
    assert_eq!(moved(&upgrade(&mut portway, &asker)), (1, 1));
    let Pair { mut client, server: _stays_open } = pairs.pop().unwrap();
    assert!(matches!(client.receive_all(), End::Reset(_)));
    portway.old_ones_have_ended();
    let mut stays = pairs.pop().unwrap();
    stays.talk();
    // And again, in the next process.
    assert_eq!(moved(&upgrade(&mut portway, &asker)), (1, 0));
    stays.talk();
    stays.end();
    portway.old_ones_have_ended();
    portway.stop();
}

/// While an upstream that was just connected is watched for an early reset, the connection is no relay yet.
#[test]
fn u27_a_connection_that_is_no_relay_yet_moves_once_it_is_one() {
    let (one, other) = (Line::of(""), Line::of(""));
    let place = Place::with("");
    let upstreams = [&one, &other].map(|line| line.upstream.local_addr().unwrap());
    let text = format!(
        "[[route]]\nname = \"r\"\nlisten = \"{}\"\nupstream = [\"{}\", \"{}\"]\nbalance = \"first\"\n",
        one.port.local(),
        upstreams[0],
        upstreams[1]
    );
    place.save(&(head(&place) + &text));
    let mut portway = Portway::run(&place.file());
    let asker = Asker::unix(&place);
    let mut pair = one.open();
    assert_eq!(moved(&upgrade(&mut portway, &asker)), (1, 0));
    pair.talk();
    pair.end();
    portway.old_ones_have_ended();
    portway.stop();
}

#[test]
fn what_stays_in_the_old_process_is_said_with_what_becomes_of_it() {
    let (place, mut portway, asker, lines) =
        lines_of(&["relay = \"copy\"\ndrain_timeout = \"20s\"", "drain_timeout = \"20s\""]);
    let (mut pair, mut moves) = (lines[0].open(), lines[1].open());
    pair.client.push_until_blocked(MUCH);
    moves.talk();
    let done = command(&place.file(), &["upgrade"]);
    let fate = "; 1 open connection goes on in the old process (0 with TLS, which cannot move; 0 UDP sessions) for its \
                `drain_timeout`, 20s at most, and is then reset\n";
    assert!(done.code == 0 && done.out.ends_with(fate), "{done:?}");
    // It is known where it is, while it is there.
    let (old, status) = (portway.pid(), asker.get("/v1/status"));
    let said = &status["old_process"];
    assert_eq!((&said["pid"], &said["open"]), (&json!(old), &json!(1)), "{said}");
    let left = said["at_most"].as_f64().unwrap();
    assert!(0.0 < left && left <= 20.0, "{said}");
    let listed = command(&place.file(), &["connections"]).out;
    // For how long: at most the 20 seconds that were left at first.
    let told = |text: &str, line: &str| {
        let (_, rest) = text.split_once(&format!("{line} in the old process {old}, for ")).expect(text);
        let (left, _) = rest.split_once("s at most\n").expect(text);
        assert!((1..=20).contains(&left.parse::<u32>().unwrap()), "{text}");
    };
    assert!(listed.starts_with("ID "), "{listed}");
    told(&listed, "\n1 more");
    told(&command(&place.file(), &["status"]).out, "\n             1 of them");
    portway.follow(u32::try_from(status["pid"].as_u64().unwrap()).unwrap());
    drop(pair);
    moves.talk();
    drop(moves);
    portway.old_ones_have_ended();
    until("nothing is open there", || asker.get("/v1/status")["old_process"].is_null());
    assert_eq!(command(&place.file(), &["connections"]).out.lines().count(), 1);
    portway.stop();
}
