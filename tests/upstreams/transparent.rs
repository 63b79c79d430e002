//! The client's own address as the source, and upstreams that are where clients wanted to go: three hosts in a row, with the
//! rules of a firewall in the middle.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;

use super::source::{HEAD, lock, mirror, run, seen_as, udp_mirror, udp_seen_as};
use crate::harness::instance::*;
use crate::harness::skip::{lacks, lacks_root};

/// The client (10.98.0.2, fd98::2), Portway's host (.1 of both), and the server (10.99.0.2, fd99::2, and .3), which has the
/// client behind Portway's host.
pub struct Row {
    pub client: Netns,
    pub middle: Netns,
    pub server: Netns,
}

/// What comes back to a client's address goes to the socket that has it.
const DIVERT: &str = "table inet divert {
    chain prerouting {
        type filter hook prerouting priority mangle
        meta l4proto { tcp, udp } socket transparent 1 socket wildcard 0 meta mark set 1 accept
    }
}
";

impl Row {
    pub fn new() -> Row {
        let (middle, server) = Netns::pair();
        let client = Netns::new();
        middle.cable("lan", &client);
        for (netns, address, device) in [
            (&middle, "10.98.0.1/24", "lan"),
            (&middle, "fd98::1/64", "lan"),
            (&middle, "fd99::1/64", "wire"),
            (&client, "10.98.0.2/24", "wire"),
            (&client, "fd98::2/64", "wire"),
            (&server, "fd99::2/64", "wire"),
            (&server, "10.99.0.3/24", "wire"),
        ] {
            let nodad = if address.contains(':') { " nodad" } else { "" };
            netns.ip(&format!("addr add {address} dev {device}{nodad}"));
        }
        for (netns, net) in [(&client, 98), (&server, 99)] {
            netns.ip(&format!("route add default via 10.{net}.0.1"));
            netns.ip(&format!("-6 route add default via fd{net}::1"));
        }
        for family in ["-4", "-6"] {
            middle.ip(&format!("{family} rule add fwmark 1 lookup 100"));
            middle.ip(&format!("{family} route add local default dev lo table 100"));
        }
        Row { client, middle, server }
    }

    pub fn lacks() -> bool {
        lacks_root() || lacks(&["nft"])
    }

    /// What a client's connection to this address becomes: an error, or the end.
    fn fails(&self, addr: &str) {
        let addr: SocketAddr = addr.parse().unwrap();
        let flow = self.client.enter(|| TcpStream::connect(addr).and_then(Flow::greeted));
        assert!(flow.is_err(), "{addr} is reached as {}", flow.unwrap().reached);
    }
}

/// Waits for a line of the access log with this outcome, whose detail has this text.
#[track_caller]
pub fn ends(proxy: &mut Portway, outcome: &str, detail: &str) {
    proxy.until(&format!("a connection ends as {outcome}, {detail}"), |proxy| {
        proxy.catch_up();
        let told = |line: &serde_json::Value| line["detail"].as_str().is_some_and(|why| why.contains(detail));
        proxy.seen.iter().any(|line| line["outcome"] == outcome && told(line))
    });
}

/// Ends the sessions, and then Portway.
pub fn end(mut proxy: Portway, place: &Place) {
    place.save(&format!("{HEAD}[[route]]\nlisten = \"127.0.0.1:1\"\nupstream = \"127.0.0.1:9\"\n"));
    proxy.phase("reloaded");
    proxy.stop();
}

