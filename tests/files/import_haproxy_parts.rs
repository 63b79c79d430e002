//! What statements of HAProxy become: `bind`, checks, sections beside the proxies.

use portway::config::{Fate, Program, import};

use super::import_found::{Found, found};

const KNOWN: [&str; 4] =
    ["[[route]]", "name = \"web\"", "listen = \"0.0.0.0:80\"", "upstream = \"10.0.0.1:80\""];

fn haproxy(text: &str) -> Found {
    found(Program::Haproxy, text)
}

fn bind(words: &str) -> Found {
    haproxy(&format!("listen web\n bind {words}\n server a 10.0.0.1:81\n"))
}

#[test]
fn an_address_is_one_of_one_family_or_of_both() {
    for (words, listen) in [
        (":80,:81", "[\"0.0.0.0:80\", \"0.0.0.0:81\"]"),
        ("*:80 v4v6", "\"0.0.0.0:80\""),
        (":::80 v4v6", "\"80\""),
        ("[::]:80 v4v6", "\"80\""),
        ("ipv6@:80 v4v6", "\"80\""),
        (":::80 v6only", "\"[::]:80\""),
        ("ipv6@*:80", "\"[::]:80\""),
        ("tcp6@:80", "\"[::]:80\""),
        ("tcp@:80", "\"0.0.0.0:80\""),
        ("tcp4@10.0.0.9:80", "\"10.0.0.9:80\""),
        ("ipv6@2001:db8::1:80", "\"[2001:db8::1]:80\""),
        ("localhost:80", "\"127.0.0.1:80\""),
        (":80,:::80", "\"80\""),
        (":80,:81,:80", "[\"0.0.0.0:80\", \"0.0.0.0:81\"]"),
        ("[::]:80,[::]:81,:80,:81", "[\"80\", \"81\"]"),
        (":80,[::]:81,10.0.0.9:81", "[\"0.0.0.0:80\", \"[::]:81\", \"10.0.0.9:81\"]"),
    ] {
        let known = ["[[route]]", "name = \"web\"", "upstream = \"10.0.0.1:81\""];
        assert_eq!(bind(words).beside(&known), format!("listen = {listen}"), "{words}");
    }
    for (address, why) in [
        ("fd@3", "sockets of systemd are found by their address: write it"),
        ("sockpair@3", "there is no other process to share a socket with"),
        ("abns@x", "sockets without a file have no address here: write unix:/path"),
        ("quic4@:80", "QUIC is passed on as datagrams: protocol = \"udp\""),
        ("udp@:80", "HAProxy itself takes datagrams for logs only; write protocol = \"udp\""),
        ("80", "it has no port"),
    ] {
        bind(&format!(":80\n bind {address}")).must_name(&format!("bind {address} {why}"), address);
    }
}

#[test]
fn the_words_of_a_bind() {
    let verify = "`verify`: clients must have a certificate (`client_ca`), or are asked for none";
    let tls = |more: &str| format!("tls = {{ cert = \"a.pem\", key = \"a.pem\"{more} }}");
    let off = |keys: &str| {
        if keys.is_empty() { "enabled = false".into() } else { format!("{keys}; enabled = false") }
    };
    let all = "proxy_protocol = { accept = true, trusted = [\"0.0.0.0/0\", \"::/0\"] }";
    for (words, keys, why) in [
        ("accept-proxy", all.to_owned(), ""),
        ("ssl crt a.pem", tls(""), ""),
        ("crt a.pem alpn h2 verify required ca-file ca.pem", String::new(), ""),
        ("ssl crt a.pem alpn h2,h3", format!("alpn = [\"h2\", \"h3\"]; {}", tls("")), ""),
        ("ssl crt a.pem verify required ca-file ca.pem", tls(", client_ca = \"ca.pem\""), ""),
        (
            "ssl crt a.pem verify required ca-file ca.pem crl-file crl.pem",
            tls(", client_ca = \"ca.pem\", crl = \"crl.pem\""),
            "",
        ),
        ("ssl crt a.pem verify none ca-file ca.pem crl-file crl.pem", tls(""), ""),
        ("ssl crt a.pem verify optional ca-file ca.pem", tls(""), verify),
        (
            "ssl crt a.pem verify required",
            off(&tls("")),
            "`verify required` without `ca-file`: write tls = {",
        ),
        ("ssl", off(""), "`ssl` without `crt`: write tls = { cert = \"app.pem\", key = \"app.key\" }"),
        ("maxconn 5", "max_connections = 5; when_full = \"wait\"".to_owned(), ""),
        ("maxconn 0", String::new(), "`maxconn` is no number"),
        ("name maxconn ssl crt a.pem", tls(""), ""),
        ("interface eth0", off(""), "`interface eth0`: a socket listens on addresses: write those of eth0"),
        ("group g", off(""), "`group g`: write listen = { address = \"unix:/path\", mode = \"0660\""),
        ("user ssl", off(""), "`user ssl`: write listen = { address = \"unix:/path\", mode = \"0660\""),
        ("mode 600", off(""), "`mode 600`: write listen = { address = \"unix:/path\", mode = \"0660\""),
        ("backlog ssl nice 3 tfo v6only", String::new(), ""),
        ("ciphers ssl", String::new(), "`ciphers`: a socket has no such setting here"),
        ("bogus ssl crt a.pem", tls(""), "`bogus`: a socket has no such setting here"),
    ] {
        let found = haproxy(&format!("listen web\n bind :80 {words}\n server a 10.0.0.1:80\n"));
        assert_eq!(found.beside(&KNOWN), keys, "{words}");
        let named = if why.is_empty() { String::new() } else { format!("bind :80 {words} {why}") };
        found.must_name(&named, words);
    }
    let folder = haproxy("listen web\n bind :80 ssl crt certs/\n server a 10.0.0.1:80\n");
    folder
        .must_name("bind :80 ssl crt certs/ `crt` is a folder: write a route for each certificate", "certs/");
    let remark = "HAProxy takes a PROXY header from anyone: name your proxies in `trusted`.";
    assert!(bind(":80 accept-proxy").comments.contains(remark));
}

