//! Clients that connect and do not say what must be read first: how many places and how much memory they can take.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use super::peer::*;
use super::pki::Authority;
use crate::harness::hello::{message, records};
use crate::harness::instance::*;
use crate::harness::{comes_true, raise_descriptor_limit};

/// Descriptors for some eight hundred connections.
fn run_with_few_descriptors(place: &Place) -> Portway {
    let script = format!("ulimit -n 2000; exec {PORTWAY} run --config {}", place.file().display());
    Portway::start(Command::new("sh").arg("-c").arg(script))
}

fn to(port: &Port) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port.number))
}

/// How many of these are still open. They have sent no whole hello, so nobody answers them.
fn open(clients: &[TcpStream]) -> usize {
    clients
        .iter()
        .filter(|client| {
            client.set_nonblocking(true).unwrap();
            let open =
                (&mut &**client).read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
            client.set_nonblocking(false).unwrap();
            open
        })
        .count()
}

/// A client with this hello, which is served.
fn served(address: &str, port: &Port, hello: &[u8]) -> std::io::Result<TcpStream> {
    let mut client = from(address, to(port))?;
    client.write_all(hello)?;
    let mut greeting = [0; 4];
    client.read_exact(&mut greeting)?;
    assert_eq!(&greeting, b"app\n");
    Ok(client)
}

#[test]
fn s4_silent_clients_of_a_shared_address_count_before_their_hello() {
    let (port, backend) = (Port::reserve(), Backend::named("app"));
    let limited = |name: &str, most: u32| {
        let more = format!("sni = \"{name}\"\nsniff_timeout = \"1m\"\nmax_connections_per_client = {most}\n");
        route(name, &port.local(), &backend, &more)
    };
    let place = Place::with(&[HEAD, &limited("one.example", 4), &limited("two.example", 10)].concat());
    let mut portway = Portway::run(&place.file());
    let hello = |name: &str| records(&message(Some(name), &[], 1700), &[]);
    let mut silent: Vec<TcpStream> = (0..100).map(|_| from("127.0.1.1", to(&port)).unwrap()).collect();
    assert_eq!(portway.phase("limited a client")["by"], "max_connections_per_client");
    portway.until("ninety are refused", |_| open(&silent) <= 10);
    assert_eq!(open(&silent), 10);
    // Nobody else is.
    let other = served("127.0.1.2", &port, &hello("one.example")).unwrap();
    // Whoever has a route counts there, and what is left of the larger limit holds for silent ones.
    silent.clear();
    let mut routed = Vec::new();
    for name in ["one.example"; 4].into_iter().chain(["two.example"; 3]) {
        portway.until("there is a place again", |_| {
            served("127.0.1.1", &port, &hello(name)).map(|client| routed.push(client)).is_ok()
        });
    }
    silent.extend((0..10).map(|_| from("127.0.1.1", to(&port)).unwrap()));
    portway.until("three are refused", |_| open(&silent) <= 7);
    assert_eq!((open(&silent), routed.len()), (7, 7));
    drop((silent, other, routed));
    portway.stop();
}

#[test]
fn s4_clients_behind_a_proxy_count_by_the_address_that_their_header_names() {
    let (port, backend) = (Port::reserve(), Backend::named("app"));
    let more = "sni = \"app.example\"\nsniff_timeout = \"1m\"\nmax_connections_per_client = 2\n\
                proxy_protocol = { accept = true, trusted = \"127.0.0.0/8\", timeout = \"1m\" }\n";
    let place = Place::with(&format!("{HEAD}{}", route("app", &port.local(), &backend, more)));
    let mut portway = Portway::run(&place.file());
    // The proxy itself is not limited.
    let mut clients: Vec<TcpStream> = (0..12).map(|_| from("127.0.0.1", to(&port)).unwrap()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        write!(client, "PROXY TCP4 198.51.100.{} 192.0.2.1 1111 443\r\n", n / 4).unwrap();
    }
    portway.until("two of each are left", |_| open(&clients) <= 6);
    assert_eq!(open(&clients), 6);
    drop(clients);
    portway.stop();
}

#[test]
fn s4_three_thousand_silent_clients_take_a_part_of_the_places_and_other_routes_go_on() {
    raise_descriptor_limit();
    let (sniffed, headed, ended, plain) =
        (Port::reserve(), Port::reserve(), Port::reserve(), Port::reserve());
    let backend = Backend::named("app");
    let slow = "sniff_timeout = \"1m\"\n";
    let trusted = "trusted = \"127.0.0.0/8\", timeout = \"1m\"";
    let text = [
        HEAD.replace("\"off\"", "\"stderr\""),
        route("sniffed", &sniffed.local(), &backend, &format!("sni = \"app.example\"\n{slow}")),
        route(
            "headed",
            &headed.local(),
            &backend,
            &format!("proxy_protocol = {{ accept = true, {trusted} }}\n"),
        ),
        route(
            "ended",
            &ended.local(),
            &backend,
            &format!("tls = {{ cert = \"app.pem\", key = \"app.key\" }}\n{slow}"),
        ),
        route("plain", &plain.local(), &backend, ""),
    ];
    let place = Place::with(&text.concat());
    Authority::new().pair("app.example").write(&place.folder(), "app");
    let mut portway = run_with_few_descriptors(&place);
    let mut flow = Flow::open(plain.number);
    let mut silent = Vec::new();
    for n in 0..3000 {
        let port = [&sniffed, &headed, &ended][n % 3];
        silent.extend(from("127.0.2.1", to(port)));
        if n % 250 == 249 {
            // Twelve times.
            assert_eq!(reached(plain.number), "app");
            flow.ping().unwrap();
            drop(
                served("127.0.2.2", &sniffed, &records(&message(Some("app.example"), &[], 1700), &[]))
                    .unwrap(),
            );
        }
    }
    let told = portway.phase("too many connections have sent no whole PROXY header");
    let (connections, most) = (told["connections"].as_u64().unwrap(), told["most"].as_u64().unwrap());
    assert!(connections <= most && (150..=220).contains(&most), "a quarter of some 800: {told}");
    portway.until("the others have ended", |_| open(&silent) as u64 <= most);
    assert!(open(&silent) as u64 >= most / 2, "they gave way to nobody");
    // The access log cannot be filled by them.
    portway.phase("many clients give way to others");
    let lines = portway.seen.iter().filter(|line| line["outcome"] == "evicted").count();
    // Lines and phases take two ways to here.
    assert!((40..1000).contains(&lines), "{lines} lines");
    drop((silent, flow));
    portway.stop();
}

