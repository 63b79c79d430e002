//! What blocks of nginx become: upstreams, maps, addresses to listen on, the PROXY header, names.

use portway::config::Program;

use super::import_found::{Found, found};

const KNOWN: [&str; 4] = [
    "[[route]]",
    "listen = \"0.0.0.0:80\"",
    "upstream = \"10.0.0.1:80\"",
    "idle_timeout = \"10m\" # nginx's default",
];

fn nginx(text: &str) -> Found {
    found(Program::Nginx, text)
}

fn listens(all: &[&str], more: &str) -> Found {
    let all: String = all.iter().map(|listen| format!("listen {listen}; ")).collect();
    nginx(&format!("server {{ {all} proxy_pass 10.0.0.1:80; {more} }}"))
}

#[test]
fn addresses_to_listen_on() {
    for (words, keys) in [
        ("80", ""),
        ("*:80", ""),
        ("80 ipv6only=off", ""),
        ("*:80 ipv6only=off", "listen = \"80\""),
        ("[::]:80", "listen = \"[::]:80\""),
        ("[::]:80 ipv6only=on", "listen = \"[::]:80\""),
        ("[::]:80 ipv6only=off", "listen = \"80\""),
        ("80-82", "listen = \"0.0.0.0:80-82\""),
        ("unix:/x", "listen = \"unix:/x\""),
        ("localhost:80", "listen = \"127.0.0.1:80\""),
        ("80 udp reuseport", "protocol = \"udp\""),
        ("80 reuseport bind default_server default deferred so_keepalive=on backlog=3 rcvbuf=1 sndbuf=1", ""),
    ] {
        let found = listens(&[words], "");
        assert_eq!(found.beside(&KNOWN), keys, "{words}");
        found.must_name("", words);
    }
    let found = listens(&["80 so_keepalive=off fastopen=3"], "");
    found.must_name(
        "listen 80 so_keepalive=off fastopen=3 `so_keepalive=off fastopen=3`: a socket has no such setting here",
        "fastopen",
    );
    listens(&["80", "example.com:80"], "").must_name("listen example.com:80 ", "a name");
}

#[test]
fn connections_and_datagrams_are_one_route_where_they_share_all_addresses() {
    for (all, more, keys) in [
        (&["80", "80 udp"][..], "", "protocol = \"tcp+udp\""),
        (&["80", "[::]:80"], "", "listen = \"80\""),
        (&["80", "80 udp"], "proxy_responses 1;", "max_replies = 1; protocol = \"tcp+udp\""),
        (
            &["80", "81 udp"],
            "proxy_responses 1;",
            "[defaults]; listen = \"0.0.0.0:81\"; max_replies = 1; protocol = \"udp\"",
        ),
        (
            &["80", "80 udp"],
            "proxy_protocol on; proxy_protocol_version 2;",
            "[defaults]; proxy_protocol = { send = \"v2\" }; protocol = \"udp\"",
        ),
        (
            &["80", "80 udp"],
            "proxy_protocol on;",
            "[defaults]; protocol = \"udp\"; proxy_protocol = { send = \"v1\" }",
        ),
        (&["80", "80 udp"], "proxy_ssl on;", "[defaults]; protocol = \"udp\"; tls = { upstream = true }"),
        (
            &["80 proxy_protocol", "80 udp"],
            "set_real_ip_from 10.0.0.0/8; proxy_protocol_timeout 3s;",
            "[defaults]; proxy_protocol = { accept = true, trusted = \"10.0.0.0/8\", timeout = \"3s\" }; \
             protocol = \"udp\"",
        ),
    ] {
        assert_eq!(listens(all, more).beside(&KNOWN), keys, "{all:?} {more}");
    }
    let found = listens(&["80", "80 udp"], "proxy_protocol on;");
    found.must_name("server `proxy_protocol`: its version 1 knows no datagrams; send = \"v2\" does", "v1");
}