#[test]
fn an_upstream_sees_the_clients_own_address_and_checks_begin_at_ours() {
    if Row::lacks() {
        return;
    }
    let row = Row::new();
    row.middle.nft(DIVERT);
    let seen = ["10.99.0.2:9000", "[fd99::2]:9000"].map(|addr| mirror(&row.server, addr));
    udp_mirror(&row.server, "10.99.0.2:9001");
    udp_mirror(&row.server, "[fd99::2]:9001");
    row.middle.hosts("fd99::2 both\n10.99.0.2 both\n");
    let text = |source: &str, more: &str| {
        let udp = "health = \"off\"\non_change = \"cut\"\n";
        format!(
            "{HEAD}[admin]\nlisten = \"127.0.0.1:9180\"\n[defaults]\nsource = {source}\nhealth = {{ interval = \"100ms\" }}\n\
             [[route]]\nname = \"four\"\nlisten = \"8080\"\nupstream = \"10.99.0.2:9000\"\n{more}\
             [[route]]\nname = \"six\"\nlisten = \"8081\"\nupstream = \"[fd99::2]:9000\"\n\
             [[route]]\nname = \"name\"\nlisten = \"8083\"\nupstream = \"both:9000\"\n\
             [[route]]\nname = \"udp\"\nprotocol = \"udp\"\nlisten = \"8082\"\nupstream = \"10.99.0.2:9001\"\n{udp}\
             [[route]]\nname = \"udp6\"\nprotocol = \"udp\"\nlisten = \"8084\"\nupstream = \"[fd99::2]:9001\"\n{udp}"
        )
    };
    let place = Place::with(&text("\"client\"", ""));
    let mut proxy = run(&row.middle, &place);
    assert_eq!(seen_as(&row.client, "10.98.0.1:8080"), "10.98.0.2");
    assert_eq!(seen_as(&row.client, "[fd98::1]:8081"), "fd98::2");
    // Of the addresses of a name a client reaches those of its family.
    assert_eq!(seen_as(&row.client, "10.98.0.1:8083"), "10.98.0.2");
    assert_eq!(seen_as(&row.client, "[fd98::1]:8083"), "fd98::2");
    assert_eq!(udp_seen_as(&row.client, "10.98.0.1:8082"), "10.98.0.2");
    assert_eq!(udp_seen_as(&row.client, "[fd98::1]:8084"), "fd98::2");
    // A client of the other family cannot come from its own address, and its upstream is none the worse.
    for _ in 0..4 {
        row.fails("[fd98::1]:8080");
    }
    ends(&mut proxy, "connect-failed", "source client fd98::2: an upstream of the other family");
    row.fails("10.98.0.1:8081");
    assert_eq!(proxy.count("upstream is down: it does not connect"), 0, "{}", proxy.log());
    for (seen, own) in seen.iter().zip(["10.99.0.1", "fd99::1"]) {
        proxy.until("the checks have come", |_| lock(seen).contains(&own.parse().unwrap()));
    }
    // The client that a header names.
    let accept = "proxy_protocol = { accept = true, trusted = [\"10.98.0.0/24\"] }\n";
    place.save(&text("{ address = \"client\", dscp = \"ef\" }", accept));
    proxy.phase("reloaded");
    let addr: SocketAddr = "10.98.0.1:8080".parse().unwrap();
    let mut stream = row.client.enter(|| TcpStream::connect(addr).unwrap());
    stream.write_all(b"PROXY TCP4 10.98.0.77 10.98.0.1 4000 8080\r\n").unwrap();
    assert_eq!(Flow::greeted(stream).unwrap().reached, "10.98.0.77");
    // And back.
    place.save(&text("\"off\"", ""));
    proxy.phase("reloaded");
    assert_eq!(seen_as(&row.client, "10.98.0.1:8080"), "10.99.0.1");
    assert_eq!(udp_seen_as(&row.client, "10.98.0.1:8082"), "10.99.0.1");
    end(proxy, &place);
}