/// Whoever comes through a Unix socket has no network.
#[test]
fn a_header_is_taken_from_everybody_at_a_unix_socket_too() {
    let unix = "listen = \"unix:/run/a.sock\"";
    let both = "listen = [\"0.0.0.0:80\", \"unix:/run/a.sock\"]";
    let all = "trusted = [\"0.0.0.0/0\", \"::/0\", \"unix:\"]";
    for (binds, listen, trusted) in [
        ("/run/a.sock accept-proxy", unix, "trusted = \"unix:\""),
        (":80,/run/a.sock accept-proxy", both, all),
        (":80 accept-proxy\n bind /run/a.sock accept-proxy", both, all),
        (
            "/run/a.sock\n tcp-request connection expect-proxy layer4",
            unix,
            "trusted = \"unix:\", untrusted = \"plain\"",
        ),
    ] {
        let found = haproxy(&format!("listen web\n bind {binds}\n server a 10.0.0.1:80\n"));
        let known = [KNOWN[0], KNOWN[1], KNOWN[3]];
        let keys = format!("{listen}; proxy_protocol = {{ accept = true, {trusted} }}");
        assert_eq!(found.beside(&known), keys, "{binds}");
    }
}

/// A route has one way to begin for all its addresses: where that differs, there are several.
#[test]
fn what_clients_begin_with_is_the_same_at_all_addresses_of_a_route() {
    let tls = "tls = { cert = \"a.pem\", key = \"a.pem\" }";
    let header = "proxy_protocol = { accept = true, trusted = [\"0.0.0.0/0\", \"::/0\"] }";
    let next = "name = \"web-2\"; listen = \"0.0.0.0:81\"";
    for (first, second, keys) in [
        ("", ":81 ssl crt a.pem", format!("{next}; {tls}")),
        (" ssl crt a.pem", ":81", format!("{tls}; {next}")),
        ("", ":81 accept-proxy", format!("{next}; {header}")),
        (" accept-proxy", ":81", format!("{header}; {next}")),
        (" ssl crt a.pem", ":81 ssl crt b.pem", format!("{tls}; {next}; {}", tls.replace("a.pem", "b.pem"))),
        (" ssl crt a.pem", ":81 ssl crt a.pem alpn h2", format!("[defaults]; {tls}; {next}; alpn = \"h2\"")),
        // This limit is that of its `bind`, too.
        ("", ":81 maxconn 5", format!("{next}; max_connections = 5; when_full = \"wait\"")),
        ("", ":81", "listen = [\"0.0.0.0:80\", \"0.0.0.0:81\"]".to_owned()),
        (" ssl crt a.pem", ":81 ssl crt a.pem", format!("listen = [\"0.0.0.0:80\", \"0.0.0.0:81\"]; {tls}")),
    ] {
        let text = format!("listen web\n bind :80{first}\n bind {second}\n server a 10.0.0.1:80\n");
        let found = haproxy(&text);
        assert_eq!(found.beside(&KNOWN), keys, "{text}");
        found.must_name("", second);
    }
}