/// A route has one way to begin for all its addresses: where that differs, there are several.
#[test]
fn what_clients_begin_with_is_the_same_at_all_addresses_of_a_route() {
    let cert = "ssl_certificate a; ssl_certificate_key b; set_real_ip_from 10.0.0.0/8;";
    let tls = "tls = { cert = \"a\", key = \"b\" }";
    let header = "proxy_protocol = { accept = true, trusted = \"10.0.0.0/8\" }";
    let next = "listen = \"0.0.0.0:81\"";
    for (first, second, keys) in [
        ("80", "81 ssl", format!("[defaults]; {next}; {tls}")),
        ("80 ssl", "81", format!("[defaults]; {tls}; {next}")),
        ("80", "81 proxy_protocol", format!("[defaults]; {next}; {header}")),
        ("80 proxy_protocol", "81", format!("[defaults]; {header}; {next}")),
        ("80 ssl", "81 ssl proxy_protocol", format!("[defaults]; {tls}; {next}; {header}")),
        ("80 ssl", "81 ssl", format!("listen = [\"0.0.0.0:80\", \"0.0.0.0:81\"]; {tls}")),
    ] {
        let found = listens(&[first, second], cert);
        assert_eq!(found.beside(&KNOWN), keys, "{first}, {second}");
        found.must_name("", second);
    }
    let found = listens(&["80", "81 ssl"], "");
    found.must_name("listen 81 ssl `ssl` without `ssl_certificate`: write", "listen 80 goes on");
    assert_eq!(found.beside(&KNOWN), format!("[defaults]; {next}; enabled = false"));
}

#[test]
fn the_proxy_header() {
    let of = |words: &str, more: &str| listens(&[words], more);
    for (more, keys) in [
        ("proxy_protocol on;", "proxy_protocol = { send = \"v1\" }"),
        ("proxy_protocol off; proxy_protocol_version 2;", ""),
        ("proxy_protocol on; proxy_protocol_version 2;", "proxy_protocol = { send = \"v2\" }"),
        ("proxy_protocol on; proxy_protocol_version 1;", "proxy_protocol = { send = \"v1\" }"),
        ("proxy_protocol_timeout 3s; set_real_ip_from 10.0.0.1;", ""),
    ] {
        let found = of("80", more);
        assert_eq!(found.beside(&KNOWN), keys, "{more}");
        found.must_name("", more);
    }
    let trusted = "set_real_ip_from 10.0.0.0/8; set_real_ip_from unix:; set_real_ip_from x;";
    let found = of("80 proxy_protocol", &format!("{trusted} proxy_protocol_timeout 3s;"));
    let keys = "proxy_protocol = { accept = true, trusted = [\"10.0.0.0/8\", \"unix:\"], timeout = \"3s\" }";
    assert_eq!(found.beside(&KNOWN), keys);
    found.must_name(
        "set_real_ip_from x names are not looked up for this: write the addresses into `trusted`",
        "x",
    );
    let found = of("80 proxy_protocol", "");
    assert_eq!(
        found.beside(&KNOWN),
        "proxy_protocol = { accept = true, trusted = \"127.0.0.1\" }; enabled = false"
    );
    found.must_name("listen 80 proxy_protocol without `set_real_ip_from` nginx reads the header", "nobody");
    let found = of("80", "proxy_protocol off; set_real_ip_from 10.0.0.1;");
    for fate in ["Same proxy_protocol off", "Same set_real_ip_from 10.0.0.1"] {
        assert!(found.fates.iter().any(|one| one == fate), "{fate}: {:?}", found.fates);
    }
}

/// Two servers of one address, of which the first is the default one.
fn two_servers(first: &str, second: &str) -> Found {
    nginx(&two_texts(first, second))
}

fn two_texts(first: &str, second: &str) -> String {
    let server = |more: &str, to: &str| {
        format!("server {{ listen 80; {more} proxy_half_close on; proxy_pass {to}; }} ")
    };
    server(first, "10.0.0.2:80") + &server(second, "10.0.0.1:80")
}

