//! What statements of HAProxy become: servers, checks, times, addresses, sections.

use portway::config::Program;

use super::import_found::{Found, found};

/// What every route here has.
const KNOWN: [&str; 4] =
    ["[[route]]", "name = \"web\"", "listen = \"0.0.0.0:80\"", "upstream = \"10.0.0.1:80\""];

fn haproxy(text: &str) -> Found {
    found(Program::Haproxy, text)
}

/// A `listen` with these words behind its server, and these lines below it.
fn listen(words: &str, lines: &str) -> Found {
    let lines: String = lines.lines().map(|line| format!("  {line}\n")).collect();
    haproxy(&format!("listen web\n  bind :80\n  server a 10.0.0.1:80 {words}\n{lines}"))
}

/// Lines of a `listen`, the keys that come of them, and what is not carried over: a statement with its reason.
fn lines_become(server: &str, cases: &[(&str, &str, &str)]) {
    for (lines, keys, named) in cases {
        let found = listen(server, lines);
        assert_eq!(found.beside(&KNOWN), *keys, "{lines}");
        found.must_name(named, lines);
    }
}

#[test]
fn how_connections_are_shared() {
    let other = |said: &str| {
        format!(
            "balance {said} connections are shared by \"round-robin\", \"least-connections\", \"random-two\", \
             \"source-hash\" or \"first\""
        )
    };
    let only = "an upstream is found again by the client's address only: balance = \"source-hash\"";
    lines_become(
        "",
        &[
            ("balance roundrobin", "", ""),
            ("balance static-rr", "", ""),
            ("balance leastconn", "balance = \"least-connections\"", ""),
            ("balance source", "balance = \"source-hash\"", ""),
            ("balance hash src", "balance = \"source-hash\"", ""),
            ("balance first", "balance = \"first\"", ""),
            ("balance random", "balance = \"random-two\"", ""),
            ("balance random(2)", "balance = \"random-two\"", ""),
            ("balance random(3)", "", &other("random(3)")),
            ("balance hash sni", "", &other("hash sni")),
            ("balance first\nbalance leastconn", "balance = \"least-connections\"", ""),
            ("stick-table type ip size 1m\nstick on src", "balance = \"source-hash\"", ""),
            ("stick on dst", "", &format!("stick on dst {only}")),
        ],
    );
    let found = listen("", "balance first\nbalance roundrobin\nstick-table type ip\nstick match src");
    for fate in ["Same balance first", "Same balance roundrobin", "Same stick-table type ip"] {
        assert!(found.fates.iter().any(|one| one == fate), "{fate}: {:?}", found.fates);
    }
    assert!(found.comments.contains("finds the upstream by the client's address; it keeps no table."));
}

#[test]
fn the_shorter_time_of_both_sides_holds_and_that_of_tunnels_before_both() {
    let wrong = |said: &str| format!("{said} it is no duration of at most 365 days");
    lines_become(
        "",
        &[
            ("timeout client 1m", "idle_timeout = \"1m\"", ""),
            ("timeout server 1m", "idle_timeout = \"1m\"", ""),
            ("timeout client 2m\ntimeout server 1m", "idle_timeout = \"1m\"", ""),
            ("timeout client 1m\ntimeout server 2m", "idle_timeout = \"1m\"", ""),
            ("timeout client 1m\ntimeout server 0", "idle_timeout = \"1m\"", ""),
            ("timeout client 0\ntimeout server 1m", "idle_timeout = \"1m\"", ""),
            ("timeout client 0\ntimeout server 0", "", ""),
            ("timeout client 1m\ntimeout tunnel 1h", "idle_timeout = \"1h\"", ""),
            ("timeout tunnel 0\ntimeout client 1m", "", ""),
            ("timeout client 1m\ntimeout client 2m", "idle_timeout = \"2m\"", ""),
            ("timeout client x", "", &wrong("timeout client x")),
            ("timeout tunnel 366d", "", &wrong("timeout tunnel 366d")),
            ("timeout server 8759h", "idle_timeout = \"11months 30days 2h 50m 24s\"", ""),
            ("timeout client-fin 5s", "half_close_timeout = \"5s\"", ""),
            ("timeout client-fin 5s\ntimeout server-fin 7s", "half_close_timeout = \"7s\"", ""),
            ("timeout server-fin 5s\ntimeout client-fin 7s", "half_close_timeout = \"7s\"", ""),
            ("timeout client-fin 0", "", ""),
            ("timeout server-fin x", "", &wrong("timeout server-fin x")),
            ("timeout connect 3s", "connect_timeout = \"3s\"", ""),
            ("timeout connect 0", "", "timeout connect 0 its value has no counterpart here"),
        ],
    );
}

