//! R5: an edit of `listen` loses no newcomer, from whatever form to whatever other, and ends no session of an address
//! that stays.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::peers::*;
use crate::harness::EndOnDrop;
use crate::harness::instance::*;

/// How `listen` may be written: with `P` for the port, and whether 127.0.0.1 and ::1 are listened on.
pub const FORMS: [(&str, [bool; 2]); 7] = [
    (r#""P""#, [true, true]),
    (r#""0.0.0.0:P""#, [true, false]),
    (r#""[::]:P""#, [false, true]),
    (r#""127.0.0.1:P""#, [true, false]),
    (r#""[::1]:P""#, [false, true]),
    (r#"["0.0.0.0:P", "[::]:P"]"#, [true, true]),
    (r#"["127.0.0.1:P", "[::1]:P"]"#, [true, true]),
];

pub const HOSTS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

fn text(form: usize, port: u16, server: &Server, more: &str) -> String {
    let listen = FORMS[form].0.replace('P', &port.to_string());
    let upstream = server.addr;
    format!(
        "{LOGGED}[[route]]\nname = \"udp\"\nprotocol = \"udp\"\nlisten = {listen}\nupstream = \"{upstream}\"\n{more}\n"
    )
}

/// A walk that edits each form into each other one exactly once.
fn every_edit() -> Vec<usize> {
    let (mut left, mut path, mut walk): (HashSet<(usize, usize)>, _, _) =
        (HashSet::new(), vec![0], Vec::new());
    left.extend((0..FORMS.len()).flat_map(|from| (0..FORMS.len()).map(move |to| (from, to))));
    left.retain(|(from, to)| from != to);
    // Hierholzer's: as many edits lead to each form as away from it.
    while let Some(from) = path.last().copied() {
        match (0..FORMS.len()).find(|to| left.remove(&(from, *to))) {
            Some(to) => path.push(to),
            None => walk.extend(path.pop()),
        }
    }
    walk.reverse();
    assert_eq!(walk.len(), FORMS.len() * (FORMS.len() - 1) + 1);
    walk
}

/// Newcomers of one family, 500 each second: each datagram comes from a socket of its own, and has a number.
#[derive(Default)]
struct Newcomers {
    next: AtomicU64,
}

impl Newcomers {
    /// Sends until the end. No faster than they arrive at the server, since nobody promises room in a full socket.
    fn come(&self, family: usize, port: u16, heard: &AtomicU64, over: &AtomicBool) {
        let to = SocketAddr::new(HOSTS[family], port);
        while !over.load(Ordering::SeqCst) {
            let number = self.next.load(Ordering::SeqCst);
            let socket = UdpSocket::bind(SocketAddr::new(HOSTS[family], 0)).unwrap();
            let mut datagram = number.to_be_bytes().to_vec();
            datagram.push(family as u8);
            socket.send_to(&datagram, to).unwrap();
            self.next.store(number + 1, Ordering::SeqCst);
            pass(Duration::from_millis(2));
            let begun = Instant::now();
            while number.saturating_sub(heard.load(Ordering::SeqCst)) > 100
                && begun.elapsed().as_millis() < 100
            {
                pass(Duration::from_millis(1));
            }
        }
    }

    fn so_far(&self) -> u64 {
        self.next.load(Ordering::SeqCst)
    }
}

/// One edit under load.
struct Edit {
    name: String,
    /// For each family: the newcomers that had to be served.
    due: [Vec<u64>; 2],
}

/// A server that answers newcomers, and notes the last of each family. It does not answer old sessions.
fn server(last: [&'static AtomicU64; 2]) -> Server {
    Server::on("127.0.0.1:0", move |datagram| match datagram {
        [number @ .., family] if number.len() == 8 => {
            let number = u64::from_be_bytes(number.try_into().unwrap());
            last[usize::from(*family)].store(number, Ordering::SeqCst);
            vec![datagram.to_vec()]
        }
        _ => Vec::new(),
    })
}

/// Edits one form into another, and says which newcomers had to be served meanwhile.
fn edit(
    pair: &[usize],
    text: &str,
    place: &Place,
    portway: &mut Portway,
    newcomers: &[Newcomers; 2],
) -> Edit {
    let ([(old_form, was), (new_form, is)], mut due) = ([FORMS[pair[0]], FORMS[pair[1]]], [vec![], vec![]]);
    let before = newcomers.each_ref().map(Newcomers::so_far);
    pass(Duration::from_millis(20));
    place.save(text);
    portway.hang_up();
    portway.phase("reloaded");
    // One may be on its way.
    let reloaded = newcomers.each_ref().map(|newcomers| newcomers.so_far() + 1);
    portway.until("some have come after it", |_| {
        newcomers.iter().zip(reloaded).all(|(newcomers, reloaded)| newcomers.so_far() > reloaded + 10)
    });
    let after = newcomers.each_ref().map(Newcomers::so_far);
    for family in 0..2 {
        due[family] = match (was[family], is[family]) {
            (true, true) => (before[family]..after[family]).collect(),
            (false, true) => (reloaded[family]..after[family]).collect(),
            // What has arrived and was not read yet goes with the address.
            (_, false) => Vec::new(),
        };
    }
    Edit { name: format!("{old_form} -> {new_form}"), due }
}

/// How many newcomers of each family an edit has lost. Waits for those that are late: the next edit may take an address
/// away, and what has arrived there and was not read yet.
fn lost(server: &Server, edit: &Edit) -> [usize; 2] {
    let begun = Instant::now();
    loop {
        let heard = server.heard();
        let lost = [0, 1].map(|family| {
            let of = heard.iter().filter(|(_, datagram)| datagram.len() == 9 && datagram[8] == family as u8);
            let came: HashSet<u64> =
                of.map(|(_, datagram)| u64::from_be_bytes(datagram[..8].try_into().unwrap())).collect();
            edit.due[family].iter().filter(|number| !came.contains(number)).count()
        });
        if lost == [0, 0] || begun.elapsed() > Duration::from_secs(5) {
            return lost;
        }
        pass(Duration::from_millis(5));
    }
}

/// Both families, about 1,000 newcomers each second, through every edit of one form into another, while an old session
/// lives that the server does not answer.
#[test]
fn r5_no_newcomer_is_lost_by_any_edit_of_listen() {
    let last: [&'static AtomicU64; 2] = [(); 2].map(|()| &*Box::leak(Box::default()));
    let (port, server, walk) = (free_port(), server(last), every_edit());
    let text = |form: usize| text(form, port, &server, "max_replies = 1");
    let place = Place::with(&text(walk[0]));
    let mut portway = Portway::run(&place.file());
    let (newcomers, over) = ([Newcomers::default(), Newcomers::default()], AtomicBool::new(false));
    let (mut due, mut lost_by) = (0, Vec::new());
    std::thread::scope(|scope| {
        for (family, newcomers) in newcomers.iter().enumerate() {
            let (over, last) = (&over, last[family]);
            scope.spawn(move || newcomers.come(family, port, last, over));
        }
        let end = EndOnDrop(&over);
        let old = [Client::at(&format!("127.0.0.1:{port}")), Client::at(&format!("[::1]:{port}"))];
        for pair in walk.windows(2) {
            // One session without an answer for each family. Where nobody listens the kernel refuses.
            old.iter().for_each(|client| drop(client.0.send(b"old")));
            let edit = edit(pair, &text(pair[1]), &place, &mut portway, &newcomers);
            due += edit.due[0].len() + edit.due[1].len();
            let lost = lost(&server, &edit);
            if lost != [0, 0] {
                lost_by.push(format!("{}: {lost:?}", edit.name));
            }
        }
        drop(end);
    });
    assert!(due > 1_000, "only {due} newcomers");
    portway.catch_up();
    let dropped = portway.seen.iter().filter(|line| message(line) == "datagrams were dropped");
    let dropped: Vec<String> = dropped.map(ToString::to_string).collect();
    let (lost, dropped) = (lost_by.join("\n"), dropped.join("\n"));
    assert!(lost.is_empty(), "of {due} newcomers were lost, by family:\n{lost}\n{dropped}");
    portway.signal(rustix::process::Signal::TERM);
    portway.phase("stopped");
}

/// The session of an address that is listened on before and after is the same one: the upstream hears no other.
#[test]
fn r5_a_session_of_an_address_that_stays_goes_on() {
    let (port, server) = (free_port(), Server::echo());
    let text = |form: usize| text(form, port, &server, "idle_timeout = \"1m\"");
    let walk = every_edit();
    let place = Place::with(&text(walk[0]));
    let mut portway = Portway::run(&place.file());
    let clients = [Client::at(&format!("127.0.0.1:{port}")), Client::at(&format!("[::1]:{port}"))];
    clients.iter().for_each(|client| assert_eq!(client.ask(b"hello"), b"hello"));
    for pair in walk.windows(2) {
        let edit = format!("{} -> {}", FORMS[pair[0]].0, FORMS[pair[1]].0);
        place.save(&text(pair[1]));
        portway.hang_up();
        portway.phase("reloaded");
        for (family, client) in clients.iter().enumerate() {
            // A session of an address that is no longer listened on has its old socket, as long as it lives.
            let text = format!("{edit} {family}");
            assert_eq!(client.says(&text), text);
            let first = server.sources_of(b"hello");
            assert!(first.len() == 2 && first.contains(&server.sources_of(text.as_bytes())[0]), "{text}");
        }
    }
    portway.signal(rustix::process::Signal::TERM);
    portway.signal(rustix::process::Signal::TERM);
    portway.phase("stopped");
}

/// An edit that is refused gives back what its new socket has heard meanwhile, and so does a plan.
#[test]
fn r5_an_edit_that_is_refused_loses_nothing() {
    let (port, server, taken) = (free_port(), Server::echo(), Server::echo());
    let text = |form: usize| text(form, port, &server, "idle_timeout = \"1m\"");
    let bad = format!("{}{}", text(3), udp_route("taken", &taken.addr.to_string(), &[server.addr], ""));
    let place = Place::with(&text(0));
    let mut portway = Portway::run(&place.file());
    let client = Client::of(port);
    assert_eq!(client.says("hello"), "hello");
    let (over, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let end = EndOnDrop(&over);
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                let (newcomer, question) =
                    (Client::of(port), asked.fetch_add(1, Ordering::SeqCst).to_be_bytes());
                for client in [&client, &newcomer] {
                    assert_eq!(client.ask(&question), question);
                }
            }
        });
        let begun = Instant::now();
        for turn in 0.. {
            assert!(begun.elapsed() < 2 * PATIENCE, "no newcomer is answered any more");
            place.save(&format!("# {turn}\n{bad}"));
            portway.hang_up();
            portway.refused();
            if turn >= 20 && asked.load(Ordering::SeqCst) > 20 {
                break;
            }
        }
        drop(end);
    });
    assert_eq!(server.sources_of(b"hello").len(), 1);
    portway.signal(rustix::process::Signal::TERM);
    portway.signal(rustix::process::Signal::TERM);
    portway.phase("stopped");
}
