use super::*;

/// The text to write: what stands in the first quotes of the cure.
fn cure<T: FromStr<Err = Fault>>(text: &str) -> String {
    let Err(fault) = text.parse::<T>() else { return "fine".to_owned() };
    assert!(!fault.message.contains("s3cret") && !fault.help.contains("s3cret"), "{fault:?}");
    fault.help.strip_prefix("write ").map_or(fault.help.clone(), |write| match write.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap().to_owned(),
        None => write.to_owned(),
    })
}

#[test]
fn m_what_other_programs_listen_on_has_its_cure() {
    for (text, write) in [
        ("8080/udp", "8080"),
        ("53/TCP", "53"),
        ("127.0.0.1:8080/udp", "127.0.0.1:8080"),
        ("8080:80", "8080"),
        ("8080:80/udp", "8080"),
        ("127.0.0.1:8080:80", "127.0.0.1:8080"),
        ("127.0.0.1:8080:80/tcp", "127.0.0.1:8080"),
        ("[::1]:8080:80", "[::1]:8080"),
        ("0.0.0.0:8080-8090:80-90", "8080-8090"),
        ("8080:app:80", "8080"),
        ("127.0.0.1:8080:app:80", "127.0.0.1:8080"),
        ("localhost:80:81", "127.0.0.1:80"),
        ("/run/x.sock", "unix:/run/x.sock"),
        ("UNIX-LISTEN:/run/x.sock", "unix:/run/x.sock"),
        ("unix@/run/x.sock", "unix:/run/x.sock"),
        ("fe80::1%eth0:80", "80"),
        ("[fe80::1%eth0]:80", "80"),
        ("[2001:db8::1%2]:80", "[2001:db8::1]:80"),
        ("udp://127.0.0.1:53", "127.0.0.1:53"),
        ("tcp://0.0.0.0:8080", "8080"),
        ("tcp:127.0.0.1:80", "127.0.0.1:80"),
        ("tcp://:8080", "8080"),
        ("TCP-LISTEN:8080", "8080"),
        ("ipv4@127.0.0.1:80", "127.0.0.1:80"),
        ("http://example.com/", "80"),
        ("https://127.0.0.1", "127.0.0.1:443"),
        ("443 ssl http2", "443"),
        ("127.0.0.1:80 default_server", "127.0.0.1:80"),
        ("53 udp", "53"),
        ("127.0.0.1 8080", "127.0.0.1:8080"),
        ("0.0.0.0", "0.0.0.0:8080"),
        ("localhost", "127.0.0.1:8080"),
        ("[::]", "[::]:8080"),
        ("::1", "[::1]:8080"),
        ("::1:80", "[::1]:80"),
        ("*:80", "80"),
        (" 8080 ", "8080"),
    ] {
        assert_eq!(cure::<ListenSpec>(text), write, "{text}");
        assert!(write.parse::<ListenSpec>().is_ok(), "{write}");
    }
}

#[test]
fn m_what_other_programs_forward_to_has_its_cure() {
    for (text, write) in [
        ("/run/x.sock", "unix:/run/x.sock"),
        ("http://unix:/run/x.sock", "unix:/run/x.sock"),
        ("http://unix:/run/x.sock:/path", "unix:/run/x.sock"),
        ("UNIX-CONNECT:/run/x.sock", "unix:/run/x.sock"),
        ("app:80/udp", "app:80"),
        ("8080:80", "127.0.0.1:80"),
        ("127.0.0.1:8080:80", "127.0.0.1:80"),
        ("8080:app:80", "app:80"),
        ("localhost:80:81", "localhost:81"),
        ("http://app", "app:80"),
        ("http://app:3000/path?x=1", "app:3000"),
        ("https://app", "app:443"),
        ("tcp://app:80", "app:80"),
        ("dns:///app:80", "app:80"),
        ("postgres://me:s3cret@db:6432/name", "db:6432"),
        ("postgresql://me:s3cret@db/name", "db:5432"),
        ("redis://:s3cret@[::1]:6379", "[::1]:6379"),
        ("app:80/path", "app:80"),
        ("app/path", "app:80"),
        ("root@app:22", "app:22"),
        ("app:https", "app:443"),
        ("10.0.0.1/24", "10.0.0.1:8080"),
        ("app 80", "app:80"),
        ("app", "app:8080"),
        ("app:80 max_fails=3", "app:80"),
        ("fe80::1", "[fe80::1]:8080"),
    ] {
        assert_eq!(cure::<UpstreamSpec>(text), write, "{text}");
        assert!(write.parse::<UpstreamSpec>().is_ok(), "{write}");
    }
    let table = "{ address = \"app:80\", weight = 2, backup = true }";
    assert_eq!(cure::<UpstreamSpec>("app:80 weight=2 max_fails=3 backup"), table);
    assert_eq!(cure::<UpstreamSpec>("app:80 check weight 2 backup"), table);
}