/// Lines of a checked server, what `health` has beside its interval, and what is not carried over.
fn checks_become(words: &str, cases: &[(&str, &str, &str)]) {
    for (lines, health, named) in cases {
        let below: String = lines.lines().map(|line| format!("  {line}\n")).collect();
        let found = haproxy(&format!("listen web\n bind :80\n server a 10.0.0.1:80 {words}\n{below}"));
        let keys = found.beside(&KNOWN);
        let more = if health.is_empty() { String::new() } else { format!(", {health}") };
        assert_eq!(keys, format!("health = {{ interval = \"10s\"{more} }}"), "{lines}");
        found.must_name(named, lines);
    }
}

#[test]
fn what_a_check_says_and_hears() {
    let answer = "an answer is waited for as text, as bytes, or as a pattern (\"regex:...\")";
    let step = "a check connects, sends and waits for answers, one after the other";
    let [not, status, ssl] = [
        format!("tcp-check expect ! string b {answer}"),
        format!("tcp-check expect status 3 {answer}"),
        format!("tcp-check connect ssl {step}"),
    ];
    let both = "tcp-check send a\ntcp-check expect string b";
    checks_become(
        "check inter 10s",
        &[
            ("option tcp-check\ntcp-check connect\ntcp-check connect default\ntcp-check comment x y", "", ""),
            ("tcp-check connect port 81", "port = 81", ""),
            ("tcp-check connect port 0", "", "tcp-check connect port 0 its port is no number"),
            ("tcp-check connect port 8,fall=9", "", "tcp-check connect port 8,fall=9 its port is no number"),
            (both, "send = \"a\", expect = \"b\"", ""),
            (
                &format!("{both}\ntcp-check send-binary 0a0b"),
                "steps = [{ send = \"a\" }, { expect = \"b\" }, { send = \"hex:0a0b\" }]",
                "",
            ),
            ("tcp-check expect string b", "steps = [{ expect = \"b\" }]", ""),
            ("tcp-check expect rstring ^b+", "steps = [{ expect = \"regex:^b+\" }]", ""),
            ("tcp-check expect binary 0a", "steps = [{ expect = \"hex:0a\" }]", ""),
            ("tcp-check expect min-recv 3 string b", "steps = [{ expect = \"b\" }]", ""),
            (
                "tcp-check expect string \"\\\"b\\\\\"\ntcp-check send \\r\\n\\t",
                "steps = [{ expect = \"\\\"b\\\\\" }, { send = \"\\r\\n\\t\" }]",
                "",
            ),
            ("tcp-check expect ! string b", "", &not),
            ("tcp-check expect status 3", "", &status),
            ("tcp-check connect ssl", "", &ssl),
            ("timeout check 5s", "timeout = \"5s\"", ""),
            ("timeout check 20s", "timeout = \"10s\"", ""),
            ("timeout check x", "", "timeout check x it is no duration"),
        ],
    );
}

#[test]
fn checks_of_protocols() {
    let http =
        |request: &str| format!("send = \"{request}\\r\\n\\r\\n\", expect = \"regex:^HTTP/1\\\\.[01] [23]\"");
    let smtp = |hello: &str| {
        format!(
            "steps = [{{ expect = \"220 \" }}, {{ send = \"{hello}\\r\\n\" }}, {{ expect = \"250\" }}, \
             {{ send = \"QUIT\\r\\n\" }}, {{ expect = \"221 \" }}]"
        )
    };
    let plain = "send = \"OPTIONS / HTTP/1.0\\r\\n\\r\\n\", expect = ";
    let own = "write the request into `send`, and what its answer has into `expect`";
    checks_become(
        "check inter 10s",
        &[
            ("option redis-check", "send = \"PING\\r\\n\", expect = \"+PONG\"", ""),
            ("option smtpchk", &smtp("HELO localhost"), ""),
            ("option smtpchk EHLO x.example", &smtp("EHLO x.example"), ""),
            ("option httpchk", &http("OPTIONS / HTTP/1.0"), ""),
            ("option httpchk /up", &http("OPTIONS /up HTTP/1.0"), ""),
            ("option httpchk GET /up", &http("GET /up HTTP/1.0"), ""),
            (
                "option httpchk GET /up HTTP/1.1",
                &http("GET /up HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close"),
                "",
            ),
            ("option httpchk GET /up HTTP/1.0", &http("GET /up HTTP/1.0"), ""),
            ("option httpchk GET /up HTTP/1.1 \\r\\nHost:\\ x", &http("GET /up HTTP/1.1\\r\\nHost: x"), ""),
            (
                "option httpchk\nhttp-check expect status 200",
                &format!("{plain}\"regex:^HTTP/1\\\\.[01] 200\""),
                "",
            ),
            ("option httpchk\nhttp-check expect string up", &format!("{plain}\"up\""), ""),
            (
                "option httpchk\nhttp-check expect status 2xx",
                &http("OPTIONS / HTTP/1.0"),
                &format!("http-check expect status 2xx {own}"),
            ),
        ],
    );
}

