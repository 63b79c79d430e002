//! What rules of HAProxy become: who may connect, how often, and which backend serves whom.

use portway::config::Program;

use super::import_found::{Found, found};

fn haproxy(text: &str) -> Found {
    found(Program::Haproxy, text)
}

const KNOWN: [&str; 4] =
    ["[[route]]", "name = \"web\"", "listen = \"0.0.0.0:80\"", "upstream = \"10.0.0.1:80\""];

fn listen(lines: &str) -> Found {
    let lines: String = lines.lines().map(|line| format!(" {line}\n")).collect();
    haproxy(&format!("listen web\n bind :80\n server a 10.0.0.1:80\n{lines}"))
}

/// Two networks, as words and as they come out.
const OFFICE: &str = "{ src 10.0.0.0/8 }";
const HOME: &str = "{ src 192.0.2.1 }";
const SEVERAL: &str = "it asks for several things at once";

#[test]
fn who_is_refused() {
    let both = "[\"10.0.0.0/8\", \"192.0.2.1\"]";
    for (condition, keys) in [
        ("", "deny = [\"0.0.0.0/0\", \"::/0\"]".to_owned()),
        (&format!("if {OFFICE}"), "deny = \"10.0.0.0/8\"".to_owned()),
        (&format!("if !{OFFICE}"), "allow = \"10.0.0.0/8\"".to_owned()),
        (&format!("if ! {OFFICE}"), "allow = \"10.0.0.0/8\"".to_owned()),
        (&format!("unless {OFFICE}"), "allow = \"10.0.0.0/8\"".to_owned()),
        (&format!("if {OFFICE} or {HOME}"), format!("deny = {both}")),
        (&format!("if {OFFICE} || {HOME}"), format!("deny = {both}")),
        (&format!("if !{OFFICE} !{HOME}"), format!("allow = {both}")),
        (&format!("unless {OFFICE} or {HOME}"), format!("allow = {both}")),
        ("if { src -f x.lst }", "deny = { file = \"x.lst\" }".to_owned()),
        ("if !{ src -f x.lst }", "allow = { file = \"x.lst\" }".to_owned()),
        ("unless { src -f x.lst }", "allow = { file = \"x.lst\" }".to_owned()),
        ("if { src -n -- 10.0.0.0/8 }", "deny = \"10.0.0.0/8\"".to_owned()),
        ("if { src 10.9.9.9/255.255.0.0 }", "deny = \"10.9.0.0/16\"".to_owned()),
        ("if { sc0_conn_cur gt 5 }", "max_connections_per_client = 5".to_owned()),
        ("if { sc0_conn_cur ge 5 }", "max_connections_per_client = 4".to_owned()),
        ("if { sc_conn_cur(0) ge 2 }", "max_connections_per_client = 1".to_owned()),
        ("if { src_conn_cur ge 5 }", "max_connections_per_client = 5".to_owned()),
        ("if { src_conn_cur gt 1 }", "max_connections_per_client = 1".to_owned()),
    ] {
        for action in ["reject", "silent-drop"] {
            let said = format!("tcp-request connection {action} {condition}");
            let found = listen(&said);
            assert_eq!(found.beside(&KNOWN), keys, "{said}");
            found.must_name("", &said);
        }
    }
    let accepted = format!("tcp-request connection accept if {OFFICE}\n");
    for phase in ["connection", "session", "content"] {
        let accepted = format!("tcp-request {phase} accept if {OFFICE}\n");
        let found = listen(&format!("{accepted}tcp-request {phase} reject"));
        assert_eq!(found.beside(&KNOWN), "allow = \"10.0.0.0/8\"", "{phase}");
    }
    assert_eq!(listen("tcp-request connection accept").beside(&KNOWN), "");
    assert_eq!(listen(&format!("{accepted}tcp-request content accept if {HOME}")).beside(&KNOWN), "");
}

/// A listener with these rules.
fn rules(all: &[&str]) -> Found {
    let all: Vec<String> = all.iter().map(|rule| format!("tcp-request connection {rule}")).collect();
    listen(&all.join("\n"))
}

const ONLY: &str = "reject if !{ src 10.0.0.0/8 }";

