//! R5: an edit of `listen` loses no connection, from whatever form to whatever other.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::EndOnDrop;
use crate::harness::instance::*;
use crate::udp::listen::{FORMS, HOSTS};

/// One client: when it began and ended, and whether it was served.
struct Newcomer {
    family: usize,
    begun: Instant,
    ended: Instant,
    error: Option<std::io::Error>,
}

/// Clients of one address, one after the other, until the end.
fn come(family: usize, port: u16, over: &AtomicBool) -> Vec<Newcomer> {
    let mut came = Vec::new();
    while !over.load(Ordering::SeqCst) {
        let begun = Instant::now();
        let served = TcpStream::connect(SocketAddr::new(HOSTS[family], port)).and_then(Flow::greeted);
        came.push(Newcomer { family, begun, ended: Instant::now(), error: served.err() });
        pass(Duration::from_millis(5));
    }
    came
}

/// When a form was saved, and when it ran.
struct Edit {
    from: usize,
    to: usize,
    saved: Instant,
    ran: Instant,
}

/// Whether somebody who came then had to be served, whatever moment of it the kernel took.
fn is_due(newcomer: &Newcomer, edits: &[Edit]) -> bool {
    let listened = |form: usize| FORMS[form].1[newcomer.family];
    let before = edits.iter().rev().find(|edit| edit.ran <= newcomer.begun);
    let form = before.map_or(edits[0].from, |edit| edit.to);
    let meanwhile = edits.iter().filter(|edit| edit.ran > newcomer.begun && edit.saved <= newcomer.ended);
    listened(form) && meanwhile.map(|edit| edit.to).all(listened)
}

/// Edits one form into the other and back, under load. Says who was lost.
fn there_and_back(a: usize, b: usize) -> (usize, Vec<String>) {
    let (port, backend) = (Port::everywhere(), Backend::named("a"));
    let text = |form: usize| {
        let listen = FORMS[form].0.replace('P', &port.number.to_string());
        format!("{HEAD}[[route]]\nname = \"web\"\nlisten = {listen}\nupstream = \"{}\"\n", backend.addr)
    };
    let place = Place::with(&text(a));
    let mut portway = Portway::run(&place.file());
    let (over, mut edits) = (AtomicBool::new(false), Vec::new());
    let came = std::thread::scope(|scope| {
        let (over, port) = (&over, port.number);
        let clients = [0, 1].map(|family| scope.spawn(move || come(family, port, over)));
        let end = EndOnDrop(over);
        for (from, to) in [(a, b), (b, a)] {
            pass(Duration::from_millis(100));
            let saved = Instant::now();
            place.save(&text(to));
            portway.hang_up();
            portway.phase("reloaded");
            edits.push(Edit { from, to, saved, ran: Instant::now() });
        }
        // As long as the old socket is served beside the new one, and a little longer.
        pass(Duration::from_millis(2500));
        drop(end);
        clients.map(|clients| clients.join().unwrap()).into_iter().flatten().collect::<Vec<_>>()
    });
    let due: Vec<&Newcomer> = came.iter().filter(|newcomer| is_due(newcomer, &edits)).collect();
    let lost = due.iter().filter_map(|newcomer| {
        let error = newcomer.error.as_ref()?;
        let (one, other, host) = (FORMS[a].0, FORMS[b].0, HOSTS[newcomer.family]);
        let at = newcomer.begun.saturating_duration_since(edits[0].saved);
        Some(format!("{one} <-> {other}, {host}, {at:?} after the first: {error}"))
    });
    let told = (due.len(), lost.collect());
    portway.stop();
    told
}

#[test]
fn r5_no_connection_is_lost_by_any_edit_of_listen() {
    let forms = 0..FORMS.len();
    let pairs: Vec<(usize, usize)> = forms.clone().flat_map(|a| forms.clone().map(move |b| (a, b))).collect();
    let pairs: Vec<_> = pairs.into_iter().filter(|(a, b)| a < b).collect();
    assert_eq!(pairs.len(), 21);
    let told: Vec<(usize, Vec<String>)> = std::thread::scope(|scope| {
        let some =
            |pairs: &[(usize, usize)]| pairs.iter().map(|(a, b)| there_and_back(*a, *b)).collect::<Vec<_>>();
        let threads: Vec<_> = pairs.chunks(3).map(|pairs| scope.spawn(move || some(pairs))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let due: usize = told.iter().map(|(due, _)| due).sum();
    let lost: Vec<String> = told.into_iter().flat_map(|(_, lost)| lost).collect();
    assert!(lost.is_empty(), "of {due} clients {} were lost:\n{}", lost.len(), lost.join("\n"));
    assert!(due > 1_000, "only {due} clients");
}

/// The handshakes of those who come just after the edit last longer than the old socket is open.
#[test]
fn a_slow_handshake_after_an_edit_of_listen_is_with_the_new_socket() {
    if lacks_root() {
        return;
    }
    let netns = Netns::new();
    let backend = netns.enter(|| Backend::named("a"));
    let place = Place::with(&file(&[("web", "127.0.0.1:8080".to_owned(), &backend)]));
    let mut portway = Portway::start(netns.command(PORTWAY).args(["run", "--config"]).arg(place.file()));
    place.save(&file(&[("web", "8080".to_owned(), &backend)]));
    portway.hang_up();
    portway.phase("reloaded");
    // No client's last segment of the handshake arrives.
    netns.nft("add table ip slow; add chain ip slow out { type filter hook output priority 0; }");
    netns.nft("add rule ip slow out tcp dport 8080 tcp flags & (syn|ack|psh|fin|rst) == ack drop");
    let mut clients = Vec::new();
    for _ in 0..12 {
        clients.push(netns.enter(|| TcpStream::connect("127.0.0.1:8080").unwrap()));
        pass(Duration::from_millis(100));
    }
    netns.nft("delete table ip slow");
    for (at, client) in clients.into_iter().enumerate() {
        Flow::greeted(client).unwrap_or_else(|error| panic!("client {at}: {error}"));
    }
    portway.stop();
}
