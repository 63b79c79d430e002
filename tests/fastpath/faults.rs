//! What the kernel may answer to any call of a relay, brought about by strace: nothing hangs, nothing spins, and no byte is
//! lost that counts as delivered.

use std::time::{Duration, Instant};

use crate::harness::upstream::Family;
use crate::harness::{End, PATIENCE, Peer, Proxy, Upstream, lacks_root, pass};

/// The calls, and what is made up for each. Not EAGAIN for those that move bytes: the kernel says it only with an event to
/// follow (epoll(7), edge-triggered), which strace cannot make up.
const FAULTS: &[(&str, &[&str])] = &[
    ("splice", &["EINTR", "ENOMEM", "ENOBUFS", "EMFILE", "EPIPE", "EIO", "EINVAL"]),
    ("recvfrom", &["EINTR", "ENOMEM", "ENOBUFS", "EMFILE", "EPIPE", "EIO"]),
    ("sendto", &["EINTR", "ENOMEM", "ENOBUFS", "EMFILE", "EPIPE", "EIO"]),
    ("pipe2", &["EINTR", "EAGAIN", "ENOMEM", "ENOBUFS", "EMFILE", "ENFILE", "EIO"]),
    ("epoll_wait", &["EINTR"]),
    ("accept4", &["EINTR", "ENOMEM", "ENOBUFS", "EMFILE", "EPIPE", "EIO"]),
    ("connect", &["EINTR", "EAGAIN", "ENOMEM", "ENOBUFS", "EMFILE", "EPIPE", "EIO"]),
];

/// Connections of one proxy, one after the other.
const CONNECTIONS: usize = 3;
/// Bytes in each direction: enough to become bulk.
const BYTES: u64 = 1_000_000;

#[test]
fn a_fault_of_the_kernel_is_survived_with_auto() {
    let all = FAULTS.iter().map(|(call, _)| *call).collect::<Vec<_>>();
    faults("auto", &all);
}

#[test]
fn a_fault_of_the_kernel_is_survived_with_splice() {
    let calls = ["splice", "pipe2", "recvfrom", "sendto"];
    faults("splice", &calls);
}

#[test]
fn a_fault_of_the_kernel_is_survived_with_copy() {
    faults("copy", &["recvfrom", "sendto"]);
}

#[test]
fn the_record_says_why_bulk_was_not_spliced() {
    if lacks_root() {
        return;
    }
    let cases = [
        ("auto", "splice:error=EINVAL", "buffer-no-splice"),
        ("auto", "pipe2:error=EMFILE", "buffer-no-pipe"),
        ("auto", "getpid:error=EPERM", "splice"),
        ("copy", "getpid:error=EPERM", "copy"),
    ];
    for (relay, inject, path) in cases {
        let upstream = Upstream::on(Family::V4);
        let inject = format!("inject={inject}");
        let strace = ["strace", "-D", "-f", "-qq", "-I", "1", "-o", "/dev/null", "-e", &inject];
        let plan = Proxy::in_front_of(&upstream.addr).with(&[&format!("--set relay={relay}")]).under(&strace);
        let proxy = plan.start();
        let (client, server) = (proxy.connect(), upstream.accept());
        exchange(client, server, path);
        assert_eq!(proxy.record(0)["path"], path);
        proxy.process.let_go();
        proxy.finish();
    }
}

/// The kernel tells of a reset once: whichever call hears of it must pass it on.
#[test]
fn a_reset_that_arrives_right_after_a_splice_is_passed_on() {
    if lacks_root() {
        return;
    }
    for after in [110, 130, 150, 170, 190] {
        let upstream = Upstream::on(Family::V4);
        let strace = ["strace", "-D", "-f", "-qq", "-I", "1", "-o", "/dev/null", "-e", "trace=splice"];
        let inject = ["-e", "inject=splice:delay_exit=100000"];
        let plan = Proxy::in_front_of(&upstream.addr).with(&["--set relay=splice"]);
        let proxy = plan.under(&[&strace[..], &inject].concat()).start();
        let (mut client, mut server) = (proxy.connect(), upstream.accept());
        client.send(1000);
        server.receive(1000);
        // The splice that brought it ends after 100 ms; the next one, which finds nothing, after as long again.
        pass(Duration::from_millis(after));
        client.reset();
        assert_eq!(server.receive_all(), End::Reset(1000), "after {after} ms");
        proxy.process.let_go();
        proxy.finish();
    }
}

fn faults(relay: &str, calls: &[&str]) {
    if lacks_root() {
        return;
    }
    for (call, errors) in FAULTS.iter().filter(|(call, _)| calls.contains(call)) {
        for error in *errors {
            fault(relay, call, error);
        }
    }
}

fn fault(relay: &str, call: &str, error: &str) {
    let upstream = Upstream::on(Family::V4);
    // Not the first: the program has to start. Then now and then.
    let inject = format!("inject={call}:error={error}:when=7+11");
    let strace = [
        "strace",
        "-D",
        "-f",
        "-qq",
        "-I",
        "1",
        "-o",
        "/dev/null",
        "-e",
        &format!("trace={call}"),
        "-e",
        &inject,
    ];
    let proxy =
        Proxy::in_front_of(&upstream.addr).with(&[&format!("--set relay={relay}")]).under(&strace).start();
    let begun = Instant::now();
    for _ in 0..CONNECTIONS {
        let client = proxy.connect();
        // Where the upstream could not be connected, the client is told.
        match accepted(&upstream, &client) {
            Some(server) => exchange(client, server, &format!("{relay}, {call}, {error}")),
            None => assert!(client.has_failed(), "{relay}, {call}, {error}: neither connected nor refused"),
        }
    }
    // tokio reads its own signals with the same calls, and takes no such answer.
    proxy.process.let_go();
    let used = proxy.process.cpu();
    pass(Duration::from_millis(50));
    let used = proxy.process.cpu() - used;
    assert!(
        used < Duration::from_millis(25),
        "{relay}, {call}, {error}: {used:?} of processor time in 50 ms"
    );
    assert!(begun.elapsed() < PATIENCE / 2, "{relay}, {call}, {error}: {:?}", begun.elapsed());
    proxy.finish();
}

fn accepted(upstream: &Upstream, client: &Peer) -> Option<Peer> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let server = upstream.accept_within(Duration::from_millis(20));
        if server.is_some() || client.has_failed() {
            return server;
        }
    }
    None
}

/// Both send at once, and end. What ends with FIN is whole; what is cut is reset.
fn exchange(mut client: Peer, mut server: Peer, what: &str) {
    let (mut to_server, mut to_client) = (client.twin(), server.twin());
    let send = |to: &mut Peer| {
        let all = to.send_if_taken(BYTES) == BYTES;
        if all {
            to.end();
        }
        all
    };
    let ends = std::thread::scope(|all| {
        let client_sends = all.spawn(|| send(&mut to_server));
        let server_sends = all.spawn(|| send(&mut to_client));
        let up = all.spawn(|| server.receive_all());
        let down = client.receive_all();
        // Of one socket's two users only one hears of a reset; to the other it looks like an end.
        let (client_knows, server_knows) = (!client_sends.join().unwrap(), !server_sends.join().unwrap());
        [(up.join().unwrap(), server_knows), (down, client_knows)]
    });
    for (end, knows) in ends {
        match end {
            End::Fin(n) => assert!(n == BYTES || knows, "{what}: a clean end after {n} bytes"),
            End::Reset(n) => assert!(n <= BYTES, "{what}"),
        }
    }
}
