//! Names whose addresses come and go, and resolvers that fail. Each test has a network of its own.

use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::resolver::{Resolver, Says};
use super::server::*;
use crate::harness::instance::*;
use crate::harness::netns::Netns;

const CHANGED: &str = "the addresses of the name have changed";
const FAILS: &str = "the name does not resolve";
const BACK: &str = "the name resolves again";
const LISTEN: u16 = 8080;

/// 127.0.0.N for each.
fn addrs(hosts: &[u8]) -> Vec<Ipv4Addr> {
    hosts.iter().map(|host| Ipv4Addr::new(127, 0, 0, *host)).collect()
}

/// A network with a name server.
struct Net {
    netns: Netns,
    resolver: Resolver,
}

impl Net {
    fn new(says: &[(&str, Says)]) -> Net {
        let netns = Netns::new();
        netns.resolver("nameserver 127.0.0.1\n");
        let resolver = netns.enter(|| Resolver::start(says));
        Net { netns, resolver }
    }

    fn run(&self, place: &Place) -> Portway {
        let mut command = self.netns.command(PORTWAY);
        Portway::start(command.arg("run").arg("--config").arg(place.file()))
    }

    fn server(&self, name: &'static str, host: u8) -> Server {
        self.netns.enter(|| Server::at(name, &format!("127.0.0.{host}:3000")))
    }

    fn try_open(&self) -> std::io::Result<Flow> {
        self.netns.enter(|| Flow::try_open(LISTEN))
    }

    /// The names that so many clients reach, one after the other, sorted.
    fn reach(&self, clients: usize) -> String {
        let mut names: Vec<String> = (0..clients).map(|_| self.try_open().unwrap().reached).collect();
        names.sort();
        names.concat()
    }
}

/// A route to `app.test:3000`; `more` is further lines.
fn leads_to_app(more: &str) -> String {
    format!(
        "[log]\nformat = \"json\"\naccess = \"stderr\"\n[[route]]\nname = \"app\"\nlisten = \"127.0.0.1:{LISTEN}\"\n\
         upstream = \"app.test:3000\"\n{more}\n"
    )
}

fn until_resolved(portway: &mut Portway) {
    portway.until("the name has an answer", |portway| portway.count(CHANGED) > 0);
}

#[test]
fn the_addresses_of_a_name_take_turns_and_a_new_one_has_its_share_at_once() {
    if lacks_root() {
        return;
    }
    let net = Net::new(&[("app", Says::Addrs(addrs(&[11, 12])))]);
    let servers = [net.server("a", 11), net.server("b", 12), net.server("c", 13)];
    let place = Place::with(&leads_to_app(""));
    let mut portway = net.run(&place);
    assert_eq!(net.reach(6), "aaabbb");
    net.resolver.says("app", Says::Addrs(addrs(&[13, 11, 12])));
    until_resolved(&mut portway);
    let news = portway.phase(CHANGED);
    assert_eq!((&news["added"], &news["gone"]), (&"127.0.0.13".into(), &"".into()));
    assert_eq!(net.reach(9), "aaabbbccc");
    servers.iter().for_each(Server::end_connections);
    portway.stop();
}

#[test]
fn connections_to_an_address_that_left_its_name_go_on_drain_or_are_cut() {
    if lacks_root() {
        return;
    }
    let net = Net::new(&[("app", Says::Addrs(addrs(&[11])))]);
    let servers = [net.server("a", 11), net.server("b", 12)];
    let mut text = leads_to_app("");
    for (port, how) in [(8081, "drain"), (8082, "cut")] {
        text += &format!(
            "[[route]]\nname = \"{how}\"\nlisten = \"127.0.0.1:{port}\"\nupstream = \"app.test:3000\"\n\
             on_vanish = \"{how}\"\ndrain_timeout = \"700ms\"\n"
        );
    }
    let place = Place::with(&text);
    let mut portway = net.run(&place);
    let [mut kept, mut drained, mut cut] =
        [LISTEN, 8081, 8082].map(|port| net.netns.enter(|| Flow::open(port)));
    assert_eq!([&kept, &drained, &cut].map(|flow| flow.reached.as_str()), ["a"; 3]);
    // What only joins it changes nothing.
    net.resolver.says("app", Says::Addrs(addrs(&[12, 11])));
    portway.until("another has come", |portway| portway.count(CHANGED) == 2);
    portway.catch_up();
    assert!(!portway.seen.iter().any(|line| line["outcome"].is_string()));
    net.resolver.says("app", Says::Addrs(addrs(&[12])));
    portway.until("it has left", |portway| portway.count(CHANGED) == 3);
    let left = Instant::now();
    assert!(cut.was_reset());
    assert!(drained.was_reset());
    // The log line came a moment after the change.
    assert!(left.elapsed() > Duration::from_millis(500), "{:?}", left.elapsed());
    assert_eq!(net.reach(2), "bb");
    let gone = |portway: &Portway, route: &str| {
        portway.seen.iter().any(|line| line["route"] == route && line["outcome"] == "upstream-gone")
    };
    portway.until("both are in the access log", |portway| gone(portway, "drain") && gone(portway, "cut"));
    assert!(!gone(&portway, "app"));
    servers[0].end_connections();
    assert!(!kept.was_reset(), "it has ended with its server");
    drop(kept);
    servers[1].end_connections();
    portway.stop();
}