/// A rule that refuses those outside of a list says nothing of those inside: the next one is about them.
#[test]
fn the_first_rule_that_fits_decides() {
    let only = ONLY;
    let nobody = "deny = [\"0.0.0.0/0\", \"::/0\"]";
    for (all, keys) in [
        (&[only, "reject if { src 10.6.6.6 }"][..], "allow = \"10.0.0.0/8\"; deny = \"10.6.6.6\""),
        (&["reject if { src 10.6.6.6 }", only], "allow = \"10.0.0.0/8\"; deny = \"10.6.6.6\""),
        (&[only, "reject if !{ src 10.6.0.0/16 }"], "allow = \"10.6.0.0/16\""),
        (&[only, "reject if !{ src 192.0.2.1 }"], nobody),
        (&[only, "accept"], "allow = \"10.0.0.0/8\""),
        (&[only, "reject"], nobody),
        (&[only, "accept if { src 10.6.6.6 }", "reject"], "allow = \"10.6.6.6\""),
        (&[only, "accept if { src 192.0.2.1 }", "reject"], nobody),
        (&["accept if { src 192.0.2.1 }", only], "allow = [\"192.0.2.1\", \"10.0.0.0/8\"]"),
        (&["accept if { src 192.0.2.1 }", only, "reject"], "allow = \"192.0.2.1\""),
        (
            &["reject if { src_conn_cur gt 5 }", "reject if { src_conn_cur gt 3 }"],
            "max_connections_per_client = 3",
        ),
        (
            &["reject if { src_conn_cur gt 3 }", "reject if { src_conn_cur gt 5 }"],
            "max_connections_per_client = 3",
        ),
        (
            &["reject if !{ src -f x }", "reject if { src -f y }"],
            "allow = { file = \"x\" }; deny = { file = \"y\" }",
        ),
    ] {
        let found = rules(all);
        assert_eq!(found.beside(&KNOWN), keys, "{all:?}");
        found.must_name("", "rules");
    }
}

#[test]
fn what_one_list_cannot_say_switches_the_route_off() {
    let bad = "{ src 10.6.6.6 }";
    for (first, second, named, why) in [
        (
            &*format!("accept if {bad}"),
            &*format!("reject if {bad}"),
            1,
            "here the first rule that fits decides",
        ),
        (
            "reject if { src -f x }",
            "reject if { src -f y }",
            1,
            "`deny` is one file: write all networks into it",
        ),
        (
            "reject if !{ src -f x }",
            "reject if !{ src -f y }",
            1,
            "`allow` is one file: write all networks into it",
        ),
        (
            "reject if { src -f x }",
            &format!("reject if {bad}"),
            1,
            "`deny` is a list or a file: write all networks",
        ),
        (ONLY, "reject if !{ src -f x }", 0, "`allow` is a list or a file: write all networks"),
    ] {
        let found = rules(&[first, second]);
        assert!(found.beside(&KNOWN).contains("enabled = false"), "{first}, {second}");
        found.must_name(&format!("tcp-request connection {} {why}", [first, second][named]), second);
    }
    let rate = "tcp-request connection reject if { src_conn_rate gt 5 }";
    let other = rate.replace('5', "6");
    let found = listen(&format!("stick-table type ip store conn_rate(1s)\n{rate}\n{other}"));
    assert_eq!(found.beside(&KNOWN), "rate_per_client = \"5/s\"; enabled = false");
    found.must_name(&format!("{other} a route has one rate for each client"), &other);
}

/// Who is accepted by the rules of a connection is looked at by those of its content.
#[test]
fn each_phase_decides_about_those_whom_the_one_before_lets_in() {
    let nobody = "deny = [\"0.0.0.0/0\", \"::/0\"]";
    let accept = "connection accept if { src 10.0.0.0/8 }";
    let only = "connection reject if !{ src 10.0.0.0/8 }";
    let bad = "content reject if { src 10.6.6.6 }";
    let some = "content accept if { src 10.6.0.0/16 }";
    for (rules, keys) in [
        (&[accept, "content reject"][..], nobody),
        (&["content reject", accept], nobody),
        (&[accept, "session reject"], nobody),
        (&[accept, bad], "deny = \"10.6.6.6\""),
        (&[accept, "connection reject", bad], "allow = \"10.0.0.0/8\"; deny = \"10.6.6.6\""),
        (&[only, some, "content reject"], "allow = \"10.6.0.0/16\""),
        (&["session reject if !{ src 10.6.0.0/16 }", only], "allow = \"10.6.0.0/16\""),
        (&[only, "content accept if { src ::1 }", "content reject"], nobody),
    ] {
        let lines: Vec<String> = rules.iter().map(|rule| format!("tcp-request {rule}")).collect();
        let found = listen(&lines.join("\n"));
        assert_eq!(found.beside(&KNOWN), keys, "{rules:?}");
        found.must_name("", "rules");
    }
}