#[test]
fn what_a_proxy_says_of_itself() {
    let unknown = "Portway does not know it: look whether the route needs it";
    let none = |said: &str| format!("source {said} its value has no counterpart here");
    lines_become(
        "",
        &[
            ("maxconn 5", "max_connections = 5; when_full = \"wait\"", ""),
            ("maxconn 0", "", "maxconn 0 it is no number"),
            ("disabled", "enabled = false", ""),
            ("enabled\noption redispatch\noption tcplog\nlog global", "", ""),
            ("source 10.0.0.9", "source = \"10.0.0.9\"", ""),
            ("source :: interface eth0", "source = { interface = \"eth0\" }", ""),
            ("source * usesrc client", "source = \"client\"", ""),
            ("source 10.0.0.9 interface eth0", "", &none("10.0.0.9 interface eth0")),
            ("source 10.0.0.9 usesrc client", "", &none("10.0.0.9 usesrc client")),
            ("source * usesrc hdr_ip(x)", "", &none("* usesrc hdr_ip(x)")),
            ("source * mark client", "", &none("* mark client")),
            (
                "stats enable",
                "",
                "stats enable `portway status`, `portway top` and the admin endpoint show it",
            ),
            ("no option tcplog", "", &format!("no option tcplog {unknown}")),
            ("bogus", "", &format!("bogus {unknown}")),
        ],
    );
    let found = listen("", "description a b\nlog global\noption redispatch");
    assert!(found.comments.contains("listen web a b"), "{}", found.comments);
    let fates = ["Carried description a b", "Apart log global", "Same option redispatch"];
    assert_eq!(found.fates.last_chunk(), Some(&fates.map(str::to_owned)));
}

/// Words of a server, what becomes of it, and the reason of what is not carried over.
#[test]
fn the_words_of_a_server() {
    let at = |keys: &str| format!("upstream = {{ address = \"10.0.0.1:80\", {keys} }}");
    for (words, keys, why) in [
        ("check", "health = { interval = \"2s\" }", ""),
        ("inter 1s", "", ""),
        ("check inter 1s fall 3 port 81", "health = { interval = \"1s\", fall = 3, port = 81 }", ""),
        ("check fall 0", "health = { interval = \"2s\" }", "`fall 0`: its value has no counterpart here"),
        ("maxconn 7", &at("max_connections = 7"), ""),
        ("maxconn 0", "", ""),
        ("maxconn x", "", "`maxconn x`: it is no number"),
        ("weight 2", &at("weight = 2"), ""),
        ("weight 1", "", ""),
        ("weight", "", "`weight`: it is no number from 0 to 256"),
        ("send-proxy", "proxy_protocol = { send = \"v1\" }", ""),
        ("send-proxy-v2", "proxy_protocol = { send = \"v2\" }", ""),
        ("send-proxy-v2-ssl", "proxy_protocol = { send = \"v2\" }", ""),
        ("slowstart 10s", "slow_start = \"10s\"", ""),
        ("source eth0", "", "`source eth0`: it is no address of this host"),
        ("source 0.0.0.0 usesrc clientip", &at("source = \"client\""), ""),
        ("source 0.0.0.0 usesrc client", &at("source = \"client\""), ""),
        ("usesrc hdr", "", "`usesrc hdr`: it has no counterpart here"),
        ("on-marked-down shutdown-sessions", "on_down = \"cut\"", ""),
        ("on-marked-down x", "", "`on-marked-down x`: it has no counterpart here"),
        ("observe layer4 on-error mark-down", "", ""),
        ("observe layer7", "", "`observe layer7`: only connects are observed"),
        ("ca-file ca.pem crt me.pem sni str(x)", "", ""),
        ("ssl", "tls = { upstream = true }", ""),
        ("ssl ca-file @system-ca", "tls = { upstream = true }", ""),
        ("ssl ca-file ca.pem", "tls = { upstream = { ca = \"ca.pem\" } }", ""),
        ("ssl crt me.pem", "tls = { upstream = { cert = \"me.pem\", key = \"me.pem\" } }", ""),
        ("ssl sni str(db.internal)", "tls = { upstream = { server_name = \"db.internal\" } }", ""),
        ("ssl verifyhost db.internal", "tls = { upstream = { server_name = \"db.internal\" } }", ""),
        (
            "ssl sni req.ssl_sni",
            "tls = { upstream = true }",
            "`sni req.ssl_sni`: the upstream is asked for one",
        ),
        ("agent-addr 10.0.0.9 id 3", "", ""),
        ("addr 10.0.0.9 bogus", "", "`addr 10.0.0.9`: checks go to the upstream's address"),
        ("bogus", "", "`bogus`: Portway does not know it"),
    ] {
        let found = listen(words, "");
        assert_eq!(found.beside(&KNOWN), keys, "{words}");
        let named =
            if why.is_empty() { String::new() } else { format!("server a 10.0.0.1:80 {words} {why}") };
        found.must_name(&named, words);
    }
}

