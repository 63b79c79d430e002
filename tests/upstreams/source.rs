//! From where upstreams are connected to: `source`. What the kernel sends is counted by nftables, and what arrives is
//! told by the backend.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};

use socket2::SockRef;

use super::server::*;
use crate::harness::instance::*;
use crate::harness::netns::Netns;
use crate::harness::skip::{lacks, lacks_root};

pub const HEAD: &str = "[log]\nformat = \"json\"\naccess = \"stderr\"\n";

/// Two hosts on a cable. The near one has 10.99.0.5 and fd99::5 too, the far one fd99::2.
fn hosts() -> (Netns, Netns) {
    let (near, far) = Netns::pair();
    for (netns, addresses) in
        [(&near, &["10.99.0.5/24", "fd99::1/64", "fd99::5/64"][..]), (&far, &["fd99::2/64"])]
    {
        for address in addresses {
            let nodad = if address.contains(':') { " nodad" } else { "" };
            netns.ip(&format!("addr add {address} dev wire{nodad}"));
        }
    }
    (near, far)
}

pub fn run(netns: &Netns, place: &Place) -> Portway {
    Portway::start(netns.command(PORTWAY).arg("run").arg("--config").arg(place.file()))
}

/// Counts the packets to the far host: those that have all of the source, and others.
const COUNTERS: &str = "table inet t {
    counter good {}
    counter marked_ect0 {}
    counter other {}
    chain out {
        type filter hook output priority 0;
        ip daddr 10.99.0.2 ip ecn ect0 udp dport 9001 counter name marked_ect0
        ip daddr 10.99.0.2 ip saddr 10.99.0.5 ip dscp af41 meta mark 7 counter name good accept
        ip6 daddr fd99::2 ip6 saddr fd99::5 ip6 dscp af41 meta mark 7 counter name good accept
        meta l4proto { tcp, udp } meta oif \"wire\" counter name other
    }
}
";

fn counted(netns: &Netns, name: &str) -> u64 {
    let output = netns.command("nft").args(["-j", "list", "counter", "inet", "t", name]).output().unwrap();
    let listed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let counters = listed["nftables"].as_array().unwrap();
    counters.iter().find_map(|entry| entry["counter"]["packets"].as_u64()).unwrap()
}

/// Who has come to a backend.
pub type Seen = Arc<Mutex<BTreeSet<IpAddr>>>;

pub fn lock(seen: &Seen) -> MutexGuard<'_, BTreeSet<IpAddr>> {
    seen.lock().unwrap()
}

/// A backend that says to each client from which address it sees it, and then echoes.
pub fn mirror(netns: &Netns, addr: &str) -> Seen {
    let listener = netns.enter(|| TcpListener::bind(addr).unwrap());
    let seen = Seen::default();
    let noted = seen.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // A check that has gone already does not matter.
            let Ok(from) = stream.peer_addr() else { continue };
            let from = from.ip().to_canonical();
            noted.lock().unwrap().insert(from);
            std::thread::spawn(move || {
                drop(stream.write_all(format!("{from}\n").as_bytes()));
                let mut buffer = [0; 64];
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    drop(stream.write_all(&buffer[..length]));
                }
            });
        }
    });
    seen
}

/// The same over UDP, with an answer to each datagram.
pub fn udp_mirror(netns: &Netns, addr: &str) {
    let socket = netns.enter(|| UdpSocket::bind(addr).unwrap());
    std::thread::spawn(move || {
        while let Ok((_, from)) = socket.recv_from(&mut [0; 2048]) {
            drop(socket.send_to(from.ip().to_canonical().to_string().as_bytes(), from));
        }
    });
}

/// What a UDP backend behind this address sees as its client.
pub fn udp_seen_as(netns: &Netns, addr: &str) -> String {
    let addr: SocketAddr = addr.parse().unwrap();
    let any = if addr.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = netns.enter(|| UdpSocket::bind(any).unwrap());
    // Hears nobody else: the answer comes from where the question went.
    socket.connect(addr).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send(b"?").unwrap();
    let mut heard = [0; 64];
    let length = socket.recv(&mut heard).unwrap();
    String::from_utf8_lossy(&heard[..length]).into_owned()
}

pub fn seen_as(netns: &Netns, addr: &str) -> String {
    let addr: SocketAddr = addr.parse().unwrap();
    let stream = netns.enter(|| TcpStream::connect(addr).unwrap());
    Flow::greeted(stream).unwrap().reached
}

