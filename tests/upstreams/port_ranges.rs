//! `port_ranges = "rule"`: a range of ports as one socket, with a rule of the firewall.

use std::net::{SocketAddr, TcpStream};

use super::server::*;
use super::source::{HEAD, run};
use super::transparent::{Row, end, ends};
use crate::harness::instance::*;

/// The rule that a plan shows, into the firewall.
fn install(row: &Row, plan: &str) {
    let rule = plan.split("leads its clients there: ").nth(1).and_then(|rest| rest.lines().next());
    let rule = rule.unwrap_or_else(|| panic!("no rule in: {plan}"));
    row.middle.nft(&format!(
        "table inet range {{ chain lead {{ type nat hook prerouting priority dstnat\n {rule}\n }}\n }}\n"
    ));
}

#[test]
fn a_range_of_ports_is_one_socket_with_the_rule_that_the_plan_shows() {
    if Row::lacks() {
        return;
    }
    let row = Row::new();
    let servers = [("first", 10_000), ("middle", 23_456), ("last", 59_999)];
    let servers =
        servers.map(|(name, port)| row.server.enter(|| Server::at(name, &format!("10.99.0.2:{port}"))));
    let place = Place::with("");
    let admin = format!("unix:{}", place.root().join("admin.sock").display());
    let text = |listen: &str, upstream: &str, ranges: &str| {
        format!(
            "{HEAD}[admin]\nlisten = \"{admin}\"\n[[route]]\nname = \"range\"\nlisten = \"{listen}\"\n\
             upstream = \"{upstream}\"\nport_ranges = \"{ranges}\"\n"
        )
    };
    place.save(&text("0.0.0.0:9999", "10.99.0.2:10000", "sockets"));
    let mut proxy = run(&row.middle, &place);
    let (listen, upstream) = ("0.0.0.0:10000-59999", "10.99.0.2:10000-59999");
    let plan = |text: &str| {
        let next = place.root().join("next.toml");
        std::fs::write(&next, text).unwrap();
        let mut plan = row.middle.command(PORTWAY);
        let output = plan.args(["plan", "--admin", &admin]).arg(next).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let each = plan(&text("0.0.0.0:10000-10499", "10.99.0.2:10000-10499", "sockets"));
    assert!(each.contains("can listen on 0.0.0.0:10000-10499 (500 sockets)"), "{each}");
    let one = plan(&text(listen, upstream, "rule"));
    assert!(one.contains("can listen on 0.0.0.0:10000\n"), "{one}");
    place.save(&text(listen, upstream, "rule"));
    proxy.phase("reloaded");
    let open = |port: u16| {
        let addr = SocketAddr::from(([10, 98, 0, 1], port));
        row.client.enter(|| TcpStream::connect(addr).and_then(Flow::greeted)).map(|flow| flow.reached)
    };
    // Without the rule there is the first port.
    assert_eq!(open(10_000).unwrap(), "first");
    assert_eq!(open(23_456).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    install(&row, &one);
    for server in &servers {
        assert_eq!(open(server.addr().port()).unwrap(), server.name);
    }
    // Where no server listens: the next client of another port is none the worse.
    assert!(open(30_000).is_err());
    ends(&mut proxy, "connect-failed", "10.99.0.2:30000: connection refused");
    assert_eq!(open(59_999).unwrap(), "last");
    // A rule for more ports than there are.
    row.middle.nft("table inet range { chain lead { tcp dport 60000 redirect to :10000\n }\n }\n");
    assert!(open(60_000).is_err());
    ends(&mut proxy, "no-route", "port 60000 is none of 0.0.0.0:10000-59999");
    // All to one port, and a socket for each again.
    place.save(&text(listen, "10.99.0.2:23456", "rule"));
    proxy.phase("reloaded");
    assert_eq!(open(59_999).unwrap(), "middle");
    row.middle.nft("flush table inet range\n");
    place.save(&text("0.0.0.0:23450-23459", "10.99.0.2:23450-23459", "sockets"));
    proxy.phase("reloaded");
    assert_eq!(open(23_456).unwrap(), "middle");
    servers.iter().for_each(Server::end_connections);
    end(proxy, &place);
}

/// Who wants to go where nobody answers must not take the others' servers from them. One server for all is down for all.
#[test]
fn a_dead_server_of_one_client_is_no_sign_against_those_of_others_and_a_dead_server_of_all_is_down() {
    // The second of two is never bound, and in no other range.
    let [to_own, to_all] = [(); 2].map(|()| [Port::reserve(), Port::reserve()]);
    let [mut own, mut of_all] = ["own", "of all"].map(Server::new);
    let range = format!("127.0.0.1:{}-{}", own.addr().port(), own.addr().port() + 1);
    let route = |[port, _]: &[Port; 2], upstream: &str| {
        let (first, last) = (port.number, port.number + 1);
        format!(
            "[[route]]\nlisten = \"127.0.0.1:{first}-{last}\"\nupstream = \"{upstream}\"\nport_ranges = \"rule\"\n"
        )
    };
    let routes = [route(&to_own, &range), route(&to_all, &of_all.addr().to_string())];
    let place = Place::with(&[HEAD, &routes.concat()].concat());
    let mut proxy = Portway::run(&place.file());
    own.die();
    of_all.die();
    // As many as put an upstream down.
    let fail = |[port, _]: &[Port; 2]| (0..3).for_each(|_| assert!(Flow::try_open(port.number).is_err()));
    fail(&to_own);
    let failed = |line: &&serde_json::Value| line["outcome"] == "connect-failed";
    proxy.until("all are in the log", |proxy| proxy.seen.iter().filter(failed).count() == 3);
    assert_eq!(proxy.count("upstream is down"), 0, "{}", proxy.log());
    fail(&to_all);
    assert_eq!(proxy.phase("upstream is down")["upstream"], of_all.addr().to_string());
    own.start();
    assert_eq!(Flow::open(to_own[0].number).reached, "own");
    own.end_connections();
    proxy.stop();
}
