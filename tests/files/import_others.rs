//! What statements of realm, rinetd and Compose become.

use portway::config::Program;

use super::import_found::{Found, found};

const KNOWN: [&str; 3] = ["[[route]]", "listen = \"0.0.0.0:80\"", "upstream = \"10.0.0.1:80\""];

/// An endpoint of realm with these keys, below others.
fn realm(above: &str, keys: &str) -> Found {
    let endpoint = "[[endpoints]]\nlisten = \"0.0.0.0:80\"\nremote = \"10.0.0.1:80\"\n";
    found(Program::Realm, &format!("{above}\n{endpoint}{keys}\n"))
}

#[test]
fn the_network_of_realm() {
    let none = |said: &str| format!("{said} it has no counterpart here");
    let trusted = "trusted = [\"0.0.0.0/0\", \"::/0\"], accept = true";
    for (lines, keys, named) in [
        ("use_udp = true", "protocol = \"tcp+udp\"", ""),
        ("no_tcp = true\nuse_udp = true", "protocol = \"udp\"; idle_timeout = \"30s\" # realm's default", ""),
        ("no_tcp = false\nuse_udp = false", "", ""),
        ("tcp_timeout = 5", "connect_timeout = \"5s\"", ""),
        ("tcp_timeout = 1", "connect_timeout = \"1s\"", ""),
        ("tcp_timeout = 0", "", &none("tcp_timeout = 0")),
        ("tcp_keepalive = 30", "keepalive = \"30s\"", ""),
        ("tcp_keepalive = 0", "keepalive = \"off\"", ""),
        ("tcp_keepalive = \"x\"", "", &none("tcp_keepalive = x")),
        ("udp_timeout = 20", "", ""),
        ("udp_timeout = 20\nuse_udp = true\nno_tcp = true", "protocol = \"udp\"; idle_timeout = \"20s\"", ""),
        (
            "udp_timeout = 20\nuse_udp = true",
            "protocol = \"tcp+udp\"",
            "udp_timeout = 20 `idle_timeout` of a route of both protocols holds for connections, too",
        ),
        ("send_proxy = true", "proxy_protocol = { send = \"v2\" }", ""),
        ("send_proxy = true\nsend_proxy_version = 2", "proxy_protocol = { send = \"v2\" }", ""),
        ("send_proxy = true\nsend_proxy_version = 1", "proxy_protocol = { send = \"v1\" }", ""),
        ("send_proxy = false\nsend_proxy_version = 1", "", ""),
        ("accept_proxy = true", &format!("proxy_protocol = {{ {trusted} }}"), ""),
        (
            "accept_proxy = true\naccept_proxy_timeout = 3",
            &format!("proxy_protocol = {{ {trusted}, timeout = \"3s\" }}"),
            "",
        ),
        ("accept_proxy = true\naccept_proxy_timeout = 0", &format!("proxy_protocol = {{ {trusted} }}"), ""),
        ("accept_proxy = false\naccept_proxy_timeout = 3", "", ""),
        ("tcp_keepalive_probe = 3\nzero_copy = true\nfast_open = true", "", ""),
        ("send_mptcp = false\naccept_mptcp = false\nipv6_only = true", "", ""),
        ("send_mptcp = true", "", &none("send_mptcp = true")),
        ("accept_mptcp = true", "", &none("accept_mptcp = true")),
        ("bogus = 1", "", &none("bogus = 1")),
        (
            "use_udp = true\nno_tcp = true\naccept_proxy = true\naccept_proxy_timeout = 3",
            "protocol = \"udp\"; idle_timeout = \"30s\" # realm's default",
            "",
        ),
    ] {
        let found = realm(&format!("[network]\n{lines}"), "");
        assert_eq!(found.beside(&KNOWN), keys, "{lines}");
        found.must_name(named, lines);
    }
    let fates =
        realm("[network]\nno_tcp = false\nuse_udp = true\nipv6_only = true\nzero_copy = true", "").fates;
    let expected =
        ["Same no_tcp = false", "Carried use_udp = true", "Same ipv6_only = true", "Same zero_copy = true"];
    assert_eq!(fates[..4], expected);
    let own = realm("[network]\ntcp_timeout = 5\ntcp_keepalive = 7", "network = { tcp_timeout = 3 }");
    assert_eq!(own.beside(&KNOWN), "keepalive = \"7s\"; connect_timeout = \"3s\"");
}