#[test]
fn several_servers_ask_the_same_of_their_route() {
    let both = |words: &str, more: &str| {
        let line = format!("server b 10.0.0.2:80 {more}");
        let why = "its `health` is not that of the others: a route has one for all its upstreams";
        (listen(words, &line), format!("{} {why}", line.trim()))
    };
    let health = "; health = { interval = \"3s\" }";
    for (words, more, keys, differs) in [
        ("", "", "", false),
        ("check inter 3s", "check inter 3s", health, false),
        ("check inter 3s", "check inter 4s", health, true),
        ("check inter 3s", "", health, true),
        ("", "check inter 3s", "", true),
    ] {
        let (found, named) = both(words, more);
        let said = format!("{words} beside {more}");
        assert_eq!(
            found.beside(&KNOWN),
            format!("upstream = [; \"10.0.0.1:80\", # a; \"10.0.0.2:80\", # b; ]{keys}"),
            "{said}"
        );
        found.must_name(if differs { &named } else { "" }, &said);
    }
}

#[test]
fn what_servers_say_by_default() {
    let backup = "server b 10.0.0.2:80 weight 3 backup\n";
    for (default, words, keys) in [
        ("weight 5 inter 3s", "", "weight = 5"),
        ("weight 5 maxconn 3", "weight 1", "max_connections = 3"),
        ("weight 5 maxconn 3", "maxconn 0", "weight = 5"),
    ] {
        let found = haproxy(&format!(
            "listen web\n bind :80\n default-server {default}\n server a 10.0.0.1:80 {words}\n {backup}"
        ));
        assert!(
            found.beside(&[]).contains(&format!("{{ address = \"10.0.0.1:80\", {keys} }}, # a;")),
            "{keys}"
        );
        found.must_name("", words);
    }
    // It is about the servers behind it.
    let found = listen("", &format!("default-server maxconn 5\n{backup}"));
    assert!(found.beside(&[]).contains("\"10.0.0.1:80\", # a;"), "{}", found.beside(&[]));
    assert!(found.beside(&[]).contains("weight = 3"), "{}", found.beside(&[]));
    let found = listen("", "default-server inter 3s bogus");
    found.must_name("default-server inter 3s bogus `bogus`: Portway does not know it", "default-server");
}

