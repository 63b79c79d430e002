//! A hundred kinds of mistake. Each is an edit of a file that serves its clients well; `{1}` and `{2}` are ports of the case,
//! `{web}` and the like are services ([`Servers`](super::servers::Servers)), `{socket}` is the path of a Unix socket.

use super::clients::Client::{self, *};
use super::protocols::{headers, names, tls};

/// One kind of mistake.
pub struct Case {
    pub name: &'static str,
    /// Who comes: to port 1, then to port 2.
    pub clients: &'static [Client],
    pub before: String,
    pub after: String,
}

/// A mistake in the lines of one route at port 1.
pub fn one(name: &'static str, client: &'static [Client], before: &str, after: &str) -> Case {
    Case { name, clients: client, before: route("r", "{1}", before), after: route("r", "{1}", after) }
}

/// A mistake that two routes make, at ports 1 and 2.
fn two(name: &'static str, clients: &'static [Client], before: [&str; 2], after: [&str; 2]) -> Case {
    let text = |[a, b]: [&str; 2]| route("a", "{1}", a) + &route("b", "{2}", b);
    Case { name, clients, before: text(before), after: text(after) }
}

/// A mistake above the routes.
pub fn defaults(name: &'static str, client: &'static [Client], lines: &str, of_route: &str) -> Case {
    let before = route("r", "{1}", of_route);
    Case {
        name,
        clients: client,
        after: format!("[defaults]\nconnect_timeout = \"500ms\"\n{lines}\n{before}"),
        before,
    }
}

fn route(name: &str, port: &str, lines: &str) -> String {
    let listen = if lines.starts_with("listen") || lines.contains("\nlisten") {
        String::new()
    } else {
        format!("listen = \"127.0.0.1:{port}\"\n")
    };
    let name = if lines.contains("name = ") { String::new() } else { format!("name = \"{name}\"\n") };
    format!("[[route]]\n{name}{listen}{lines}\n")
}

pub const WEB: &str = "upstream = \"{web}\"";
pub const DB: &str = "upstream = \"{db}\"";
pub const DNS: &str = "protocol = \"udp\"\nupstream = \"{dns}\"\nidle_timeout = \"2s\"";
/// A web server that is checked.
pub const CHECKED: &str = "upstream = \"{web}\"\nhealth = { interval = \"200ms\", timeout = \"200ms\", send = \"GET / HTTP/1.0\\r\\n\\r\\n\", expect = \"200 OK\" }";
pub const NAMED: &str = "upstream = \"{app}\"\nsni = \"app.test\"";

/// All of them, with the lines that are wrong.
pub fn all() -> Vec<Case> {
    let groups =
        [addresses(), pools(), facts(), tls(), names(), headers(), access(), limits(), listeners(), checks()];
    groups.into_iter().flatten().collect()
}

fn addresses() -> Vec<Case> {
    let web = |name, after: &str| one(name, &[Web], WEB, after);
    vec![
        web("a port where nobody listens", "upstream = \"{dead}\""),
        web("the port of another service, which hangs up", DB),
        web("a name that does not exist", "upstream = \"app.invalid:3000\""),
        web("the IPv6 address of a service that has none", "upstream = \"[::1]:{web port}\""),
        web("an address that nobody has", "upstream = \"{nobody}\""),
        web("a multicast address", "upstream = \"224.0.0.9:3000\""),
        web("its own listener", "upstream = \"127.0.0.1:{1}\""),
        web("a Unix socket that does not exist", "upstream = \"{gone}\""),
        web("a Unix socket whose server has gone", "upstream = \"{orphan}\""),
        web("a folder for a Unix socket", "upstream = \"unix:/tmp\""),
        two("two services are swapped", &[Web, Db], [WEB, DB], [DB, WEB]),
        two(
            "two routes that lead to each other",
            &[Web, Web],
            [WEB, WEB],
            ["upstream = \"127.0.0.1:{2}\"", "upstream = \"127.0.0.1:{1}\""],
        ),
        one(
            "the port of a mail server, which is checked",
            &[Web],
            CHECKED,
            &CHECKED.replace("{web}", "{mail}"),
        ),
        one("a web server for a database: it answers, with an error", &[Db], DB, WEB),
        one("a database for a Unix socket's server", &[Web], "upstream = \"{unix}\"", DB),
        one("UDP: a port where nobody listens", &[Udp], DNS, &DNS.replace("{dns}", "{dead}")),
        one("UDP: a name that does not exist", &[Udp], DNS, &DNS.replace("{dns}", "dns.invalid:53")),
        one(
            "a new name for the route, and a dead upstream",
            &[Web],
            WEB,
            "name = \"www\"\nupstream = \"{dead}\"",
        ),
    ]
}