/// Memory of the process, in bytes: its Pss if nobody else ran the same program.
fn resident(portway: &Portway) -> u64 {
    let all = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", portway.pid())).unwrap();
    let line = all.lines().find(|line| line.starts_with("Rss:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn s5_long_hellos_that_never_end_take_bounded_memory_and_give_it_back() {
    raise_descriptor_limit();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if !can("descriptors for 3,000 clients", limit.current.is_none_or(|most| most >= 10_000)) {
        return;
    }
    let (sniffed, ended) = (Port::reserve(), Port::reserve());
    let backend = Backend::named("app");
    let slow = "sniff_timeout = \"5m\"\n";
    let text = [
        HEAD.to_owned(),
        route("sniffed", &sniffed.local(), &backend, &format!("sni = \"app.example\"\n{slow}")),
        route(
            "ended",
            &ended.local(),
            &backend,
            &format!("tls = {{ cert = \"app.pem\", key = \"app.key\" }}\n{slow}"),
        ),
        "[limits]\npreread_memory = \"32 MiB\"\n".to_owned(),
    ];
    let place = Place::with(&text.concat());
    Authority::new().pair("app.example").write(&place.folder(), "app");
    let mut portway = Portway::run(&place.file());
    let hello = records(&message(Some("app.example"), &[], 1700), &[]);
    // What is used once and stays: threads' arenas, tables.
    (0..50).for_each(|_| drop(served("127.0.3.1", &sniffed, &hello)));
    let before = resident(&portway);
    let whole = message(Some("app.example"), &[], 60_000);
    let cuts: Vec<usize> = (1..4).map(|n| n * 16_000).collect();
    let long = records(&whole, &cuts);
    let mut clients = Vec::new();
    for n in 0..3000_u32 {
        let address = std::net::Ipv4Addr::from_bits(0x7f00_0400 + n % 200).to_string();
        let mut client = from(&address, to([&sniffed, &ended][n as usize % 2])).unwrap();
        // Some have given way before their last byte.
        drop(client.write_all(&long[..59_000]));
        clients.push(client);
    }
    portway.phase("too many connections have sent no whole PROXY header");
    let most = resident(&portway);
    assert!(most - before < 64 << 20, "{} KiB for 32 MiB of hellos", (most - before) >> 10);
    // A hello as long as that is served beside them.
    let mut client = from("127.0.3.1", to(&sniffed)).unwrap();
    client.write_all(&long).unwrap();
    let mut back = vec![0; 4 + long.len()];
    client.read_exact(&mut back).unwrap();
    assert!(back[4..] == long, "other bytes came back");
    drop((clients, client));
    let mut after = 0;
    let given_back = comes_true(Duration::from_secs(10), || {
        after = resident(&portway);
        after < before + before / 10
    });
    eprintln!("before {} KiB, at most {} KiB, after {} KiB", before >> 10, most >> 10, after >> 10);
    assert!(given_back, "{} KiB before, {} KiB after", before >> 10, after >> 10);
    portway.stop();
}

#[test]
fn s11_a_client_that_holds_most_leaves_the_last_places_to_others() {
    raise_descriptor_limit();
    let (one, two, backend) = (Port::reserve(), Port::reserve(), Backend::named("app"));
    let place = Place::with(&file(&[("one", one.local(), &backend), ("two", two.local(), &backend)]));
    let mut portway = run_with_few_descriptors(&place);
    let mut held = Vec::new();
    for _ in 0..1500 {
        held.extend(from("127.0.5.1", to(&one)));
    }
    let told = portway.phase("limited a client");
    assert_eq!((&told["by"], &told["route"]), (&"fair share".into(), &"one".into()), "{told}");
    // Those that were open before are not touched. Who is refused is not always a later one: two threads accept.
    let mut held: Vec<Flow> = held.into_iter().filter_map(|client| Flow::greeted(client).ok()).collect();
    assert!((600..900).contains(&held.len()), "{} of some 800", held.len());
    held.iter_mut().step_by(50).for_each(|flow| flow.ping().unwrap());
    // Others come in, on every route, and so does one with some connections.
    let mut others = Vec::new();
    for n in 2..22 {
        others.push(flow_from(&format!("127.0.5.{n}"), [one.number, two.number][n % 2]).unwrap());
    }
    others.extend((0..10).map(|_| flow_from("127.0.5.2", two.number).unwrap()));
    assert!(turned_away("127.0.5.1", two.number));
    // Once there is room again, it may have more.
    held.truncate(400);
    portway.until("it may have more", |_| {
        flow_from("127.0.5.1", one.number).map(|flow| held.push(flow)).is_ok()
    });
    drop((held, others));
    portway.stop();
}