#[test]
fn a_client_whose_answers_do_not_come_back_takes_nothing_from_the_others() {
    if Row::lacks() {
        return;
    }
    let row = Row::new();
    row.middle.nft(DIVERT);
    mirror(&row.server, "10.99.0.2:9000");
    // What the server answers to this one goes astray.
    row.client.ip("addr add 10.98.0.9/24 dev wire");
    row.server.ip("route add blackhole 10.98.0.9/32");
    let place = Place::with(&format!(
        "{HEAD}[[route]]\nlisten = \"0.0.0.0:8080\"\nupstream = \"10.99.0.2:9000\"\nsource = \"client\"\n\
         connect_timeout = \"200ms\"\n"
    ));
    let mut proxy = run(&row.middle, &place);
    let addr: SocketAddr = "10.98.0.1:8080".parse().unwrap();
    for _ in 0..4 {
        let mut astray = row.client.enter(|| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.bind(&"10.98.0.9:0".parse::<SocketAddr>().unwrap().into()).unwrap();
            socket.connect(&addr.into()).unwrap();
            TcpStream::from(socket)
        });
        assert!(!astray.read(&mut [0]).is_ok_and(|length| length > 0));
    }
    ends(&mut proxy, "connect-failed", "do answers to the client's address come back through this host?");
    assert_eq!(seen_as(&row.client, "10.98.0.1:8080"), "10.98.0.2");
    assert_eq!(proxy.count("upstream is down: it does not connect"), 0, "{}", proxy.log());
    proxy.stop();
}

/// Where clients are led that want to go to a server: by address in the packets, or by a mark.
const REDIRECT: &str = "table inet lead {
    chain prerouting {
        type nat hook prerouting priority dstnat
        iifname \"lan\" tcp dport 9000-9003 redirect to :8080
    }
}
";
const TPROXY: &str = "table inet lead {
    chain prerouting {
        type filter hook prerouting priority mangle
        iifname \"lan\" tcp dport 9000-9003 tproxy to :8080 meta mark set 1
        iifname \"lan\" udp dport 9001 tproxy to :9001 meta mark set 1
    }
}
";

fn to_original(source: &str, networks: &str) -> String {
    format!(
        "{HEAD}[admin]\nlisten = \"10.98.0.1:9003\"\ntoken = \"kX3vW9qLr2TzP7sN\"\n\
         [defaults]\non_change = \"cut\"\nsource = \"{source}\"\noriginal_destination = {networks}\n\
         [[route]]\nname = \"tcp\"\nlisten = \"8080\"\nupstream = \"original-destination\"\n\
         [[route]]\nname = \"udp\"\nprotocol = \"udp\"\nlisten = \"9001\"\nupstream = \"original-destination\"\n"
    )
}

/// The servers that clients want to reach: two of TCP on one host, and UDP.
fn servers(row: &Row) {
    for addr in ["10.99.0.2:9000", "10.99.0.2:9002", "10.99.0.3:9000", "[fd99::2]:9000"] {
        mirror(&row.server, addr);
    }
    udp_mirror(&row.server, "10.99.0.2:9001");
    udp_mirror(&row.server, "[fd99::2]:9001");
}

#[test]
fn redirected_clients_go_where_they_wanted_to_and_nowhere_else() {
    if Row::lacks() {
        return;
    }
    let row = Row::new();
    servers(&row);
    row.middle.nft(REDIRECT);
    let text = to_original("off", "[\"10.99.0.2\", \"fd99::/64\", \"10.98.0.1\"]");
    let place = Place::with(&text);
    let mut proxy = run(&row.middle, &place);
    assert_eq!(seen_as(&row.client, "10.99.0.2:9000"), "10.99.0.1");
    assert_eq!(seen_as(&row.client, "10.99.0.2:9002"), "10.99.0.1");
    assert_eq!(seen_as(&row.client, "[fd99::2]:9000"), "fd99::1");
    // Outside of the list.
    row.fails("10.99.0.3:9000");
    ends(&mut proxy, "denied", "10.99.0.3:9000: is not in `original_destination`");
    // To Portway itself: to the listener without a rule, and with one to another listener of it.
    row.fails("10.98.0.1:8080");
    ends(&mut proxy, "loop", "10.98.0.1:8080: is Portway itself");
    row.fails("10.98.0.1:9003");
    ends(&mut proxy, "loop", "10.98.0.1:9003: is Portway itself");
    // Where nobody listens is nobody else's trouble.
    row.fails("10.99.0.2:9001");
    ends(&mut proxy, "connect-failed", "10.99.0.2:9001: connection refused");
    assert_eq!(proxy.count("upstream is down: it does not connect"), 0, "{}", proxy.log());
    // An edit of the list concerns nobody who is connected, and everybody who comes.
    let addr: SocketAddr = "10.99.0.2:9000".parse().unwrap();
    let open = || row.client.enter(|| TcpStream::connect(addr).and_then(Flow::greeted));
    let mut flow = open().unwrap();
    place.save(&to_original("off", "\"10.99.0.3\""));
    proxy.phase("reloaded");
    flow.ping().unwrap();
    assert!(open().is_err());
    assert_eq!(seen_as(&row.client, "10.99.0.3:9000"), "10.99.0.1");
    // To a fixed upstream and back.
    let fixed = "[[route]]\nname = \"tcp\"\nlisten = \"8080\"\nupstream = \"10.99.0.2:9002\"\n";
    place.save(&format!("{HEAD}{fixed}"));
    proxy.phase("reloaded");
    assert_eq!(seen_as(&row.client, "10.99.0.3:9000"), "10.99.0.1");
    flow.ping().unwrap();
    drop(flow);
    place.save(&to_original("off", "\"10.99.0.2\""));
    proxy.phase("reloaded");
    row.fails("10.99.0.3:9000");
    assert_eq!(seen_as(&row.client, "10.99.0.2:9000"), "10.99.0.1");
    end(proxy, &place);
}