/// Nobody is to come in who could not before: what refuses somebody and is not carried over switches the route off. What
/// lets somebody in is only named.
#[test]
fn a_route_that_lacks_what_guards_it_is_switched_off() {
    let asks = "Portway asks for the client's network (`allow`, `deny`) and for what a TLS hello asks for (`sni`, `alpn`)";
    let only = format!("{SEVERAL}: `allow` and `deny` ask for the client's network only");
    let unknown = format!("`bogus` is no `acl` here; {asks}");
    for (condition, why) in [
        (format!("if {OFFICE} {HOME}"), &*only),
        (format!("if !{OFFICE} {HOME}"), &only),
        (format!("unless {OFFICE} {HOME}"), &only),
        (format!("unless {OFFICE} {HOME} or {OFFICE}"), SEVERAL),
        (format!("unless {OFFICE} {HOME} or {OFFICE} {HOME}"), SEVERAL),
        ("if !{ src_conn_cur gt 5 }".to_owned(), &only),
        ("if !{ src_conn_rate gt 5 }".to_owned(), &only),
        ("if { src_conn_cur gt 0 }".to_owned(), &only),
        ("if { sc0_conn_cur ge 1 }".to_owned(), &only),
        ("if { src_conn_rate gt 0 }".to_owned(), &only),
        ("if { src_conn_cur lt 5 }".to_owned(), asks),
        ("if { src_conn_cur gt x }".to_owned(), asks),
        ("if { src_conn_cur 5 }".to_owned(), asks),
        ("if { src_bytes_in_rate gt 5 }".to_owned(), asks),
        ("if { dst 10.0.0.1 }".to_owned(), asks),
        ("if {".to_owned(), asks),
        ("if bogus".to_owned(), &unknown),
        ("if { src 10.0.0.300 }".to_owned(), "networks are written as 10.0.0.0/8 or 2001:db8::/32"),
        ("if { src 10.0.0.0/255.0.255.0 }".to_owned(), "networks are written as 10.0.0.0/8"),
        ("if { src -f x 10.0.0.1 }".to_owned(), "write the networks into the file, all of them"),
        (format!("if {{ req.ssl_hello_type 1 }} {OFFICE}"), &only),
    ] {
        for (action, keys) in
            [("reject", "enabled = false"), ("silent-drop", "enabled = false"), ("accept", "")]
        {
            let said = format!("tcp-request connection {action} {condition}");
            let found = listen(&said);
            assert_eq!(found.beside(&KNOWN), keys, "{said}");
            found.must_name(&format!("{said} {why}"), &said);
        }
    }
    let reject = "tcp-request connection reject if { src_conn_rate gt 5 }";
    let found = listen(reject);
    assert_eq!(found.beside(&KNOWN), "enabled = false");
    found.must_name(&format!("{reject} no table says in what time"), reject);
    let text = "frontend web\n bind :80\n default_backend b\nbackend b\n server a 10.0.0.1:80\n \
                tcp-request content reject\n";
    let found = haproxy(text);
    assert_eq!(found.beside(&KNOWN), "enabled = false");
    found.must_name("tcp-request content reject a backend refuses nobody", "a backend");
}

/// Who is refused by a hello must have no route; where one takes the rest, all would come in.
#[test]
fn who_speaks_no_tls_is_refused_where_no_route_takes_the_rest() {
    let chosen = "use_backend b if { req.ssl_sni a.example }";
    let of = |rule: &str, more: &str| {
        let backend = "backend b\n server a 10.0.0.1:80\n";
        haproxy(&format!("frontend web\n bind :80\n {rule}\n {chosen}\n {more}\n{backend}"))
    };
    let accept = "tcp-request content accept if { req.ssl_hello_type 1 }";
    for (before, rule) in [
        (accept, "tcp-request content reject"),
        ("", "tcp-request content reject if !{ req.ssl_hello_type 1 }"),
        ("", "tcp-request content reject unless { req.ssl_sni a.example }"),
    ] {
        let rules = format!("{before}\n {rule}");
        for rest in ["", "default_backend b", "use_backend b"] {
            let found = of(&rules, rest);
            let off = found.beside(&[]).contains("enabled = false");
            assert_eq!(off, !rest.is_empty(), "{rule}, {rest}");
            let why = format!("{rule} who speaks no TLS goes to the route without `sni`, if there is one");
            found.must_name(if off { &why } else { "" }, rule);
        }
        assert_eq!(listen(&rules).beside(&KNOWN), "enabled = false", "{rule}");
    }
    for rule in [
        "tcp-request content reject if { req.ssl_sni a.example }",
        "tcp-request content reject if { req.ssl_ver 3 }",
    ] {
        let found = of(rule, "");
        assert!(found.beside(&[]).contains("enabled = false"), "{rule}");
        found.must_name(&format!("{rule} nobody is refused by a hello"), rule);
        let accept = rule.replace("reject", "accept");
        assert!(of(&accept, "").fates.contains(&format!("Same {accept}")), "{accept}");
    }
}