#[test]
fn a_certificate_that_was_not_verified_is_pointed_out() {
    let why = "HAProxy did not verify the upstream's certificate; this route does. If it is not for the name of \
               `upstream`, or of an authority of your own: tls = { upstream = { ca = \"ca.pem\", server_name = ";
    let is_said = |text: &str| {
        let found = haproxy(text);
        let named = found.fates.iter().any(|fate| fate.starts_with("Named server"));
        assert_eq!(found.comments.contains(why), named, "{text}\n{}", found.comments);
        named
    };
    let global = "global\n ssl-server-verify none\n";
    for (before, words, lines, says) in [
        ("", "ssl", "", false),
        ("", "ssl verify required", "", false),
        ("", "ssl verify none", "", true),
        ("", "verify none", "", false),
        ("", "ssl verify none", "default-server verify required", true),
        ("", "ssl", "default-server verify none", true),
        ("", "ssl verify required", "default-server verify none", false),
        ("", "ssl", "server b 10.0.0.2:80 ssl verify none", true),
        ("", "ssl verify none", "server required 10.0.0.2:80 ssl", true),
        (global, "ssl", "", true),
        (global, "ssl verify required", "", false),
        (global, "", "", false),
        ("global\n ssl-server-verify required\n", "ssl", "", false),
    ] {
        let text = format!("{before}listen web\n bind :80\n {lines}\n server a 10.0.0.1:80 {words}\n");
        assert_eq!(is_said(&text), says, "{text}");
    }
    let template = "listen web\n bind :80\n server-template b 3 db.internal:5432 ssl";
    assert!(!is_said(&format!("{template}\n")) && is_said(&format!("{template} verify none\n")));
    let found = haproxy("listen web\n bind :80\n server a 10.0.0.1:80 ssl verify none\n");
    found.must_name(&format!("server a 10.0.0.1:80 ssl verify none {why}"), "its line");
}

#[test]
fn servers_by_the_name_of_a_template_or_a_dispatch() {
    let of = |server: &str| haproxy(&format!("listen web\n bind :80\n {server}\n")).beside(&KNOWN[..3]);
    let template = "server-template b 3 db.internal:5432 check";
    assert_eq!(of(template), "upstream = \"db.internal:5432\"; health = { interval = \"2s\" }");
    assert_eq!(
        of(&format!("server a 10.0.0.1:80 check\n {template}")),
        "upstream = [; \"10.0.0.1:80\",; \"db.internal:5432\", # b, each address of the name; ]; \
         health = { interval = \"2s\" }"
    );
    assert_eq!(of("dispatch 10.0.0.7:9"), "upstream = \"10.0.0.7:9\"");
    let found = haproxy("listen web\n bind :80\n dispatch x\n server a 10.0.0.1:80\n");
    found.must_name("dispatch x its port is that of each `bind`: write a route for each", "dispatch");
}

#[test]
fn a_port_is_that_of_the_only_bind() {
    for (bind, server, keys) in [
        (":80", "[2001:db8::1]", "upstream = \"[2001:db8::1]:80\""),
        (":80", "10.0.0.1:-79", "upstream = \"10.0.0.1:1\""),
        (":80", "10.0.0.1:+65455", "upstream = \"10.0.0.1:65535\""),
        (":80-82", "10.0.0.1:+1000", "listen = \"0.0.0.0:80-82\"; upstream = \"10.0.0.1:1080-1082\""),
        (":80", "tcp4@10.0.0.2:5", "upstream = \"10.0.0.2:5\""),
        (":80", "/run/x", "upstream = \"unix:/run/x\""),
    ] {
        let found = haproxy(&format!("listen web\n bind {bind}\n server a {server}\n"));
        assert_eq!(found.beside(&KNOWN), keys, "{server}");
    }
    for (binds, server, why) in [
        (":80\n bind :81", "10.0.0.9", "its port is that of each `bind`: write a route for each"),
        (":80", "10.0.0.9:-80", "its ports go beyond 65535"),
        (":80", "10.0.0.9:+65456", "its ports go beyond 65535"),
        (":80", "10.0.0.9:+x", "its port is no number"),
        (":80", "abns@x", "such an address has no counterpart here"),
        (":80", "$DB:1", "variables of the environment are not read: write the address"),
        (":80", "db${N}:1", "variables of the environment are not read: write the address"),
    ] {
        let found =
            haproxy(&format!("listen web\n bind {binds}\n server b {server}\n server a 10.0.0.1:80\n"));
        found.must_name(&format!("server b {server} {why}"), server);
    }
}