#[test]
fn what_portway_sends_does_not_go_round_through_a_rule_that_does_not_leave_it_out() {
    if Row::lacks() {
        return;
    }
    let row = Row::new();
    servers(&row);
    let text = to_original("off", "\"10.99.0.2\"");
    let place = Place::with(&text);
    let mut proxy = run(&row.middle, &place);
    row.middle.nft(
        "table inet lead { chain out { type nat hook output priority -100
            meta mark 7 accept
            ip daddr 10.99.0.2 tcp dport 9000 redirect to :8080
        }
        }\n",
    );
    let addr: SocketAddr = "10.99.0.2:9000".parse().unwrap();
    let local = || row.middle.enter(|| TcpStream::connect(addr).and_then(Flow::greeted));
    assert!(local().is_err());
    ends(&mut proxy, "loop", "the client is Portway itself");
    let rounds = proxy.seen.iter().filter(|line| line["outcome"].is_string()).count();
    assert!(rounds < 100, "it went round: {}", proxy.log());
    place.save(&text.replace("source = \"off\"", "source = { mark = 7 }"));
    proxy.phase("reloaded");
    assert_eq!(local().unwrap().reached, "10.99.0.1");
    end(proxy, &place);
}

#[test]
fn with_tproxy_nobody_notices_the_proxy_in_between() {
    if Row::lacks() {
        return;
    }
    let row = Row::new();
    servers(&row);
    row.middle.nft(&format!("{DIVERT}{TPROXY}"));
    let place = Place::with(&to_original("client", "[\"10.99.0.2\", \"fd99::/64\", \"10.98.0.0/24\"]"));
    let mut proxy = run(&row.middle, &place);
    let reach = |from: [&str; 2]| {
        for addr in ["10.99.0.2:9000", "10.99.0.2:9002"] {
            assert_eq!(seen_as(&row.client, addr), from[0], "{addr}");
        }
        assert_eq!(seen_as(&row.client, "[fd99::2]:9000"), from[1]);
        // The answers come from where the datagrams were sent to.
        assert_eq!(udp_seen_as(&row.client, "10.99.0.2:9001"), from[0]);
        assert_eq!(udp_seen_as(&row.client, "[fd99::2]:9001"), from[1]);
    };
    reach(["10.98.0.2", "fd98::2"]);
    row.fails("10.99.0.3:9000");
    ends(&mut proxy, "denied", "10.99.0.3:9000: is not in `original_destination`");
    row.fails("10.98.0.1:8080");
    ends(&mut proxy, "loop", "10.98.0.1:8080: is Portway itself");
    let astray = |to: &str| {
        let (socket, to) = (row.client.enter(|| UdpSocket::bind("0.0.0.0:0").unwrap()), to.to_owned());
        assert_eq!(socket.send_to(b"?", to).unwrap(), 1);
    };
    astray("10.99.0.3:9001");
    ends(&mut proxy, "denied", "10.99.0.3:9001: is not in `original_destination`");
    astray("10.98.0.1:9001");
    ends(&mut proxy, "loop", "10.98.0.1:9001: is Portway itself");
    // From an address of the proxy.
    place.save(&to_original("off", "[\"10.99.0.2\", \"fd99::/64\"]"));
    proxy.phase("reloaded");
    reach(["10.99.0.1", "fd99::1"]);
    end(proxy, &place);
}