/// Keys of an endpoint, those of the route that come of them, and what is not carried over.
fn keys_become(cases: &[(&str, &str, &str)]) {
    for (lines, keys, named) in cases {
        let found = realm("", lines);
        assert_eq!(found.beside(&KNOWN), *keys, "{lines}");
        found.must_name(named, lines);
    }
}

#[test]
fn the_remotes_of_an_endpoint() {
    let more = "extra_remotes = [\"10.0.0.2:80\", \"10.0.0.3:80\"]";
    let rest = "\"10.0.0.2:80\", \"10.0.0.3:80\"";
    let all = format!("upstream = [\"10.0.0.1:80\", {rest}]");
    let none = "extra_remotes = [10.0.0.2:80, 10.0.0.3:80] without `balance` realm uses none of them";
    let balance = |said: &str| format!("{more}\nbalance = \"{said}\"");
    keys_become(&[
        (more, "", none),
        (&balance("off"), "", none),
        (&balance("roundrobin"), &all, ""),
        (
            &balance("roundrobin: 4, 1, x"),
            &format!("upstream = [{{ address = \"10.0.0.1:80\", weight = 4 }}, {rest}]"),
            "",
        ),
        (&balance("iphash"), &format!("{all}; balance = \"source-hash\""), ""),
        (&balance("x"), &all, "balance = x connections are shared by \"round-robin\" or \"source-hash\""),
    ]);
}

#[test]
fn where_an_endpoint_sends_from_and_listens() {
    let both = "source = { address = \"10.0.0.9\", interface = \"eth0\" }";
    let turned = "source = { interface = \"eth0\", address = \"10.0.0.9\" }";
    let write = "listen_interface = eth0 a socket listens on addresses: write those of eth0";
    keys_become(&[
        ("through = \"10.0.0.9\"", "source = \"10.0.0.9\"", ""),
        ("through = \"10.0.0.9:0\"", "source = \"10.0.0.9\"", ""),
        ("through = \"x\"", "", "through = x it is no address of this host"),
        ("interface = \"eth0\"", "source = { interface = \"eth0\" }", ""),
        ("through = \"10.0.0.9\"\ninterface = \"eth0\"", both, ""),
        ("interface = \"eth0\"\nthrough = \"10.0.0.9\"", turned, ""),
        ("listen_interface = \"eth0\"", "enabled = false", write),
        ("bogus = 1", "", "bogus = 1 Portway does not know it"),
    ]);
}

#[test]
fn the_transports_of_an_endpoint() {
    let verified = "the upstream's certificate is always verified";
    let named = "tls = { upstream = { server_name = \"x.example\" } }";
    let own = "tls = { cert = \"a.pem\", key = \"b.key\" }";
    let made = "listen_transport = tls;cert=a.pem a certificate is not made here";
    let any = format!("remote_transport = tls; insecure {verified}");
    keys_become(&[
        ("listen_transport = \"tls;cert=a.pem; key=b.key\"", own, ""),
        ("listen_transport = \"tls;cert=a.pem\"", "enabled = false", made),
        ("listen_transport = \"x;cert=a.pem;key=b.key\"", "", ""),
        ("remote_transport = \"tls\"", "tls = { upstream = true }", ""),
        ("remote_transport = \"tls; sni=x.example\"", named, ""),
        ("remote_transport = \"tls; insecure\"", "tls = { upstream = true }", &any),
        ("remote_transport = \"insecure\"", "", ""),
    ]);
}