#[test]
fn all_that_begins_at_an_upstream_begins_at_its_source() {
    if lacks_root() || lacks(&["nft"]) {
        return;
    }
    let (near, far) = hosts();
    mirror(&far, "10.99.0.2:9000");
    mirror(&far, "[fd99::2]:9000");
    udp_mirror(&far, "10.99.0.2:9001");
    near.nft(COUNTERS);
    let place = Place::with(&format!(
        "{HEAD}[defaults]\nsource = {{ address = [\"10.99.0.5\", \"fd99::5\"], interface = \"wire\", dscp = \"af41\", mark = 7 }}\n\
         health = {{ interval = \"100ms\" }}\non_change = \"cut\"\n\
         [[route]]\nlisten = \"127.0.0.1:8080\"\nupstream = \"10.99.0.2:9000\"\n\
         [[route]]\nlisten = \"127.0.0.1:8081\"\nupstream = \"[fd99::2]:9000\"\n\
         [[route]]\nprotocol = \"udp\"\nlisten = \"127.0.0.1:8082\"\nupstream = \"10.99.0.2:9001\"\n"
    ));
    let mut proxy = run(&near, &place);
    assert_eq!(seen_as(&near, "127.0.0.1:8080"), "10.99.0.5");
    assert_eq!(seen_as(&near, "127.0.0.1:8081"), "fd99::5");
    // A run of datagrams, and one with a congestion mark: both go out in the class of the source.
    let client = near.enter(|| UdpSocket::bind("127.0.0.1:0").unwrap());
    client.connect("127.0.0.1:8082").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let hear = || {
        let mut heard = [0; 64];
        let length = client.recv(&mut heard).unwrap();
        String::from_utf8_lossy(&heard[..length]).parse::<IpAddr>().unwrap()
    };
    for marked in [0, 0b10] {
        SockRef::from(&client).set_tos_v4(marked).unwrap();
        (0..20).for_each(|_| assert_eq!(client.send(b"0123456789").unwrap(), 10));
        (0..20).for_each(|_| assert_eq!(hear().to_string(), "10.99.0.5"));
    }
    assert_eq!(counted(&near, "marked_ect0"), 20, "the congestion mark passes");
    // Three of each kind: the checks have come too.
    proxy.until("the checks are counted", |_| counted(&near, "good") > 80);
    // An edit to another source concerns the next connection.
    assert_eq!(counted(&near, "other"), 0, "{}", proxy.log());
    place.save(&format!("{HEAD}[[route]]\nlisten = \"127.0.0.1:8080\"\nupstream = \"10.99.0.2:9000\"\n"));
    proxy.phase("reloaded");
    assert_eq!(seen_as(&near, "127.0.0.1:8080"), "10.99.0.1");
    assert!(counted(&near, "other") > 0);
    proxy.stop();
}

