//! The whole server in one process, with faults that only this build has.

use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::edit::Edits;
use super::log::Logs;
use super::running::Server;
use crate::config::compile;
use crate::files::FsEventSource;
use crate::net::{Inherited, within};
use crate::proxy::record::{SessionSignal, Shared};
use crate::tasks::{WorkerPool, WorkerThreads, faults, restarts};

const PATIENCE: Duration = Duration::from_secs(40);

/// An address of this test's own. Its port is free, or nobody else takes it.
fn own_address() -> SocketAddr {
    TcpListener::bind("127.77.12.1:0").unwrap().local_addr().unwrap()
}

/// Echoes, over TCP and UDP.
fn echo() -> SocketAddr {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(addr).unwrap();
    std::thread::spawn(move || {
        for client in tcp.incoming().flatten() {
            std::thread::spawn(move || drop(std::io::copy(&mut &client, &mut &client)));
        }
    });
    std::thread::spawn(move || {
        let mut bytes = [0; 64];
        while let Ok((n, from)) = udp.recv_from(&mut bytes) {
            drop(udp.send_to(&bytes[..n], from));
        }
    });
    addr
}

async fn answers(addr: SocketAddr) -> std::io::Result<()> {
    let mut client = TcpStream::connect(addr).await?;
    client.write_all(b"!").await?;
    client.read_exact(&mut [0]).await.map(drop)
}

async fn answers_datagrams(client: &tokio::net::UdpSocket) -> bool {
    drop(client.send(b"!").await);
    within(Duration::from_millis(100), client.recv(&mut [0])).await.is_ok_and(|received| received.is_ok())
}

fn start() -> (Server, WorkerThreads) {
    let (workers, threads) = WorkerPool::start().unwrap();
    let shared = Shared::new(workers, Logs::start().unwrap().access(), 100);
    shared.sessions.resize(100);
    (Server::new(shared.into(), Inherited::default(), FsEventSource::default()), threads)
}

async fn stop(mut server: Server, threads: WorkerThreads) {
    server.close_listeners(Duration::MAX).await;
    server.kill().await;
    // What was killed ends on its own thread.
    while !server.root.is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
    threads.stop();
}

#[tokio::test]
async fn s12_an_address_whose_task_has_panicked_is_served_again() {
    let (mut server, threads) = start();
    let (tcp, udp, upstream) = (own_address(), own_address(), echo());
    let text = format!(
        "[[route]]\nlisten = \"{tcp}\"\nupstream = \"{upstream}\"\n\
         [[route]]\nlisten = \"{udp}\"\nupstream = \"{upstream}\"\nprotocol = \"udp\"\n"
    );
    server.apply(&compile("test.toml", text.as_bytes()).unwrap()).await.unwrap();
    answers(tcp).await.unwrap();
    let client = tokio::net::UdpSocket::bind("127.77.12.1:0").await.unwrap();
    client.connect(udp).await.unwrap();
    let (before, begun) = (restarts(), Instant::now());
    while !answers_datagrams(&client).await {
        assert!(begun.elapsed() < PATIENCE, "UDP is deaf from the start");
    }

    // More often than there are tasks that accept: without a new start nobody would.
    faults::want(&tcp.to_string(), 6);
    faults::want(&udp.to_string(), 2);
    while faults::left(&tcp.to_string()) > 0 {
        assert!(begun.elapsed() < PATIENCE, "TCP is deaf");
        // The client of a task that panics is reset.
        let seen = within(Duration::from_secs(5), answers(tcp)).await;
        assert!(!matches!(seen, Ok(Ok(()))) || faults::left(&tcp.to_string()) == 0);
    }
    while faults::left(&udp.to_string()) > 0 {
        assert!(begun.elapsed() < PATIENCE, "UDP is deaf");
        answers_datagrams(&client).await;
    }
    within(PATIENCE, answers(tcp)).await.unwrap().unwrap();
    while !answers_datagrams(&client).await {
        assert!(begun.elapsed() < PATIENCE, "UDP is deaf");
    }
    assert!(restarts() - before >= 8);
    stop(server, threads).await;
}

/// It is of no task then, and the one that it reaches must end it.
#[tokio::test]
async fn a_session_that_is_killed_on_its_way_to_another_listener_is_ended_there() {
    let (mut server, threads) = start();
    let (udp, upstream) = (own_address(), echo());
    let text = format!("[[route]]\nlisten = \"{udp}\"\nupstream = \"{upstream}\"\nprotocol = \"udp\"\n");
    server.apply(&compile("test.toml", text.as_bytes()).unwrap()).await.unwrap();
    let client = tokio::net::UdpSocket::bind("127.77.12.1:0").await.unwrap();
    client.connect(udp).await.unwrap();
    let begun = Instant::now();
    while !answers_datagrams(&client).await {
        assert!(begun.elapsed() < PATIENCE, "UDP is deaf");
    }
    let mut sessions = Vec::new();
    server.shared.open.each(|open| sessions.push(open.clone()));
    let [session] = &sessions[..] else { panic!("{sessions:?}") };
    let [before, after] = [(); 2].map(|()| Arc::<SessionSignal>::default());
    session.is_served_by(&before);
    assert!(!before.ends.load(Ordering::SeqCst));
    session.kill();
    session.is_served_by(&after);
    assert!(after.ends.load(Ordering::SeqCst) && session.is_killed());
    within(PATIENCE, after.changed.notified()).await.unwrap();
    stop(server, threads).await;
}