#[test]
fn endpoints_that_stay_with_realm_and_what_stands_beside_them() {
    let other = |keys: &str| {
        realm(&format!("[[endpoints]]\nlisten = \"0.0.0.0:81\"\nremote = \"10.0.0.1:81\"\n{keys}"), "")
    };
    for (keys, named) in [
        ("listen_transport = \"ws;path=/x\"", "listen_transport = ws;path=/x WebSocket is not spoken here"),
        ("remote_transport = \"tls; ws\"", "remote_transport = tls; ws WebSocket is not spoken here"),
        ("network = { no_tcp = true }", "[[endpoints]] it forwards neither connections nor datagrams"),
    ] {
        let found = other(keys);
        assert_eq!(found.beside(&KNOWN), "", "{keys}");
        found.must_name(named, keys);
    }
    for (above, keys, named) in [
        ("log = { level = \"WARN\", output = \"x\" }", "[log]; level = \"warn\"", ""),
        ("log = { level = \"bogus\" }", "", ""),
        ("bogus = [1, { a = true }]", "", "bogus = [1, {a: true}] Portway does not know it"),
        ("x = 1.5", "", "x = 1.5 Portway does not know it"),
        ("x = 1979-05-27", "", "x = 1979-05-27 Portway does not know it"),
        ("dns = { mode = \"a\" }", "", "mode = a names are looked up as this system does it"),
    ] {
        let found = realm(above, "");
        assert_eq!(found.beside(&KNOWN), keys, "{above}");
        found.must_name(named, above);
    }
    assert_eq!(realm("log = { level = \"bogus\" }", "").fates[0], "Apart level = bogus");
    for level in ["off", "error", "warn", "info", "debug", "trace"] {
        assert_eq!(
            realm(&format!("log.level = \"{level}\""), "").beside(&KNOWN),
            format!("[log]; level = \"{level}\"")
        );
    }
    for (ipv6_only, listen) in [("true", "[::]:80"), ("false", "80")] {
        let network = format!("[network]\nipv6_only = {ipv6_only}\n");
        let text = format!("{network}[[endpoints]]\nlisten = \"[::]:80\"\nremote = \"10.0.0.1:80\"\n");
        let keys = found(Program::Realm, &text).beside(&KNOWN);
        assert_eq!(keys, format!("listen = \"{listen}\""));
    }
}

fn rinetd(lines: &[&str]) -> Found {
    found(Program::Rinetd, &format!("{}\n", lines.join("\n")))
}

const TCP: &str = "0.0.0.0 80 10.0.0.1 80";
const UDP: &str = "0.0.0.0 80/udp 10.0.0.1 80/udp";