#[test]
fn an_upstream_has_a_source_of_its_own_and_an_edit_of_it_concerns_its_next_connections() {
    if lacks_root() {
        return;
    }
    let (near, far) = hosts();
    near.ip("addr add 10.99.0.6/24 dev wire");
    let seen = ["10.99.0.2:9000", "10.99.0.2:9001"].map(|addr| mirror(&far, addr));
    udp_mirror(&far, "10.99.0.2:9002");
    let place = Place::with("");
    let admin = format!("unix:{}", place.root().join("admin.sock").display());
    let text = |own: &str| {
        let udp = format!("{{ address = \"10.99.0.2:9002\"{own} }}");
        format!(
            "{HEAD}[admin]\nlisten = \"{admin}\"\n[defaults]\nsource = \"10.99.0.5\"\non_change = \"cut\"\n\
             [[route]]\nname = \"two\"\nlisten = \"127.0.0.1:8080\"\nhealth = {{ interval = \"100ms\" }}\n\
             upstream = [{{ address = \"10.99.0.2:9000\"{own} }}, \"10.99.0.2:9001\"]\n\
             [[route]]\nlisten = \"127.0.0.1:8082\"\nprotocol = \"udp\"\nupstream = {udp}\n"
        )
    };
    place.save(&text(", source = \"10.99.0.6\""));
    let mut proxy = run(&near, &place);
    let open = || {
        let stream = near.enter(|| TcpStream::connect("127.0.0.1:8080").unwrap());
        Flow::greeted(stream).unwrap()
    };
    let mut flows = [open(), open()];
    let mut as_seen = flows.each_ref().map(|flow| flow.reached.clone());
    as_seen.sort();
    assert_eq!(as_seen, ["10.99.0.5", "10.99.0.6"]);
    assert_eq!(udp_seen_as(&near, "127.0.0.1:8082"), "10.99.0.6");
    let shown = near.command(PORTWAY).args(["upstreams", "--admin", &admin]).output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.contains("from 10.99.0.5") && shown.contains("from 10.99.0.6"), "{shown}");
    // To the system's choice, and back to the route's: nobody who is connected is concerned.
    for (own, first) in [(", source = \"off\"", "10.99.0.1"), ("", "10.99.0.5")] {
        let next = place.root().join("next.toml");
        std::fs::write(&next, text(own)).unwrap();
        let plan = near.command(PORTWAY).args(["plan", "--admin", &admin]).arg(&next).output().unwrap();
        let plan = String::from_utf8_lossy(&plan.stdout);
        assert!(plan.contains("(source ") && plan.matches("no open connection").count() == 2, "{plan}");
        place.save(&text(own));
        proxy.phase("reloaded");
        let two = [open(), open()].map(|flow| flow.reached);
        assert!(
            two.iter().any(|from| from == first) && two.iter().any(|from| from == "10.99.0.5"),
            "{two:?}"
        );
        assert_eq!(udp_seen_as(&near, "127.0.0.1:8082"), first);
        flows.iter_mut().for_each(|flow| flow.ping().unwrap());
        // Its checks begin there as well.
        proxy.until("the checks begin there", |_| lock(&seen[0]).contains(&first.parse().unwrap()));
    }
    drop(flows);
    // The sessions end with their route.
    place.save(&format!("{HEAD}[[route]]\nlisten = \"127.0.0.1:8080\"\nupstream = \"10.99.0.2:9000\"\n"));
    proxy.phase("reloaded");
    proxy.stop();
}

#[test]
fn fifty_ports_of_a_source_carry_ninety_six_connections_to_two_upstreams() {
    if lacks_root() {
        return;
    }
    let (near, far) = hosts();
    near.sysctl("ipv4/ip_local_port_range", "40000 40049");
    let servers = ["10.99.0.2:9001", "10.99.0.2:9002"].map(|addr| far.enter(|| Server::at("a", addr)));
    let place = Place::with(&format!(
        "{HEAD}[[route]]\nlisten = \"10.99.0.1:8080\"\nsource = \"10.99.0.5\"\n\
         upstream = [\"10.99.0.2:9001\", \"10.99.0.2:9002\"]\n"
    ));
    let proxy = run(&near, &place);
    let open = || TcpStream::connect("10.99.0.1:8080").and_then(Flow::greeted);
    let flows: Vec<Flow> = (0..96)
        .map(|number| far.enter(open).unwrap_or_else(|error| panic!("connection {number}: {error}")))
        .collect();
    assert!(flows.iter().all(|flow| flow.reached == "a"));
    drop(flows);
    servers.iter().for_each(Server::end_connections);
    proxy.stop();
}

#[test]
fn a_source_that_is_not_there_is_a_state_until_it_comes() {
    if lacks_root() {
        return;
    }
    let (near, far) = hosts();
    near.hosts("fd99::2 db\n10.99.0.2 db\n");
    let server = far.enter(|| Server::at("a", "10.99.0.2:9000"));
    let text = |source: &str| {
        format!(
            "{HEAD}[[route]]\nlisten = \"127.0.0.1:8080\"\nupstream = \"10.99.0.2:9000\"\nsource = {source}\n"
        )
    };
    let place = Place::with(&text("\"10.99.0.7\""));
    let mut proxy = run(&near, &place);
    let told = proxy.seen.iter().find(|line| message(line).contains("cannot be reached from their source"));
    assert!(told.is_some_and(|line| line.to_string().contains("10.99.0.7")), "{}", proxy.log());
    let open = || near.enter(|| TcpStream::connect("127.0.0.1:8080").and_then(Flow::greeted));
    let fails = |proxy: &mut Portway, why: &str| {
        assert!(open().is_err());
        proxy.until(why, |proxy| {
            proxy.catch_up();
            proxy.seen.iter().any(|line| line["detail"].as_str().is_some_and(|detail| detail.contains(why)))
        });
    };
    fails(&mut proxy, "source 10.99.0.7: no interface of this host has the address");
    near.ip("addr add 10.99.0.7/24 dev wire");
    assert_eq!(open().unwrap().reached, "a");
    place.save(&text("{ interface = \"wire9\" }"));
    proxy.phase("reloaded");
    fails(&mut proxy, "source interface wire9: there is no such interface");
    // Of a name's addresses those count that the source can reach.
    place.save(&text("\"10.99.0.5\"").replace("10.99.0.2:9000", "db:9000"));
    proxy.phase("reloaded");
    assert_eq!(open().unwrap().reached, "a");
    server.end_connections();
    proxy.stop();
}