/// No cure is made up where none is known; what is said is not "write".
#[test]
fn m_what_portway_has_not_is_said() {
    for (text, words) in [
        ("vsock:2:80", "let socat stand between"),
        ("srv:_http._tcp.example.com", "dig +short SRV _http._tcp.example.com"),
        ("_http._tcp.example.com", "dig +short SRV _http._tcp.example.com"),
        ("@app", "give the socket a file"),
        ("unix:@app", "give the socket a file"),
        ("${APP}:80", "write the address itself"),
        ("$APP", "write the address itself"),
        ("fd@3", "as ListenStream= has it"),
        ("./x.sock", "write it from the root, as in \"unix:/run/x.sock\""),
        ("a:80,b:80", "an address is"),
        ("", "an address is"),
        ("https://", "an address"),
    ] {
        for fault in [text.parse::<ListenSpec>().unwrap_err(), text.parse::<UpstreamSpec>().unwrap_err()] {
            let said = format!("{} {}", fault.message, fault.help);
            assert!(said.contains(words), "{text}: {said}");
        }
    }
    // Long and deep texts are no danger.
    for text in ["tcp:".repeat(100_000), "/udp".repeat(100_000), ":".repeat(100_000), "[".repeat(100_000)] {
        assert!(text.parse::<UpstreamSpec>().is_err());
    }
}

const FORM: &str = "an address is \"host:port\" or \"unix:/path\"";
const VARIABLE: &str = "an address is taken as it stands: no variable is replaced in it";

