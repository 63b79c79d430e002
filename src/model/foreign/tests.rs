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
