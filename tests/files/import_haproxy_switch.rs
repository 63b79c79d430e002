//! What `use_backend` of HAProxy becomes: for whom a route is.

use portway::config::Program;

use super::import_found::{Found, found};

fn haproxy(text: &str) -> Found {
    found(Program::Haproxy, text)
}

const BACKENDS: &str = "backend b\n server a 10.0.0.1:80\nbackend c\n server a 10.0.0.3:80\n\
                        backend h\n mode http\n server a 10.0.0.4:80\n";

fn frontend(lines: &str) -> Found {
    haproxy(&format!("frontend web\n bind :80\n {lines}\n{BACKENDS}"))
}

/// What is alike in the routes below.
const KNOWN: [&str; 3] = ["[[route]]", "listen = \"0.0.0.0:80\"", "upstream = \"10.0.0.1:80\""];

#[test]
fn a_hello_chooses_the_backend() {
    for (condition, keys) in [
        ("{ req.ssl_sni -i A.example }", "sni = \"a.example\""),
        ("{ req_ssl_sni a.example }", "sni = \"a.example\""),
        ("{ req.ssl_sni,lower -m str -- a.example }", "sni = \"a.example\""),
        ("{ req.ssl_sni -m end a.example }", "sni = [\"a.example\", \"*.a.example\"]"),
        ("{ req.ssl_sni -m dom .a.example }", "sni = \"*.a.example\""),
        ("{ req.ssl_sni_end .A.example }", "sni = \"*.a.example\""),
        (
            "{ req.ssl_sni a.example } or { req.ssl_sni b.example a.example }",
            "sni = [\"a.example\", \"b.example\"]",
        ),
        ("{ req.ssl_hello_type 1 } { req.ssl_sni a.example }", "sni = \"a.example\""),
        ("{ req.ssl_ver 3 } { req_ssl_ver 3 } { req_ssl_hello_type 1 } { req.ssl_alpn h2 }", "alpn = \"h2\""),
        ("{ req.ssl_alpn h2 x } { req.ssl_sni a.example }", "sni = \"a.example\"; alpn = [\"h2\", \"x\"]"),
    ] {
        let found = frontend(&format!("use_backend b if {condition}"));
        let keys = format!("name = \"web\"; sniff_timeout = \"5s\"; {keys}");
        assert_eq!(found.beside(&KNOWN), keys, "{condition}");
    }
    let both = |one: &str, other: &str| {
        format!("[defaults]; sniff_timeout = \"5s\"; name = \"b\"; {one}; name = \"b-2\"; {other}")
    };
    for (condition, one, other) in [
        ("{ req.ssl_sni a.example } or { req.ssl_alpn h2 }", "sni = \"a.example\"", "alpn = \"h2\""),
        ("{ req.ssl_alpn h2 } or { req.ssl_sni a.example }", "alpn = \"h2\"", "sni = \"a.example\""),
        ("{ req.ssl_alpn h3 } or { req.ssl_alpn h2 }", "alpn = \"h3\"", "alpn = \"h2\""),
        (
            "{ req.ssl_sni a.example } { req.ssl_alpn h3 } or { req.ssl_sni a.example }",
            "sni = \"a.example\"; alpn = \"h3\"",
            "sni = \"a.example\"",
        ),
    ] {
        assert_eq!(frontend(&format!("use_backend b if {condition}")).beside(&KNOWN), both(one, other));
    }
}

/// A hello that passes by is read by other words than one of TLS that ends there: HAProxy takes the wrong ones, and they never fit.
#[test]
fn a_name_is_asked_for_as_the_bind_has_it() {
    const PLAIN: &str = ":80";
    const ENDS: &str = ":80 ssl crt a.pem";
    let never = "it is never true here: `req.ssl_sni` reads the hello of a client whose TLS passes by, and `ssl_fc_sni` asks for the \
                 name where TLS ends (`bind` with `ssl`)";
    for (bind, condition, fits) in [
        (PLAIN, "{ req.ssl_sni a.example }", true),
        (PLAIN, "{ ssl_fc_sni a.example }", false),
        (ENDS, "{ req.ssl_sni a.example }", false),
        (ENDS, "{ req_ssl_sni a.example } { ssl_fc_sni a.example }", false),
        (ENDS, "{ ssl_fc_sni a.example }", true),
        (ENDS, "{ ssl_fc_sni a.example } !{ req.ssl_sni b.example }", true),
        (ENDS, "{ req.ssl_sni a.example } or { ssl_fc_sni a.example }", true),
        (ENDS, "either", true),
        (PLAIN, "either", true),
    ] {
        let acl = "acl either req.ssl_sni a.example\n acl either ssl_fc_sni a.example";
        let acl = if condition == "either" { acl } else { "" };
        let line = format!("use_backend b if {condition}");
        let backends = "backend b\n server a 10.0.0.1:80\nbackend c\n server a 10.0.0.3:80\n";
        let found =
            haproxy(&format!("frontend web\n bind {bind}\n {acl}\n {line}\n default_backend c\n{backends}"));
        let keys = found.beside(&[]);
        assert_eq!(keys.contains("sni = \"a.example\""), fits, "{bind} {condition}: {keys}");
        found.must_name(&if fits { String::new() } else { format!("{line} {never}") }, condition);
    }
}