#[test]
fn without_a_check_its_lines_say_nothing() {
    let lines =
        ["option tcp-check", "tcp-check bogus", "timeout check x", "option httpchk", "http-check bogus"];
    let found = haproxy(&format!("listen web\n bind :80\n server a 10.0.0.1:80\n {}\n", lines.join("\n ")));
    assert_eq!(found.beside(&KNOWN), "");
    found.must_name("", "no check");
    assert_eq!(found.fates[3..], lines.map(|line| format!("Same {line}")));
}

#[test]
fn sections_beside_the_proxies() {
    let of = |before: &str| haproxy(&format!("{before}\nlisten web\n bind :80\n server a 10.0.0.1:80\n"));
    let logs = "logs go to standard error, standard output or a file: `[log]`";
    for (section, why) in [
        ("resolvers r", "names are looked up as this system does it: /etc/resolv.conf, /etc/hosts"),
        ("peers p", "what is known of clients is not shared between machines"),
        ("mailers m", "Portway sends no mail: alert by its metrics (`portway_upstream_up`)"),
        ("ring r", logs),
        ("log-forward l", logs),
        ("log-profile l", logs),
        ("program p", "Portway starts no programs: let systemd do it"),
    ] {
        of(section).must_name(&format!("{section} {why}"), section);
    }
    for section in ["userlist u", "cache c", "traces"] {
        let found = of(section);
        found.must_name("", section);
        assert_eq!(found.fates[0], format!("Apart {section}"));
    }
    for (line, keys, why) in [
        ("maxconn 7", "[limits]; max_connections = 7", ""),
        ("maxconn 0", "", "it is no number"),
        ("lua-load x", "", "Portway runs no scripts"),
        ("stats socket /x", "", "write `[admin] listen = \"unix:/run/portway/admin.sock\"`"),
        ("stats timeout 3s", "", ""),
        ("daemon", "", ""),
    ] {
        let found = of(&format!("global\n {line}"));
        assert_eq!(found.beside(&KNOWN), keys, "{line}");
        found.must_name(&if why.is_empty() { String::new() } else { format!("{line} {why}") }, line);
    }
}

#[test]
fn defaults_are_read_if_a_proxy_of_tcp_takes_them() {
    let tcp = "defaults\n mode tcp\nlisten web\n bind :80\n server a 10.0.0.1:80\n";
    let text = |proxy: &str| format!("defaults\n retries 3\n{proxy}{tcp}");
    for (proxy, read) in [
        ("", false),
        ("frontend h\n mode http\n bind :9\n", false),
        ("resolvers r\n", false),
        ("frontend h\n bind :9\n default_backend web\n", true),
        ("backend b\n server a 10.0.0.9:80\n", true),
        ("listen other\n bind :9\n server a 10.0.0.9:80\n", true),
    ] {
        let fates = haproxy(&text(proxy)).fates;
        assert_eq!(fates.iter().any(|fate| fate == "Named retries 3"), read, "{proxy}: {fates:?}");
    }
    let found = haproxy(
        "defaults\n log global\n timeout client 1m\n option redispatch\n retries 3\n\
         listen web\n bind :80\n server a 10.0.0.1:80\n",
    );
    let expected =
        ["Same defaults", "Apart log global", "Carried timeout client 1m", "Same option redispatch"];
    assert_eq!(found.fates[..4], expected);
}

/// What HAProxy serves at the request stays there, and is named.
#[test]
fn proxies_of_http_stay() {
    let text = "frontend h\n mode http\n bind :9\nbackend x\n mode http\n server a 10.0.0.9:80\n\
                backend y\n server a 10.0.0.9:80\n balance bogus\n\
                frontend web\n bind :80\n default_backend z\nbackend z\n server a 10.0.0.1:80\n";
    let found = haproxy(text);
    for named in [
        "frontend h it is of `mode http`, and stays with HAProxy: Portway forwards connections",
        "backend x it is of `mode http`, and stays with HAProxy",
        "backend y no route uses the backend `y`",
    ] {
        found.must_name(named, named);
    }
    assert!(found.fates.contains(&"Same balance bogus".to_owned()), "{:?}", found.fates);
    let found = import("a file", text.as_bytes(), Some(Program::Haproxy)).unwrap();
    assert_eq!(found.named(), found.statements.iter().filter(|one| one.fate == Fate::Named).count());
    assert_eq!(found.named(), 3);
}