#[test]
fn server_names() {
    let none = "server names are exact, or all below one (\"*.example.com\"): write them into `sni`";
    let (rest, named_first) = (
        "[defaults]; name = \"default\"; upstream = \"10.0.0.2:80\"",
        "[defaults]; name = \"other.example\"; upstream = \"10.0.0.2:80\"; sni = \"other.example\"",
    );
    let off_a = "name = \"a.example\"; enabled = false; sni = \"a.example\"";
    for (names, first, second, named) in [
        // Whom a pattern means would come to another server of the address.
        ("a.example b.*", named_first, off_a, "server_name a.example b.* "),
        ("~^a ~b a.example _", named_first, off_a, "server_name ~^a ~b a.example _ "),
        (
            ".a.example *.b.example",
            rest,
            "name = \"a.example\"; sni = [\"a.example\", \"*.a.example\", \"*.b.example\"]",
            "",
        ),
        ("b.*", named_first, "name = \"default\"; enabled = false", "server_name b.* "),
        ("~x", named_first, "name = \"default\"; enabled = false", "server_name ~x "),
        // Nobody comes to a second one without a name.
        ("_", "[defaults]; upstream = \"10.0.0.2:80\"", "enabled = false", "server_name _ "),
        ("\"\"", "[defaults]; upstream = \"10.0.0.2:80\"", "enabled = false", "server_name "),
    ] {
        let found = two_servers("server_name other.example;", &format!("server_name {names};"));
        assert_eq!(found.beside(&KNOWN), format!("{first}; {second}"), "{names}");
        found.must_name(&if named.is_empty() { String::new() } else { format!("{named}{none}") }, names);
    }
}

/// The first server of an address, or the one that says so, serves the names that no other one there has.
#[test]
fn the_default_server_serves_the_rest() {
    for names in ["a.example", "*.a.example ~x", "_", "b.*"] {
        let found = listens(&["80", "81"], &format!("server_name {names};"));
        assert_eq!(found.beside(&KNOWN), "listen = [\"0.0.0.0:80\", \"0.0.0.0:81\"]", "{names}");
        assert!(found.fates.contains(&format!("Same server_name {names}")), "{:?}", found.fates);
        found.must_name("", names);
    }
    let first = two_servers("server_name a.example;", "server_name b.example;");
    assert_eq!(
        first.beside(&KNOWN),
        "[defaults]; name = \"default\"; upstream = \"10.0.0.2:80\"; name = \"b.example\"; sni = \"b.example\""
    );
    let second = two_texts("server_name a.example;", "server_name b.example;");
    let second =
        nginx(&second.replace("listen 80; server_name b", "listen 80 default_server; server_name b"));
    assert_eq!(
        second.beside(&KNOWN),
        "[defaults]; name = \"a.example\"; upstream = \"10.0.0.2:80\"; sni = \"a.example\"; name = \"default\""
    );
    // One that would lose a name to another one.
    for (own, other) in [("a.example", "*.example"), ("*.a.example", ".example"), ("a.example", "~x")] {
        let found = two_servers(&format!("server_name {own};"), &format!("server_name {other};"));
        assert!(found.beside(&KNOWN).contains(&format!("sni = \"{own}\"")), "{}", found.beside(&KNOWN));
        found.must_name(
            &format!("server_name {own} nginx serves by this server also the names that no other one has: write a second"),
            other,
        );
    }
    let elsewhere = nginx(
        "server { listen 80; proxy_pass 10.0.0.2:80; } \
         server { listen 80; listen 81; server_name a.example; proxy_half_close on; proxy_pass 10.0.0.1:80; }",
    );
    assert_eq!(
        elsewhere.beside(&KNOWN),
        "[defaults]; name = \"default\"; upstream = \"10.0.0.2:80\"; name = \"a.example\"; sni = \"a.example\"; \
         listen = \"0.0.0.0:81\""
    );
}