#[test]
fn a_rate_is_that_of_the_time_of_the_table() {
    for (time, rate) in [
        ("1s", "20/s"),
        ("60s", "20/m"),
        ("1m", "20/m"),
        ("1h", "20/h"),
        ("2s", "600/m burst 20"),
        ("59s", "20/m burst 20"),
        ("61s", "1180/h burst 20"),
        ("2h", "10/h burst 20"),
        ("25h", "1/h burst 20"),
    ] {
        let table = format!("stick-table type ip size 1m store gpc0,conn_rate({time})\n");
        let found = listen(&format!("{table}tcp-request connection reject if {{ sc0_conn_rate ge 21 }}"));
        assert_eq!(found.beside(&KNOWN), format!("rate_per_client = \"{rate}\""), "{time}");
        found.must_name("", time);
    }
    for time in ["500ms", "0", "x"] {
        let table = format!("stick-table type ip size 1m store conn_rate({time})\n");
        let found = listen(&format!("{table}tcp-request connection reject if {{ sc0_conn_rate gt 21 }}"));
        assert_eq!(found.beside(&KNOWN), "enabled = false", "{time}");
    }
    let other = "tcp-request session track-sc1 src table t\n\
                 tcp-request connection reject if { sc1_conn_rate(t) gt 5 }\nbackend t\nstick-table type ip store conn_rate(3s)";
    let found = listen(other);
    assert_eq!(found.beside(&KNOWN), "rate_per_client = \"100/m burst 5\"");
    assert!(found.fates.contains(&"Same tcp-request session track-sc1 src table t".to_owned()));
}

#[test]
fn a_header_is_read_of_the_networks_that_send_one() {
    let layer4 = "tcp-request connection expect-proxy layer4";
    let trusted =
        |list: &str| format!("proxy_protocol = {{ accept = true, trusted = {list}, untrusted = \"plain\" }}");
    for (condition, list) in [
        ("", "[\"0.0.0.0/0\", \"::/0\"]"),
        (" if { src 10.0.0.0/8 ::1 }", "[\"10.0.0.0/8\", \"::1/128\"]"),
        (" if { src 10.0.0.0/8 } or { src ::1 }", "[\"10.0.0.0/8\", \"::1/128\"]"),
    ] {
        assert_eq!(listen(&format!("{layer4}{condition}")).beside(&KNOWN), trusted(list), "{condition}");
    }
    let nothing = "Portway looks at nothing but a TLS hello (`sni`, `alpn`) and a PROXY header";
    let networks = "`trusted` lists the networks whose header is read, and nothing else";
    for (said, why) in [
        (&*format!("{layer4} unless {OFFICE}"), nothing),
        (&format!("{layer4} if !{OFFICE}"), networks),
        (&format!("{layer4} if {OFFICE} {HOME}"), networks),
        (&format!("{layer4} if {{ src_conn_cur gt 4 }}"), networks),
        (&format!("{layer4} if bogus"), "`bogus` is no `acl` here"),
        ("tcp-request connection expect-proxy", nothing),
        (&format!("tcp-request connection expect-proxy layer5 if {OFFICE}"), nothing),
    ] {
        let found = listen(said);
        // As data the header would reach the upstream.
        assert_eq!(found.beside(&KNOWN), "enabled = false", "{said}");
        found.must_name(&format!("{said} {why}"), said);
    }
    let found = listen("tcp-request connection set-src src");
    // What comes behind it is about another address.
    assert_eq!(found.beside(&KNOWN), "enabled = false");
    found.must_name(&format!("tcp-request connection set-src src {nothing}"), "set-src");
}

#[test]
fn the_definitions_that_a_rule_uses_are_carried_over() {
    let acls = "acl a src 10.0.0.0/8\nacl a src 192.0.2.1\nacl b src 10.0.0.1\n";
    let found = listen(&format!("{acls}tcp-request connection reject if a"));
    assert_eq!(found.beside(&KNOWN), "deny = [\"10.0.0.0/8\", \"192.0.2.1\"]");
    found.must_name("acl b src 10.0.0.1 no rule that is carried over asks for it", "acl b");
    let found = listen(&format!("{acls}tcp-request connection reject if !a !b"));
    assert_eq!(found.beside(&KNOWN), "allow = [\"10.0.0.0/8\", \"192.0.2.1\", \"10.0.0.1\"]");
    found.must_name("", "both are used");
    let found = listen("acl a src 10.0.0.0/8\nacl a req.ssl_sni x\ntcp-request connection reject if a");
    found.must_name("tcp-request connection reject if a its lines ask for different things", "acl a");
    let said = "acl a src 10.0.0.0/8 not carried over";
    found.must_name("acl a src 10.0.0.0/8 line 5, not carried over: acl a req.ssl_sni x no rule", said);
}