#[test]
fn options_of_rinetd() {
    let udp = |idle: &str| format!("protocol = \"udp\"; idle_timeout = {idle}");
    let default = udp("\"1m 12s\" # rinetd's default");
    let dead = "`keepalive`: dead peers are looked for always";
    for (line, options, keys, why) in [
        (TCP, "[src=10.0.0.9]", "source = \"10.0.0.9\"", ""),
        (TCP, "[src=x]", "", "`src=x`: Portway does not know it"),
        (TCP, "[timeout=60]", "idle_timeout = \"1m\"", ""),
        (TCP, "[timeout=x]", "", "`timeout=x` is no number of seconds"),
        (TCP, "[keepalive=on]", "", ""),
        (TCP, "[keepalive=off]", "", dead),
        (TCP, "[keepalive=on,timeout=60]", "idle_timeout = \"1m\"", ""),
        (TCP, "[,]", "", ""),
        (TCP, "[bogus]", "", "`bogus`: Portway does not know it"),
        (TCP, "src=10.0.0.9 timeout=5", "source = \"10.0.0.9\"; idle_timeout = \"5s\"", ""),
        (UDP, "", &default, ""),
        (UDP, "[keepalive=on]", &default, ""),
        (UDP, "[keepalive=off]", &default, ""),
        (UDP, "[timeout=60]", &udp("\"1m\""), ""),
        (UDP, "[timeout=x]", &default, "`timeout=x` is no number of seconds"),
    ] {
        let said = format!("{line} {options}");
        let found = rinetd(&[&said]);
        assert_eq!(found.beside(&KNOWN), keys, "{said}");
        found.must_name(&if why.is_empty() { String::new() } else { format!("{said} {why}") }, &said);
    }
    for (line, why) in [
        ("0.0.0.0 80/udp 10.0.0.1 80", "rinetd goes from one protocol to the other here"),
        ("0.0.0.0 80/sctp 10.0.0.1 80", "`sctp` is neither tcp nor udp"),
        ("0.0.0.0 bogus 10.0.0.1 80", "`bogus` is a name of /etc/services: write its number"),
    ] {
        rinetd(&[TCP, line]).must_name(&format!("{line} {why}"), line);
    }
    assert_eq!(rinetd(&["0.0.0.0 http/tcp 10.0.0.1 https"]).beside(&KNOWN), "upstream = \"10.0.0.1:443\"");
}

#[test]
fn lists_of_rinetd_hold_for_all_or_for_the_line_above() {
    let (tens, office) = ("allow 10.*", "allow 10.1.*");
    let nobody = "deny = [\"0.0.0.0/0\", \"::/0\"]";
    for (lines, keys) in [
        (&[tens, TCP][..], "allow = \"10.0.0.0/8\""),
        (&[TCP, tens], "allow = \"10.0.0.0/8\""),
        (&["deny 10.*", TCP, "deny 192.0.2.7"], "deny = [\"10.0.0.0/8\", \"192.0.2.7\"]"),
        (&[tens, TCP, office], "allow = \"10.1.0.0/16\""),
        (&[office, TCP, tens], "allow = \"10.1.0.0/16\""),
        (&["allow 10.0.0.1", TCP, "allow 10.0.0.1"], "allow = \"10.0.0.1\""),
        (&["allow 10.0.0.?", TCP, "allow 10.0.0.1?", "allow 10.0.0.7"], "allow = \"10.0.0.7\""),
        (&[tens, TCP, "allow 192.168.*"], nobody),
        (&[tens, TCP, "allow 2001:db8::/32"], nobody),
        (&["allow ::/0", TCP, tens], nobody),
        (&["allow *", TCP], ""),
        (&["allow *", TCP, tens], "allow = \"10.0.0.0/8\""),
        (&["allow ::/0", TCP], "allow = \"::/0\""),
    ] {
        let found = rinetd(lines);
        assert_eq!(found.beside(&KNOWN), keys, "{lines:?}");
        found.must_name("", "lists");
    }
    let lost = "allow 1.2.?.4 write the networks that it means: \"10.0.0.0/8\", or a range";
    for lines in [["allow 1.2.?.4", TCP], [TCP, "allow 1.2.?.4"]] {
        let found = rinetd(&lines);
        assert_eq!(found.beside(&KNOWN), "enabled = false", "{lines:?}");
        found.must_name(lost, lost);
    }
    // What belongs to a line that is not carried over is not of the next one.
    let found = rinetd(&["0.0.0.0 80/sctp 10.0.0.1 80", "allow 10.*", "deny x", TCP]);
    assert_eq!(found.beside(&KNOWN), "");
    found.must_name(
        "allow 10.* line 3, not carried over: deny x it belongs to the line above",
        "of the line above",
    );
}

#[test]
fn what_else_a_file_of_rinetd_has() {
    for (line, keys, fate) in [
        ("logfile /x", "[log]; access = \"/x\"", "Carried"),
        ("logcommon", "", "Named"),
        ("pidlogfile /x", "", "Apart"),
        ("pidlogfile", "", "Apart"),
    ] {
        let found = rinetd(&[line, TCP]);
        assert_eq!(found.beside(&KNOWN), keys, "{line}");
        assert_eq!(found.fates[0], format!("{fate} {line}"));
    }
}