/// Without a name a route is called by its address, so that several of one address need one.
#[test]
fn servers_of_one_address_are_told_apart() {
    let server = |name: &str, to: &str| {
        format!("server {{ listen 80; server_name {name}; proxy_half_close on; proxy_pass {to}; }} ")
    };
    let text = server("a.example", "10.0.0.1:80")
        + &server("b.example", "10.0.0.1:80")
        + &server("c.example", "db:1");
    let found = nginx(&text);
    assert_eq!(
        found.beside(&KNOWN),
        "[defaults]; name = \"default\"; name = \"b.example\"; sni = \"b.example\"; name = \"c.example\"; upstream = \"db:1\"; sni = \"c.example\""
    );
    found.must_name("", "all stand beside each other");
    let map = "map $ssl_preread_server_name $u { a.example 10.0.0.1:80; default 10.0.0.2:80; }";
    let found = nginx(&format!("{map} server {{ listen 80; ssl_preread on; proxy_pass $u; }}"));
    assert_eq!(
        found.beside(&KNOWN),
        "[defaults]; sniff_timeout = \"30s\" # nginx's default; name = \"a.example\"; sni = \"a.example\"; \
         name = \"default\"; upstream = \"10.0.0.2:80\""
    );
    found.must_name("", map);
}

fn map(by: &str, lines: &str, more: &str) -> Found {
    nginx(&format!("map {by} $u {{ {lines} }} server {{ listen 80; proxy_pass $u; {more} }}"))
}

#[test]
fn maps_choose_by_a_hello() {
    let by_name = "$ssl_preread_server_name";
    let sniff = "sniff_timeout = \"30s\" # nginx's default";
    let one = map(by_name, "hostnames; a.example 10.0.0.1:80; .b.example 10.0.0.1:80;", "");
    assert_eq!(one.beside(&KNOWN), format!("sni = [\"a.example\", \"b.example\", \"*.b.example\"]; {sniff}"));
    assert_eq!(map(by_name, "default 10.0.0.1:80;", "").beside(&KNOWN), "");
    assert_eq!(
        map("$ssl_server_name", "\\default 10.0.0.1:80;", "").beside(&KNOWN),
        format!("sni = \"default\"; {sniff}")
    );
    let by_alpn = "$ssl_preread_alpn_protocols";
    assert_eq!(
        map(by_alpn, "h2 10.0.0.1:80; .x 10.0.0.1:80;", "preread_timeout 3s;").beside(&KNOWN),
        "sniff_timeout = \"3s\"; alpn = [\"h2\", \".x\"]"
    );
    for (by, line, why) in [
        (by_name, "include x", "other files are not read: write its lines into `sni`"),
        (by_name, "x y z", "a line of a map has a pattern and one value"),
        (by_name, "~x 10.0.0.2:80", "server names are exact, or all below one (\"*.example.com\")"),
        (by_name, "b.* 10.0.0.2:80", "server names are exact, or all below one (\"*.example.com\")"),
        (by_alpn, "~h3 10.0.0.2:80", "protocols are listed by name: alpn = [\"h2\"]"),
    ] {
        map(by, &format!("hostnames; {line}; a 10.0.0.1:80;"), "").must_name(&format!("{line} {why}"), line);
    }
    let found = map(by_name, "hostnames; volatile; a 10.0.0.1:80;", "");
    found.must_name("", "hostnames");
    assert!(found.fates.contains(&"Same hostnames".to_owned()), "{:?}", found.fates);
    let other = "server { listen 81; proxy_pass 10.0.0.1:80; } ";
    let found =
        nginx(&format!("map $x $u {{ a 10.0.0.1:80; }} {other} server {{ listen 80; proxy_pass $u; }}"));
    found.must_name("a 10.0.0.1:80 a line of a map that is not carried over", "a");
    found.must_name("server the route needs an upstream, which cannot be carried over", "server");
    let found =
        nginx(&format!("{other} server {{ listen 80; proxy_pass $u; }}\nserver {{ listen 82; bogus; }}"));
    found.must_name("proxy_pass $u nothing says what `$u` can be: write a route for each upstream", "$u");
    found.must_name("server it passes to nowhere: there is no `proxy_pass`", "no proxy_pass");
    found.must_name("bogus Portway does not know it", "its notes stand above all");
    let found = nginx(&format!("{other}\nserver {{ proxy_pass 10.0.0.1:80; }}"));
    found.must_name("server Portway does not take this route: ", "no listen");
}