/// What `listen` says of a text: the message, and the whole cure.
const LISTENED: &[(&str, &str, &str)] = &[
    (" 8080 ", "a space stands before or after the address", "write \"8080\""),
    (
        " 8080:80 ",
        "`8080:80` is two addresses in one, as Docker and ssh write them",
        "write \"8080\"; `upstream` has the other one: \"name:80\"",
    ),
    ("app-${N}:80", VARIABLE, "write the address itself"),
    ("{{ host }}:80", VARIABLE, "write the address itself"),
    (
        "srv:app.example",
        "Portway does not look up SRV records",
        "an upstream is a name and a port: \"host:port\"",
    ),
    (
        "@app",
        "Portway has no Unix sockets without a file (abstract ones)",
        "give the socket a file: \"unix:/run/app.sock\"",
    ),
    (
        "8080/udp",
        "the protocol does not stand in the address: `/udp`",
        "write \"8080\"; a route for UDP has a line protocol = \"udp\"",
    ),
    ("53/TCP", "the protocol does not stand in the address: `/tcp`", "write \"53\""),
    (
        "https://127.0.0.1",
        "`https://` begins a URL, and here stands an address",
        "write \"127.0.0.1:443\"; where TLS ends at Portway add tls = { cert = \"app.pem\", key = \"app.key\" }",
    ),
    ("http://127.0.0.1:81", "`http://` begins a URL, and here stands an address", "write \"127.0.0.1:81\""),
    (
        "443 ssl http2",
        "`ssl http2` does not stand in an address",
        "write \"443\"; where TLS ends at Portway add tls = { cert = \"app.pem\", key = \"app.key\" }",
    ),
    (
        "53 udp",
        "`udp` does not stand in an address",
        "write \"53\"; a route for UDP has a line protocol = \"udp\"",
    ),
    (
        "443 proxy_protocol ssl",
        "`proxy_protocol ssl` does not stand in an address",
        "write \"443\"; for the PROXY header add proxy_protocol = { accept = true, trusted = [\"10.0.0.0/8\"] }",
    ),
    (
        "443 accept-proxy",
        "`accept-proxy` does not stand in an address",
        "write \"443\"; for the PROXY header add proxy_protocol = { accept = true, trusted = [\"10.0.0.0/8\"] }",
    ),
    ("127.0.0.1 8080", "between host and port stands a colon", "write \"127.0.0.1:8080\""),
    ("8080 9090", "`8080 9090` has no port", FORM),
    (
        "127.0.0.1:8080:app:80",
        "`127.0.0.1:8080:app:80` is two addresses in one, as Docker and ssh write them",
        "write \"127.0.0.1:8080\"; `upstream` has the other one: \"app:80\"",
    ),
    ("8080:app", "`app` is not a port number", "a port is a number from 1 to 65535"),
    (
        "fe80::1%eth0:80",
        "`%eth0` is a zone, which Portway does not take",
        "write \"80\" for every interface; allow = [\"fe80::/10\"] admits only clients of the same link",
    ),
    ("[2001:db8::1%2]:80", "`%2` is a zone, which Portway does not take", "write \"[2001:db8::1]:80\""),
    ("10.0.0.1/24", "`10.0.0.1/24` is a network", "write \"10.0.0.1:8080\", with the port that is meant"),
    (
        "127.0.0.1:80/path",
        "`/path` is a path, and Portway knows none: it forwards bytes",
        "write \"127.0.0.1:80\"",
    ),
    ("root@127.0.0.1:22", "`root@` is a user, and an address has none", "write \"127.0.0.1:22\""),
    ("127.0.0.1:http", "`http` is not a port number", "write \"127.0.0.1:80\""),
    ("0.0.0.0", "`0.0.0.0` has no port", "write \"0.0.0.0:8080\", with the port that is meant"),
    ("localhost", "`localhost` has no port", "write \"127.0.0.1:8080\", with the port that is meant"),
    ("app", "`app` has no port", FORM),
    // As HAProxy has it.
    ("/run/app.sock mode 660", "`/run/app.sock mode 660` has no port", FORM),
    (
        "run/app.sock",
        "`run/app.sock` is a path: that of a Unix socket begins with `unix:`",
        "write it from the root, as in \"unix:/run/app.sock\"",
    ),
    (
        "app.socket",
        "`app.socket` is a path: that of a Unix socket begins with `unix:`",
        "write it from the root, as in \"unix:/run/app.socket\"",
    ),
];