#[test]
fn what_chooses_no_route_is_named() {
    let name = "a route is chosen by `sni` and by `alpn`, and by nothing else";
    let source = "a route is not chosen by the client's address: give it an address of its own to listen on";
    let tls = "whether a client speaks TLS chooses no route: those who do are chosen by `sni`";
    let pattern = "server names are exact, or all below one (\"*.example.com\"): list those that are meant";
    let asks = "Portway asks for the client's network (`allow`, `deny`)";
    for (said, why) in [
        ("use_backend b if { req.ssl_hello_type 1 }", tls),
        ("use_backend b if !{ req.ssl_hello_type 1 } { req.ssl_sni a }", name),
        ("use_backend b if { req.ssl_alpn h2 } { req.ssl_alpn h3 }", name),
        ("use_backend b if { req.ssl_sni a } { req.ssl_sni b }", name),
        ("use_backend b if !{ req.ssl_sni a }", name),
        ("use_backend b if !{ req.ssl_alpn a }", name),
        ("use_backend b if { src_conn_cur gt 4 }", name),
        ("use_backend b if { src 10.0.0.0/8 }", source),
        ("use_backend b if !{ src -f x }", source),
        (
            "use_backend b unless { req.ssl_sni a }",
            "routes are chosen by what they serve, and not by what they do not",
        ),
        ("use_backend %[req.ssl_sni]", "the name of the backend is made of what a client says"),
        ("use_backend b if { req.ssl_sni -m reg ^a }", pattern),
        (
            "use_backend b if { req.ssl_sni -f x }",
            "names stand in the file of the routes: write its lines into `sni`",
        ),
        ("use_backend b if { req.ssl_sni,field(1) a }", asks),
        ("use_backend b if { req.ssl_alpn -f x }", asks),
        ("use_backend b if { req.ssl_alpn -m end x }", asks),
        ("use_backend b if x", "`x` is no `acl` here; Portway asks for the client's network"),
        ("use_backend n if { req.ssl_sni a }", "there is no backend `n`"),
        ("use_backend h if { req.ssl_sni a }", "`h` is of `mode http`"),
    ] {
        let found = frontend(&format!("{said}\n default_backend c"));
        let rest = found.beside(&KNOWN);
        // Those whom it means would come to the default.
        assert!(
            rest.contains("upstream = \"10.0.0.3:80\"") && rest.ends_with("enabled = false"),
            "{said}: {rest}"
        );
        assert!(!rest.contains("sni =") && !rest.contains("alpn ="), "{said}: {rest}");
        found.must_name(&format!("{said} {why}"), said);
    }
}

#[test]
fn the_last_default_takes_the_rest() {
    let found = frontend("default_backend c\n default_backend b");
    assert_eq!(found.beside(&KNOWN), "name = \"web\"");
    assert!(found.fates.contains(&"Same default_backend c".to_owned()), "{:?}", found.fates);
    let found = frontend("use_backend c if { req.ssl_sni a }\n default_backend b");
    assert_eq!(
        found.beside(&KNOWN),
        "[defaults]; sniff_timeout = \"5s\"; name = \"c\"; upstream = \"10.0.0.3:80\"; sni = \"a\"; name = \"b\""
    );
    let own = "listen web\n bind :80\n server a 10.0.0.1:80\n use_backend c if { req.ssl_sni a }\n";
    let found = haproxy(&format!("{own}{BACKENDS}"));
    assert_eq!(
        found.beside(&KNOWN),
        "[defaults]; sniff_timeout = \"5s\"; name = \"c\"; upstream = \"10.0.0.3:80\"; sni = \"a\"; name = \"web\""
    );
}

/// How long a hello may take says something where one is waited for.
#[test]
fn an_inspection_has_its_time() {
    let chosen = "use_backend b if { req.ssl_sni a }";
    let delay = "tcp-request inspect-delay";
    for (lines, keys, fate) in [
        (format!("{delay} 3s\n {chosen}"), "sniff_timeout = \"3s\"; sni = \"a\"", "Carried"),
        (format!("{delay} 3s\n use_backend b"), "", "Same"),
        (format!("{delay} x\n {chosen}"), "sniff_timeout = \"5s\"; sni = \"a\"", "Same"),
        (format!("{delay} 400d\n {chosen}"), "sniff_timeout = \"5s\"; sni = \"a\"", "Same"),
    ] {
        let found = frontend(&lines);
        let known = [&KNOWN[..], &["name = \"web\""]].concat();
        assert_eq!(found.beside(&known), keys, "{lines}");
        let said = lines.lines().next().unwrap();
        assert!(found.fates.contains(&format!("{fate} {said}")), "{lines}: {:?}", found.fates);
    }
}

#[test]
fn a_frontend_that_nothing_serves_is_named() {
    let other = "listen other\n bind :81\n server a 10.0.0.1:80\n";
    for (lines, named) in [
        ("retries 3", "frontend web no backend of `mode tcp` serves it"),
        ("use_backend n\n retries 3", "use_backend n there is no backend `n`"),
        ("default_backend h\n retries 3", "default_backend h `h` is of `mode http`"),
    ] {
        let found = haproxy(&format!("{other}frontend web\n bind :80\n {lines}\n{BACKENDS}"));
        assert!(!found.beside(&[]).contains("0.0.0.0:80\""), "{lines}");
        found.must_name(named, lines);
        found.must_name("retries 3 each upstream is tried once for a connection", lines);
    }
}