#[test]
fn upstreams_and_how_one_is_chosen() {
    let of = |lines: &str| nginx(&format!("upstream u {{ {lines} }} server {{ listen 80; proxy_pass u; }}"));
    for (line, keys, why) in [
        ("least_conn", "; balance = \"least-connections\"", ""),
        ("hash $remote_addr", "; balance = \"source-hash\"", ""),
        ("hash $binary_remote_addr consistent", "; balance = \"source-hash\"", ""),
        ("hash $x", "", "only the client's address is hashed: balance = \"source-hash\""),
        ("random two", "; balance = \"random-two\"", ""),
        ("random two least_conn", "; balance = \"random-two\"", ""),
        ("random", "; balance = \"random-two\"", "\"random-two\" takes the better of two that chance gives"),
        ("random two x", "", "balance = \"least-connections\" or \"random-two\" comes nearest"),
        ("least_time connect", "", "balance = \"least-connections\" comes nearest"),
        ("zone z 1m", "", ""),
        ("server x", "", "`x` has no port"),
    ] {
        let found = of(&format!("server 10.0.0.1:80; {line};"));
        assert_eq!(found.beside(&KNOWN), format!("name = \"u\"{keys}"), "{line}");
        found.must_name(&if why.is_empty() { String::new() } else { format!("{line} {why}") }, line);
    }
    let passive = "an upstream is down after connects that failed, until one succeeds";
    for (word, key, why) in [
        ("weight=1", "", ""),
        ("weight=0", "weight = 0", ""),
        ("weight=1000", "weight = 1000", ""),
        ("weight=1001", "", "weights go from 0 to 1000: divide all of them alike"),
        ("max_conns=0", "", ""),
        ("max_conns=5", "max_connections = 5", ""),
        ("max_conns=x", "", "it is no number"),
        ("backup", "backup = true", ""),
        ("down", "state = \"drain\"", ""),
        ("resolve", "", ""),
        ("max_fails=3", "", passive),
        ("fail_timeout=3", "", passive),
        ("slow_start=3", "", "`slow_start` is a key of the route"),
        ("service=x", "", "SRV records are not looked up: write the addresses"),
        ("bogus", "", "Portway does not know it"),
    ] {
        let found = of(&format!("server 10.0.0.1:80 {word}; server 10.0.0.2:80;"));
        let first = match key {
            "" => "\"10.0.0.1:80\"".to_owned(),
            key => format!("{{ address = \"10.0.0.1:80\", {key} }}"),
        };
        assert_eq!(
            found.beside(&KNOWN),
            format!("name = \"u\"; upstream = [{first}, \"10.0.0.2:80\"]"),
            "{word}"
        );
        let named = format!("server 10.0.0.1:80 {word} {why}");
        found.must_name(if why.is_empty() { "" } else { &named }, word);
    }
    assert_eq!(of("server unix:/x.sock:;").beside(&KNOWN), "name = \"u\"; upstream = \"unix:/x.sock\"");
}

#[test]
fn one_access_log_is_that_of_all() {
    let of = |outside: &str, inside: &str| {
        nginx(&format!("{outside} server {{ listen 80; proxy_pass 10.0.0.1:80; {inside} }}"))
    };
    for (outside, inside, access) in [
        ("", "", ""),
        ("access_log off;", "", "[log]; access = \"off\""),
        ("access_log /dev/stdout main;", "access_log /dev/stdout;", "[log]; access = \"stdout\""),
        ("", "access_log /dev/stderr;", "[log]; access = \"stderr\""),
        ("access_log /a.log;", "", "[log]; access = \"/a.log\""),
    ] {
        let found = of(outside, inside);
        assert_eq!(found.beside(&KNOWN), access, "{outside} {inside}");
        found.must_name("", outside);
    }
    for (outside, inside, said) in [
        ("access_log /a.log;", "access_log /b.log;", "access_log /b.log"),
        ("access_log /a/$x.log;", "", "access_log /a/$x.log"),
        ("access_log syslog:x;", "", "access_log syslog:x"),
    ] {
        let found = of(outside, inside);
        assert_eq!(found.beside(&KNOWN), "", "{said}");
        found.must_name(&format!("{said} there is one access log for all routes"), said);
    }
    // In other blocks the word is another.
    let found = of("upstream u { server 10.0.0.1:80; access_log /b.log; } access_log /a.log;", "");
    assert_eq!(found.beside(&KNOWN), "[log]; access = \"/a.log\"");
}
