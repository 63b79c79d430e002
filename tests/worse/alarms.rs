//! Good edits under load, with a background of clients that come to nothing: none is undone.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use socket2::SockRef;

use crate::harness::EndOnDrop;
use crate::harness::instance::*;

/// How many proxies are edited at once.
const AT_ONCE: usize = 5;

/// A server that fails one client of a hundred: it hangs up.
fn unsteady(name: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    SockRef::from(&listener).listen(LONG_QUEUE).unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut chance = fastrand::Rng::with_seed(7);
        for mut stream in listener.incoming().flatten() {
            if chance.u8(..100) == 0 {
                drop(stream.shutdown(Shutdown::Both));
                continue;
            }
            // A small answer to a small question: the client sees whatever goes wrong.
            drop(stream.set_read_timeout(Some(PATIENCE)));
            let mut question = [0; 64];
            if stream.read(&mut question).is_ok_and(|got| got > 0) {
                drop(stream.write_all(name.as_bytes()));
            }
        }
    });
    addr
}

/// What a person does all day.
fn text(place: &Place, port: &Port, [a, b]: [&str; 2], turn: usize) -> String {
    let head = format!("{HEAD}[edits]\nprobation = \"1s\"\n");
    let upstream = match turn % 7 {
        0 => format!("\"{a}\""),
        1 => format!("[\"{a}\", \"{b}\"]"),
        2 => format!("[{{ address = \"{a}\", weight = 2 }}, \"{b}\"]"),
        3 => format!("\"{b}\""),
        4 => format!("[\"{b}\", {{ address = \"{a}\", backup = true }}]"),
        5 => format!("[{{ address = \"{a}\", state = \"drain\" }}, \"{b}\"]"),
        _ => format!("[\"{b}\", {{ address = \"{a}\", weight = 0 }}]"),
    };
    let more = match turn % 6 {
        0 => "balance = \"least-connections\"",
        1 => "connect_timeout = \"2s\"",
        2 => "max_connections = 1000",
        3 => "deny = \"10.0.0.0/8\"",
        4 => "idle_timeout = \"10m\"",
        _ => "keepalive = \"30s\"",
    };
    let extra = match turn % 5 {
        0 => format!(
            "[[route]]\nname = \"extra\"\nlisten = \"unix:{}\"\nupstream = \"{a}\"\n",
            place.root().join("extra").display()
        ),
        _ => String::new(),
    };
    format!(
        "# {turn}\n{head}[[route]]\nname = \"web\"\nlisten = \"{}\"\nupstream = {upstream}\n{more}\n{extra}",
        port.local()
    )
}

fn visit(port: u16) -> bool {
    let asked = || -> std::io::Result<usize> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"question\n")?;
        stream.read(&mut [0; 8])
    };
    asked().is_ok_and(|got| got > 0)
}

/// `PORTWAY_EDITS=1000` makes a thousand.
#[test]
fn of_good_edits_under_load_none_is_undone() {
    let edits: usize = std::env::var("PORTWAY_EDITS").map_or(100, |edits| edits.parse().unwrap());
    let (a, b) = (unsteady("a"), unsteady("b"));
    let (clients, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for proxy in 0..AT_ONCE {
            let (a, b, clients, failed) = (&a, &b, &clients, &failed);
            scope.spawn(move || {
                let port = Port::reserve();
                let place = Place::with("");
                let text = |turn| text(&place, &port, [a, b], turn);
                place.save(&text(proxy));
                let mut portway = Portway::run(&place.file());
                let done = AtomicBool::new(false);
                std::thread::scope(|scope| {
                    let _ended = EndOnDrop(&done);
                    for _ in 0..2 {
                        scope.spawn(|| {
                            while !done.load(Ordering::Relaxed) {
                                clients.fetch_add(1, Ordering::Relaxed);
                                failed.fetch_add(u64::from(!visit(port.number)), Ordering::Relaxed);
                                pass(Duration::from_millis(5));
                            }
                        });
                    }
                    for turn in 1..=edits / AT_ONCE {
                        place.save(&text(proxy + turn));
                        let told =
                            portway.phase_of(&["probation passed", "edit rolled back", "edit refused"]);
                        assert_eq!(message(&told), "probation passed", "{turn}: {told}");
                    }
                });
                portway.stop();
            });
        }
    });
    let (clients, failed) = (clients.into_inner(), failed.into_inner());
    println!("{edits} good edits, {clients} clients, of whom {failed} came to nothing; none undone");
    assert!(clients > 20 * edits as u64 && failed > 0, "{failed} of {clients}");
}