/// The resolver goes wrong in one way, and is well again.
fn the_last_good_answer_outlives(wrong: Says) {
    if lacks_root() {
        return;
    }
    let net = Net::new(&[("app", Says::Addrs(addrs(&[11])))]);
    // A server that is silent is given up soon: the resolver's own 10 seconds are another test's.
    net.netns.resolver("nameserver 127.0.0.1\noptions timeout:2 attempts:1\n");
    let server = net.server("a", 11);
    let place = Place::with(&leads_to_app("on_vanish = \"cut\""));
    let mut portway = net.run(&place);
    let held = net.try_open().unwrap();
    net.resolver.says("app", wrong);
    let fails = portway.phase(FAILS);
    assert_eq!((&fails["name"], &fails["kept"]), (&"app.test".into(), &1.into()), "{fails}");
    let begun = Instant::now();
    assert_eq!(net.reach(20), "a".repeat(20));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    net.resolver.says("app", Says::Addrs(addrs(&[11])));
    portway.phase(BACK);
    assert_eq!((portway.count(FAILS), portway.count(CHANGED)), (1, 1));
    assert!(!portway.seen.iter().any(|line| line["outcome"] == "upstream-gone"), "{}", portway.log());
    drop(held);
    server.end_connections();
    portway.stop();
}

#[test]
fn the_last_good_answer_outlives_nxdomain() {
    the_last_good_answer_outlives(Says::NxDomain);
}

#[test]
fn the_last_good_answer_outlives_servfail() {
    the_last_good_answer_outlives(Says::ServFail);
}

#[test]
fn the_last_good_answer_outlives_an_empty_answer() {
    the_last_good_answer_outlives(Says::Empty);
}

#[test]
fn the_last_good_answer_outlives_silence() {
    the_last_good_answer_outlives(Says::Silence);
}

#[test]
fn a_resolver_of_ten_seconds_is_in_nobodys_way_and_not_in_that_of_the_stop() {
    if lacks_root() {
        return;
    }
    let net = Net::new(&[("app", Says::Addrs(addrs(&[11]))), ("other", Says::Addrs(addrs(&[12])))]);
    // The answer of 10 seconds is taken, not asked for again.
    net.netns.resolver("nameserver 127.0.0.1\noptions timeout:25 attempts:1\n");
    let servers = [net.server("a", 11), net.server("b", 12)];
    let text = leads_to_app("") + "[[route]]\nlisten = \"127.0.0.1:8081\"\nupstream = \"other.test:3000\"\n";
    let place = Place::with(&text);
    let mut portway = net.run(&place);
    portway.until("both names have an answer", |portway| portway.count(CHANGED) == 2);
    let late = |hosts: &[u8]| Says::Late(Duration::from_secs(10), addrs(hosts));
    net.resolver.says("app", late(&[12]));
    portway.phase("the resolver is slow");
    // Clients go where the last answer leads, and the other name is looked up meanwhile.
    let asked = net.resolver.asked();
    let begun = Instant::now();
    assert_eq!(net.reach(20), "a".repeat(20));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    net.resolver.says("other", Says::Addrs(addrs(&[11])));
    portway.phase(CHANGED);
    // Of the slow name there was no second look-up beside the first: two of the other one at the most.
    assert!((1..=2).contains(&(net.resolver.asked() - asked)));
    // What it says in the end counts.
    let news = portway.phase(CHANGED);
    assert_eq!(news["name"], "app.test");
    assert_eq!(net.reach(2), "bb");
    portway.phase("the resolver is slow");
    servers.iter().for_each(Server::end_connections);
    // The look-up that is under way has a socket, and cannot be called off.
    let stopping = Instant::now();
    portway.signal(Signal::TERM);
    portway.phase("stopped");
    let stat = format!("/proc/{}/stat", portway.pid());
    while !std::fs::read_to_string(&stat).unwrap().contains(") Z ") {
        assert!(stopping.elapsed() < PATIENCE);
    }
    assert!(stopping.elapsed() < Duration::from_secs(3), "{:?}", stopping.elapsed());
}

#[test]
fn a_name_that_has_no_answer_yet_serves_with_the_first_one() {
    if lacks_root() {
        return;
    }
    let net = Net::new(&[("app", Says::NxDomain)]);
    let server = net.server("a", 11);
    let place = Place::with(&leads_to_app(""));
    let mut portway = net.run(&place);
    assert!(net.try_open().is_err());
    portway.until("the failure is in the access log", |portway| {
        portway.seen.iter().any(|line| {
            line["outcome"] == "connect-failed"
                && line["detail"]
                    .as_str()
                    .is_some_and(|why| why.contains("app.test:3000: the name does not resolve"))
        })
    });
    net.resolver.says("app", Says::Late(Duration::from_millis(500), addrs(&[11])));
    // Soon after the last look-up clients are told what it said; from then on they wait for the next.
    let begun = Instant::now();
    portway.until("a client is served", |_| net.try_open().is_ok());
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    server.end_connections();
    portway.stop();
}