fn compose(ports: &str, more: &str) -> Found {
    found(Program::Compose, &format!("services:\n  web:\n    ports: {ports}\n{more}"))
}

#[test]
fn ports_of_compose() {
    let known = ["[[route]]", "name = \"web\"", "listen = \"80\"", "upstream = \"web:80\""];
    for (ports, keys) in [
        ("[\"80:80\"]", ""),
        ("[\"80:80/tcp\"]", ""),
        ("[\"80:80/udp\"]", "protocol = \"udp\""),
        ("[\"80:80\", \"80:80/udp\"]", "protocol = \"tcp+udp\""),
        ("[\"80:80/udp\", \"80:80\"]", "protocol = \"tcp+udp\""),
        ("[\"127.0.0.1:80:80\"]", "listen = \"127.0.0.1:80\""),
        ("[\"[::1]:80:80\"]", "listen = \"[::1]:80\""),
        ("[\"80-82:90-92\"]", "listen = \"80-82\"; upstream = \"web:90-92\""),
        ("[{target: 80, published: 80}]", ""),
        (
            "[{target: 80, published: \"80\", protocol: udp, host_ip: 127.0.0.1, mode: host}]",
            "listen = \"127.0.0.1:80\"; protocol = \"udp\"",
        ),
        ("[\"80:80\", \"81:80\"]", "name = \"web-80\"; name = \"web-81\"; listen = \"81\""),
        (
            "[\"80:80\", \"80:81/udp\", \"127.0.0.1:82:80\"]",
            "name = \"web-80\"; name = \"web-80-udp\"; upstream = \"web:81\"; protocol = \"udp\"; \
             name = \"web-82\"; listen = \"127.0.0.1:82\"",
        ),
    ] {
        let found = compose(ports, "");
        assert_eq!(found.beside(&known), keys, "{ports}");
        found.must_name("", ports);
    }
    let free = "Docker takes a free port of the host; a route has one that is written: listen = \"8080\"";
    for (port, shown, why) in [
        ("\"80\"", "80", free),
        ("{target: 80}", "{target: 80}", free),
        ("{target: 80, published: 0}", "{target: 80, published: 0}", free),
        ("{target: 80, published: 80-82}", "{target: 80, published: 80-82}", free),
        ("\"${P}:80\"", "${P}:80", "the file has no variables: write the value"),
        ("\"53:53/sctp\"", "53:53/sctp", "`sctp` is neither tcp nor udp"),
        ("\"x:80\"", "x:80", "`x` "),
        (
            "\"${P:-9}${Q-0}:80\"",
            "${P:-9}${Q-0}:80",
            "the file has no variables: `9` is what P is without a value, `0` is what Q is without a value",
        ),
    ] {
        compose(&format!("[\"80:80\", {port}]"), "").must_name(&format!("web: {shown} {why}"), port);
    }
}

#[test]
fn services_of_compose() {
    for (more, fate) in [
        ("    network_mode: host\n", "Named network_mode: host"),
        ("    extends: x\n", "Named extends: x"),
        ("    expose: [\"81\"]\n", "Same expose: [81]"),
        ("    expose:\n      - 81\n", "Same expose: [81]"),
    ] {
        let fates = compose("[\"80:80\"]", more).fates;
        assert!(fates.iter().any(|one| one == fate), "{fate}: {fates:?}");
    }
    let fates = compose("[\"80:80\"]", "    network_mode: bridge\n    image: x\n").fates;
    assert_eq!(fates, ["Carried web: 80:80"]);
    let text = "include: [x]\nservices:\n  web:\n    ports: [\"80:80\"]\n";
    found(Program::Compose, text).must_name("include other files are not read: import them, too", "include");
}