/// What each edit replaces is kept as long as somebody uses it. N edits later as much is kept as after the first.
#[tokio::test]
async fn t13_edits_leave_nothing_behind() {
    let (mut server, threads) = start();
    let (tcp, udp, upstream) = (own_address(), own_address(), echo());
    let text = |turn: u32| {
        format!(
            "[defaults]\nidle_timeout = \"{}ms\"\n\
             [[route]]\nname = \"tcp\"\nlisten = \"{tcp}\"\nupstream = \"{upstream}\"\n\
             [[route]]\nname = \"udp\"\nlisten = \"{udp}\"\nupstream = \"{upstream}\"\nprotocol = \"udp\"\n",
            300 + turn
        )
    };
    // How many use each route's state: one for each text of it that is still there.
    let uses =
        |server: &Server| ["tcp", "udp"].map(|name| Arc::strong_count(&server.registry.known(name).unwrap()));
    let (mut first, begun) = ([0; 2], Instant::now());
    for turn in 0..20 {
        server.apply(&compile("test.toml", text(turn).as_bytes()).unwrap()).await.unwrap();
        answers(tcp).await.unwrap();
        let client = tokio::net::UdpSocket::bind("127.77.12.1:0").await.unwrap();
        client.connect(udp).await.unwrap();
        while !answers_datagrams(&client).await {
            assert!(begun.elapsed() < PATIENCE, "UDP is deaf");
        }
        if turn == 0 {
            while !server.shared.open.is_empty() {
                sleep(Duration::from_millis(1)).await;
            }
            first = uses(&server);
        }
    }
    while uses(&server).iter().zip(first).any(|(now, first)| *now > first) {
        assert!(begun.elapsed() < PATIENCE, "{first:?} after the first edit, and now {:?}", uses(&server));
        sleep(Duration::from_millis(1)).await;
    }
    stop(server, threads).await;
}

/// Takes in what the files say, until it is so.
async fn take_in(edits: &mut Edits, server: &mut Server, what: &str, mut is_so: impl FnMut(&Server) -> bool) {
    let begun = Instant::now();
    while !is_so(server) {
        assert!(begun.elapsed() < PATIENCE, "{what}: not in time");
        if let Ok(news) = within(Duration::from_millis(50), edits.next()).await {
            edits.take_in(news, server).await;
            edits.answer(server);
        }
    }
}

/// Whichever task panics, and wherever it is: nothing that a file says is lost, and who waits is answered.
#[tokio::test]
async fn s12_tasks_of_included_files_that_panic_lose_no_edit_and_no_answer() {
    let (mut server, threads) = start();
    let folder = tempfile::tempdir().unwrap();
    let (main, routes) = (folder.path().join("portway.toml"), folder.path().join("routes.d"));
    let file = |name: &str| routes.join(name);
    let [a, b] = [own_address(), own_address()];
    let route = |name: &str, listen, upstream| {
        format!("[[route]]\nname = \"{name}\"\nlisten = \"{listen}\"\nupstream = \"{upstream}\"\n")
    };
    fs::create_dir(&routes).unwrap();
    fs::write(&main, "include = \"routes.d/*.toml\"\n").unwrap();
    fs::write(file("a.toml"), route("a", a, "127.0.0.1:9")).unwrap();
    let (edits, compiled) = Edits::open(&main, false, false, &FsEventSource::default()).await.unwrap();
    let (compiled, prepared) = edits.prepare(compiled, &server).await.unwrap();
    server.put_in(prepared, &compiled).await;
    let mut edits = edits.begun(compiled, &server);
    let upstream = |server: &Server| server.table().route("a").unwrap().upstream[0].spec.to_string();
    assert_eq!(upstream(&server), "127.0.0.1:9");
    let (before, panics) =
        (restarts(), |path: &std::path::Path| faults::want(&path.display().to_string(), 1));
    let all_panicked = |what: &str| {
        let paths = [folder.path().to_owned(), file("a.toml"), file("b.toml")];
        assert!(paths.iter().all(|path| faults::left(&path.display().to_string()) == 0), "{what}");
    };

    // Of an edit, twice; of a new file; of whoever waits for a reload; of a file that goes.
    (0..2).for_each(|_| panics(&file("a.toml")));
    fs::write(file("a.toml"), route("a", a, "127.0.0.1:10")).unwrap();
    take_in(&mut edits, &mut server, "an edit", |server| upstream(server) == "127.0.0.1:10").await;
    all_panicked("an edit");
    panics(folder.path());
    fs::write(file("b.toml"), route("b", b, "127.0.0.1:9")).unwrap();
    take_in(&mut edits, &mut server, "a new file", |server| server.table().route("b").is_some()).await;
    all_panicked("a new file");
    panics(folder.path());
    panics(&file("a.toml"));
    fs::write(file("a.toml"), route("a", a, "127.0.0.1:11")).unwrap();
    let (reply, mut answer) = tokio::sync::oneshot::channel();
    edits.ask(&server, Some(reply));
    take_in(&mut edits, &mut server, "a reload", |_| answer.try_recv().is_ok()).await;
    assert_eq!(upstream(&server), "127.0.0.1:11");
    all_panicked("a reload");
    panics(&file("b.toml"));
    fs::remove_file(file("b.toml")).unwrap();
    take_in(&mut edits, &mut server, "a file that goes", |server| server.table().route("b").is_none()).await;
    all_panicked("a file that goes");
    assert!(restarts() - before >= 6);
    drop(edits);
    stop(server, threads).await;
}