#[test]
fn a_client_is_served_by_a_server_that_has_just_moved_to_another_address() {
    if lacks_root() {
        return;
    }
    let net = Net::new(&[("app", Says::Addrs(addrs(&[11])))]);
    let mut server = net.server("old", 11);
    let place = Place::with(&leads_to_app(""));
    let portway = net.run(&place);
    for (name, host) in [("new", 12), ("newer", 13), ("newest", 14)] {
        net.reach(1);
        server.die();
        server = net.server(name, host);
        net.resolver.says("app", Says::Addrs(addrs(&[host])));
        // The first client that comes, and every other.
        assert_eq!(net.reach(5), name.repeat(5));
    }
    server.end_connections();
    portway.stop();
}

#[test]
fn a_name_may_have_forty_addresses() {
    if lacks_root() {
        return;
    }
    let hosts: Vec<u8> = (100..140).collect();
    let net = Net::new(&[("app", Says::Addrs(addrs(&hosts)))]);
    let servers: Vec<Server> = (0..40)
        .map(|i| {
            let names: Vec<&'static str> =
                "0 1 2 3 4 5 6 7 8 9 A B C D E F G H I J K L M N O P Q R S T U V W X Y Z a b c d"
                    .split(' ')
                    .collect();
            net.server(names[i], hosts[i])
        })
        .collect();
    let place = Place::with(&leads_to_app(""));
    let portway = net.run(&place);
    let mut names: Vec<char> = net.reach(40).chars().collect();
    names.dedup();
    assert_eq!(names.len(), 40, "{names:?}");
    servers.iter().for_each(Server::end_connections);
    portway.stop();
}

/// dnsmasq with these lines of a hosts file, which can be changed.
struct Dnsmasq {
    hosts: tempfile::NamedTempFile,
    child: Child,
}

impl Dnsmasq {
    fn start(netns: &Netns, lines: &str) -> Dnsmasq {
        let hosts = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(hosts.path(), lines).unwrap();
        let child = Dnsmasq::spawn(netns, hosts.path());
        Dnsmasq { hosts, child }
    }

    fn spawn(netns: &Netns, hosts: &std::path::Path) -> Child {
        let mut command: Command = netns.command("dnsmasq");
        command.args(
            "--keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --local-ttl=0".split(' '),
        );
        command.args(
            "--local=/test/ --listen-address=127.0.0.1 --bind-interfaces --user=root --pid-file=".split(' '),
        );
        command.arg(format!("--addn-hosts={}", hosts.display()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn signal(&self, signal: Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    fn says(&self, lines: &str) {
        std::fs::write(self.hosts.path(), lines).unwrap();
        self.signal(Signal::HUP);
    }

    fn die(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        // Of a test that has failed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn dnsmasq_changes_its_answers_dies_and_comes_back() {
    if lacks_root() {
        return;
    }
    let netns = Netns::new();
    netns.resolver("nameserver 127.0.0.1\n");
    let mut dnsmasq = Dnsmasq::start(&netns, "127.0.0.11 app.test\n");
    let server = |name, host| netns.enter(|| Server::at(name, &format!("127.0.0.{host}:3000")));
    let servers = [server("a", 11), server("b", 12)];
    let place = Place::with(&leads_to_app(""));
    let mut portway = Portway::start(netns.command(PORTWAY).arg("run").arg("--config").arg(place.file()));
    let reach = |clients: usize| {
        let mut names: Vec<String> =
            (0..clients).map(|_| netns.enter(|| Flow::open(LISTEN)).reached).collect();
        names.sort();
        names.concat()
    };
    until_resolved(&mut portway);
    // It may have asked before dnsmasq was there.
    let before = portway.count(FAILS);
    assert_eq!(reach(2), "aa");
    dnsmasq.says("127.0.0.11 app.test\n127.0.0.12 app.test\n");
    portway.phase(CHANGED);
    assert_eq!(reach(4), "aabb");
    // No such name, then no server at all: the same failure goes on.
    dnsmasq.says("");
    portway.phase(FAILS);
    dnsmasq.die();
    assert_eq!(reach(4), "aabb");
    std::fs::write(dnsmasq.hosts.path(), "127.0.0.12 app.test\n").unwrap();
    dnsmasq.child = Dnsmasq::spawn(&netns, dnsmasq.hosts.path());
    portway.phase(BACK);
    assert_eq!(reach(4), "bbbb");
    assert_eq!(portway.count(FAILS), before + 1);
    servers.iter().for_each(Server::end_connections);
    portway.stop();
}