fn pools() -> Vec<Case> {
    let web = |name, before: &str, after: &str| one(name, &[Web], before, after);
    vec![
        web("the last one left is dead", "upstream = [\"{web}\", \"{dead}\"]", "upstream = [\"{dead}\"]"),
        web(
            "all weight on the dead ones",
            "upstream = [{ address = \"{web}\", weight = 9 }, \"{dead}\"]",
            "upstream = [{ address = \"{web}\", weight = 0 }, { address = \"{dead}\", weight = 9 }]",
        ),
        web(
            "the one that lives is drained",
            "upstream = [\"{web}\", \"{dead}\"]",
            "upstream = [{ address = \"{web}\", state = \"drain\" }, \"{dead}\"]",
        ),
        web(
            "the first one is another service",
            "upstream = [\"{web}\", \"{web2}\"]\nbalance = \"first\"",
            "upstream = [\"{db}\", \"{web2}\"]\nbalance = \"first\"",
        ),
        web(
            "a backup that is never needed: the others connect, and hang up",
            "upstream = [\"{web}\", { address = \"{web2}\", backup = true }]",
            "upstream = [\"{db}\", { address = \"{web}\", backup = true }]",
        ),
        web("no weight for anybody", WEB, "upstream = [{ address = \"{web}\", weight = 0 }]"),
        web("everybody is drained", WEB, "upstream = [{ address = \"{web}\", state = \"drain\" }]"),
    ]
}

/// What a reader of the file alone can know.
fn facts() -> Vec<Case> {
    let web = |name, after: &str| one(name, &[Web], WEB, after);
    let mut cases = vec![
        web(
            "a range of ports that has another size",
            "listen = \"127.0.0.1:7000-7009\"\nupstream = \"app:3000-3004\"",
        ),
        web("an upstream without a port", "upstream = \"127.0.0.1\""),
        web("a URL for an address", "upstream = \"http://{web}/\""),
        web("port 0", "upstream = \"127.0.0.1:0\""),
        web("a port above 65535", "upstream = \"127.0.0.1:70000\""),
        web("every interface as an upstream", "upstream = \"0.0.0.0:3000\""),
        web("a network as an upstream", "upstream = \"10.0.0.0/8:3000\""),
        web("an upstream that is listed twice", "upstream = [\"{web}\", \"{web}\"]"),
        web("an octet above 255", "upstream = \"127.0.0.256:3000\""),
        web("a weight above 1000", "upstream = [{ address = \"{web}\", weight = 100000 }]"),
        web("a relative path of a Unix socket", "upstream = \"unix:app.sock\""),
        web(
            "TLS of a UDP route",
            "protocol = \"udp\"\nupstream = \"{dns}\"\ntls = { cert = \"app.pem\", key = \"app.key\" }",
        ),
        web(
            "a check that may take longer than its interval",
            "upstream = \"{web}\"\nhealth = { interval = \"1s\", timeout = \"2s\" }",
        ),
        web("a mask of 33 bits", "upstream = \"{web}\"\ndeny = \"10.0.0.0/33\""),
        web("no connection at all", "upstream = \"{web}\"\nmax_connections = 0"),
        web("a rate without a time", "upstream = \"{web}\"\nrate_per_client = \"20\""),
        web(
            "a version of PROXY that does not exist",
            "upstream = \"{web}\"\nproxy_protocol = { send = \"v3\" }",
        ),
        web("an interface as the source address", "upstream = \"{web}\"\nsource = \"eth0\""),
        web(
            "the key of another certificate",
            "upstream = \"{web}\"\ntls = { cert = \"mixed.pem\", key = \"mixed.key\" }",
        ),
        web(
            "a certificate that is not there",
            "upstream = \"{web}\"\ntls = { cert = \"ap.pem\", key = \"app.key\" }",
        ),
        web(
            "certificate and key swapped",
            "upstream = \"{web}\"\ntls = { cert = \"app.key\", key = \"app.pem\" }",
        ),
        web("a list that is not there", "upstream = \"{web}\"\nallow = { file = \"offices.txt\" }"),
        web("an address for a server name", "upstream = \"{app}\"\nsni = \"10.0.0.7\""),
    ];
    cases.extend(together());
    cases
}