#[test]
fn a_right_that_transparent_routes_lack_is_said_with_its_cure() {
    if lacks_root() || lacks(&["setpriv"]) {
        return;
    }
    let port = Port::reserve();
    let text = |more: &str| {
        format!("{HEAD}[[route]]\nlisten = \"{}\"\nupstream = \"127.0.0.1:9\"\n{more}", port.local())
    };
    let original = |protocol: &str| {
        let port = port.local();
        format!(
            "{HEAD}[[route]]\nlisten = \"{port}\"\nupstream = \"original-destination\"\nprotocol = \"{protocol}\"\n\
             original_destination = \"192.0.2.0/24\"\n"
        )
    };
    let place = Place::with(&text("source = \"client\"\n"));
    let run = || {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", "-net_admin,-net_raw", PORTWAY, "run", "--config"]).arg(place.file());
        command
    };
    let output = run().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("source client: this process may not set it"), "{said}");
    assert!(said.contains("CAP_NET_RAW") && said.contains("source = \"client\""), "{said}");
    assert_eq!(output.status.code(), Some(1), "{said}");
    // An edit that needs it is refused, at its own place.
    place.save(&text(""));
    let mut proxy = Portway::start(&mut run());
    let own = text("").replace("\"127.0.0.1:9\"", "{ address = \"127.0.0.1:9\", source = \"client\" }");
    place.save(&own);
    assert!(proxy.refused().contains("source client"));
    place.save(&original("udp"));
    assert!(proxy.refused().contains("datagrams that were sent to other hosts"));
    // Without it REDIRECT works.
    place.save(&original("tcp"));
    proxy.phase("only a REDIRECT rule can lead clients here");
    proxy.phase("reloaded");
    proxy.stop();
}

#[test]
fn what_fits_no_original_destination_has_its_cure() {
    let route = "listen = \"8080\"\nupstream = \"original-destination\"\n";
    let all = "original_destination = \"10.0.0.0/8\"\n";
    for (text, cure) in [
        (route.to_owned(), "original_destination = [\"10.0.0.0/8\"]"),
        (format!("{route}original_destination = \"none\"\n"), "original_destination = [\"10.0.0.0/8\"]"),
        (format!("{route}original_destination = \"all\"\n"), "write [\"0.0.0.0/0\", \"::/0\"]"),
        (format!("{route}original_destination = []\n"), "write networks"),
        (format!("{route}{all}health = {{ interval = \"1s\" }}\n"), "each client has another upstream"),
        (format!("listen = \"unix:/run/a\"\nupstream = \"original-destination\"\n{all}"), "a firewall rule"),
        (
            format!("listen = \"1\"\nupstream = [\"original-destination\", \"app:80\"]\n{all}"),
            "a route of their own",
        ),
        (format!("listen = \"1\"\nupstream = \"app:80\"\n{all}"), "remove the line"),
        (format!("{route}{all}tls = {{ upstream = true }}\n"), "server_name"),
    ] {
        let place = Place::with(&format!("[[route]]\n{text}"));
        let check = Command::new(PORTWAY).arg("check").arg(place.file()).output().unwrap();
        let said = String::from_utf8_lossy(&check.stderr);
        assert!(said.contains(cure) && said.contains(": 1 fault\n"), "{text}\n{said}");
    }
    for fits in ["", "deny = \"10.9.0.0/16\"\n", "tls = { upstream = { server_name = \"db\" } }\n"] {
        let place = Place::with(&format!("[[route]]\n{route}{all}{fits}"));
        assert!(Command::new(PORTWAY).arg("check").arg(place.file()).status().unwrap().success(), "{fits}");
    }
}