#[test]
fn a_right_that_a_source_lacks_is_a_fault_with_its_cure() {
    if lacks_root() || lacks(&["setpriv"]) {
        return;
    }
    let port = Port::reserve();
    let text = |more: &str| {
        format!("{HEAD}[[route]]\nlisten = \"{}\"\nupstream = \"127.0.0.1:9\"\n{more}", port.local())
    };
    let place = Place::with(&text("source = { mark = 0x10 }\n"));
    let run = || {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", "-net_admin,-net_raw", PORTWAY, "run", "--config"]).arg(place.file());
        command
    };
    let output = run().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("source mark 16: this process may not set it"), "{said}");
    assert!(said.contains("CAP_NET_ADMIN") && said.contains("source = { mark = 0x10 }"), "{said}");
    assert_eq!(output.status.code(), Some(1), "{said}");
    // An edit that needs it is refused, and one that does not is taken.
    place.save(&text(""));
    let mut proxy = Portway::start(&mut run());
    place.save(&text("source = { mark = 16, dscp = 46 }\n"));
    assert!(proxy.refused().contains("source mark 16"));
    place.save(&text("source = { address = \"127.0.0.5\", dscp = 46 }\n"));
    proxy.phase("reloaded");
    proxy.stop();
}

#[test]
fn what_is_no_source_has_its_cure() {
    for (source, more, cure) in [
        ("\"10.0.0.5:80\"", "", "without a port"),
        ("\"0.0.0.0\"", "", "source = \"off\""),
        ("\"224.0.0.1\"", "", "multicast"),
        ("\"fe80::1\"", "", "{ interface = "),
        ("\"eth0\"", "", "{ interface = \"eth0\" }"),
        ("\"transparent\"", "", "write \"client\""),
        ("[\"client\", \"10.0.0.5\"]", "", "write source = \"client\" for"),
        ("[\"10.0.0.5\", \"10.0.0.6\"]", "", "remove one of them"),
        ("[]", "", "empty list"),
        ("{}", "", "the table says nothing"),
        ("{ dscp = 64 }", "", "from 0 to 63"),
        ("{ dscp = \"af44\" }", "", "from 0 to 63"),
        ("{ mark = 0 }", "", "from 1 to"),
        ("{ interface = \"an interface\" }", "", "ip link"),
        ("{ addres = \"10.0.0.5\" }", "", "did you mean `address`"),
        ("\"10.0.0.5\"", "upstream = \"[::1]:80\"", "`source` has no IPv6 address"),
        ("{ address = \"2001:db8::5\" }", "upstream = \"127.0.0.1:80\"", "`source` has no IPv4 address"),
        ("\"off\"", "upstream = { address = \"[::1]:80\", source = \"10.0.0.5\" }", "has no IPv6 address"),
        ("\"off\"", "upstream = { address = \"app:80\", source = { dscp = 64 } }", "from 0 to 63"),
        (
            "\"off\"",
            "upstream = { address = \"app:80\", source = { adress = \"10.0.0.5\" } }",
            "did you mean `address`",
        ),
    ] {
        let upstream = if more.is_empty() { "upstream = \"app:80\"" } else { more };
        let place = Place::with(&format!("[[route]]\nlisten = \"8080\"\n{upstream}\nsource = {source}\n"));
        let check = Command::new(PORTWAY).arg("check").arg(place.file()).output().unwrap();
        let said = String::from_utf8_lossy(&check.stderr);
        assert!(said.contains(cure) && said.contains(": 1 fault"), "{source}\n{said}");
    }
}