/// What two routes cannot have both.
fn together() -> Vec<Case> {
    vec![
        two(
            "two routes at one address",
            &[Web, Web],
            [WEB, WEB],
            [WEB, "listen = \"127.0.0.1:{1}\"\nupstream = \"{web}\""],
        ),
        two("one name for two routes", &[Web, Web], [WEB, WEB], ["name = \"b\"\nupstream = \"{web}\"", WEB]),
        two(
            "two routes for one server name",
            &[Tls("app.test"), Tls("shop.test")],
            [NAMED, "upstream = \"{shop}\"\nsni = \"shop.test\""],
            [NAMED, "listen = \"127.0.0.1:{1}\"\nupstream = \"{shop}\"\nsni = \"app.test\""],
        ),
    ]
}

fn access() -> Vec<Case> {
    let web = |name, lines: &str| one(name, &[Web], WEB, &format!("{WEB}\n{lines}"));
    vec![
        web("a deny of one's own clients", "deny = \"127.0.0.0/8\""),
        web("an allow that leaves out one's own clients", "allow = \"10.0.0.0/8\""),
        web("a mask that is too short", "deny = \"96.0.0.0/3\""),
        web("an allow of IPv6 only", "allow = \"::/0\""),
        web("the list of another site", "allow = { file = \"branch.txt\" }"),
        one(
            "allow and deny swapped",
            &[Web],
            &format!("{WEB}\nallow = {{ file = \"office.txt\" }}"),
            &format!("{WEB}\ndeny = {{ file = \"office.txt\" }}"),
        ),
        defaults("a deny for all", &[Web], "deny = \"all\"", WEB),
    ]
}

fn limits() -> Vec<Case> {
    let web = |name, client, lines: &str| one(name, client, WEB, &format!("{WEB}\n{lines}"));
    let slow = "upstream = \"{slow}\"";
    vec![
        web("a route for one client at a time", &[Stays], "max_connections = 1"),
        one(
            "an upstream for one client at a time",
            &[Stays],
            WEB,
            "upstream = [{ address = \"{web}\", max_connections = 1 }]",
        ),
        web(
            "one connection for each address, behind which there are many",
            &[Stays],
            "max_connections_per_client = 1",
        ),
        web("a rate by the hour", &[Web], "rate_per_client = \"1/h\""),
        one(
            "an end of silence before the server answers",
            &[Web],
            slow,
            &format!("{slow}\nidle_timeout = \"100ms\""),
        ),
        one(
            "an end of half a connection before the server answers",
            &[Half],
            slow,
            &format!("{slow}\nhalf_close_timeout = \"100ms\""),
        ),
    ]
}

fn listeners() -> Vec<Case> {
    let at = |addr: &str| format!("listen = \"{addr}\"\n{WEB}");
    let web = |name, after: &str| one(name, &[Web], WEB, after);
    vec![
        web("another port than that of the clients", &at("127.0.0.1:{2}")),
        web("another address than that of the clients", &at("127.0.0.2:{1}")),
        web("IPv6 where clients have IPv4", &at("[::1]:{1}")),
        web("an address of another host", &at("192.0.2.7:{1}")),
        web("the port of another program", &at("{web}")),
        web("UDP for TCP", "protocol = \"udp\"\nupstream = \"{dns}\""),
        one("TCP for UDP", &[Udp], DNS, WEB),
        two(
            "two addresses are swapped",
            &[Web, Db],
            [WEB, DB],
            [
                "listen = \"127.0.0.1:{2}\"\nupstream = \"{web}\"",
                "listen = \"127.0.0.1:{1}\"\nupstream = \"{db}\"",
            ],
        ),
        one("a Unix socket at another path", &[Unix], &at("unix:{socket}"), &at("unix:{socket}.new")),
    ]
}

fn checks() -> Vec<Case> {
    let quick = "interval = \"100ms\", timeout = \"100ms\"";
    let web = |name, health: &str| {
        one(name, &[Web], WEB, &format!("{WEB}\nhealth = {{ {quick}, {health} }}\nwhen_down = \"refuse\""))
    };
    vec![
        web("a check at a port where nobody listens", "port = {dead port}"),
        web(
            "a check that expects another answer",
            "send = \"GET / HTTP/1.0\\r\\n\\r\\n\", expect = \"200 Okay\"",
        ),
        web("a check in another protocol", "send = \"PING\\r\\n\", expect = \"PONG\""),
        one("a source address of another host", &[Web], WEB, &format!("{WEB}\nsource = \"192.0.2.9\"")),
        one(
            "an interface that is not there",
            &[Web],
            WEB,
            &format!("{WEB}\nsource = {{ interface = \"nosuch0\" }}"),
        ),
    ]
}