/// The same of `upstream`.
const FORWARDED: &[(&str, &str, &str)] = &[
    (
        "app:80/udp",
        "the protocol does not stand in the address: `/udp`",
        "write \"app:80\"; a route for UDP has a line protocol = \"udp\"",
    ),
    (
        "https://app",
        "`https://` begins a URL, and here stands an address",
        "write \"app:443\"; if the clients speak no TLS by themselves, add tls = { upstream = true }",
    ),
    (
        "rediss://app",
        "`rediss://` begins a URL, and here stands an address",
        "write \"app:6379\"; if the clients speak no TLS by themselves, add tls = { upstream = true }",
    ),
    ("http://app", "`http://` begins a URL, and here stands an address", "write \"app:80\""),
    (
        "gopher://app",
        "`gopher://` begins a URL, and here stands an address",
        "write only the address: \"host:port\"",
    ),
    (
        "udp:app:53",
        "`udp` does not stand in an address",
        "write \"app:53\"; a route for UDP has a line protocol = \"udp\"",
    ),
    (
        "tls:app:443",
        "`tls` does not stand in an address",
        "write \"app:443\"; if the clients speak no TLS by themselves, add tls = { upstream = true }",
    ),
    (
        "http://unix:/run/x.sock:/path",
        "`/run/x.sock` is a path: that of a Unix socket begins with `unix:`",
        "write \"unix:/run/x.sock\"",
    ),
    (
        "8080:80",
        "`8080:80` is two addresses in one, as Docker and ssh write them",
        "write \"127.0.0.1:80\", or the host that has this port; `listen` has the other one: \"8080\"",
    ),
    (
        "127.0.0.1:8080:app:81",
        "`127.0.0.1:8080:app:81` is two addresses in one, as Docker and ssh write them",
        "write \"app:81\", or the host that has this port; `listen` has the other one: \"8080\"",
    ),
    // As socat has it.
    ("/run/app.sock,mode=660", "`/run/app.sock,mode=660` has no port", FORM),
    ("app:x:80", "`app:x:80` is not one address", FORM),
    ("a:b:c:80", "`a:b:c:80` is not one address", FORM),
    ("a:80 b:80", "`a:80 b:80` is not one address", FORM),
    ("app 80", "between host and port stands a colon", "write \"app:80\""),
    (
        "app:80 max_conns=5000 weight=2",
        "`max_conns=5000 weight=2` does not stand in an address",
        "write { address = \"app:80\", max_connections = 5000, weight = 2 }",
    ),
    (
        "app:80 maxconn 7",
        "`maxconn 7` does not stand in an address",
        "write { address = \"app:80\", max_connections = 7 }",
    ),
    (
        "app:80 weight=1000",
        "`weight=1000` does not stand in an address",
        "write { address = \"app:80\", weight = 1000 }",
    ),
    (
        "app:80 weight=1001 max_conns=0",
        "`weight=1001 max_conns=0` does not stand in an address",
        "write \"app:80\"",
    ),
    (
        "app/24",
        "`/24` is a path, and Portway knows none: it forwards bytes",
        "write \"app:80\", with the port that is meant",
    ),
    (
        "10.0.0.1/path",
        "`/path` is a path, and Portway knows none: it forwards bytes",
        "write \"10.0.0.1:80\", with the port that is meant",
    ),
    ("10.0.0.1/24", "`10.0.0.1/24` is a network", "write \"10.0.0.1:8080\", with the port that is meant"),
    ("8080", "`8080` has no host", "an upstream needs a host: \"127.0.0.1:8080\" or \"name:8080\""),
    (
        "8080-8090",
        "`8080-8090` has no host",
        "an upstream needs a host: \"127.0.0.1:8080-8090\" or \"name:8080-8090\"",
    ),
    (
        "fe80::1",
        "`fe80::1` has no brackets and no port",
        "write \"[fe80::1]:8080\", with the port that is meant",
    ),
    ("app", "`app` has no port", "write \"app:8080\", with the port that is meant"),
    ("root@app:22", "`root@` is a user, and an address has none", "write \"app:22\""),
    ("app:https", "`https` is not a port number", "write \"app:443\""),
    (
        "[fe80::1%eth0]:80",
        "`%eth0` is a zone, which Portway does not take",
        "give the address that it has beyond its link, or a name of it: \"name:80\"",
    ),
];

#[test]
fn what_was_meant_is_said_word_for_word() {
    for (text, message, cure) in LISTENED {
        let fault = text.parse::<ListenSpec>().unwrap_err();
        assert_eq!((fault.message.as_str(), fault.help.as_str()), (*message, *cure), "listen {text}");
    }
    for (text, message, cure) in FORWARDED {
        let fault = text.parse::<UpstreamSpec>().unwrap_err();
        assert_eq!((fault.message.as_str(), fault.help.as_str()), (*message, *cure), "upstream {text}");
    }
}
