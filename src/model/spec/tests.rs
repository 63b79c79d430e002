use super::*;

fn listen(text: &str) -> ListenSpec {
    text.parse().unwrap_or_else(|fault| panic!("{text}: {fault:?}"))
}

fn upstream(text: &str) -> UpstreamSpec {
    text.parse().unwrap_or_else(|fault| panic!("{text}: {fault:?}"))
}

#[test]
fn a_range_of_ports_has_both_ends() {
    for (text, count, first, last) in
        [("80", 1, 80, 80), ("80-80", 1, 80, 80), ("80-81", 2, 80, 81), ("1-65535", 65_535, 1, 65_535)]
    {
        let ports: Ports = text.parse().unwrap();
        assert_eq!((ports.count(), ports.first(), ports.last()), (count, first, last), "{text}");
    }
    assert_eq!("80-80".parse::<Ports>().unwrap().to_string(), "80");
    assert_eq!("80-90".parse::<Ports>().unwrap().to_string(), "80-90");
    for (text, said) in [
        ("0", "port 0 cannot be used"),
        ("80-0", "port 0 cannot be used"),
        ("65536", "port 65536 is too large"),
        ("81-80", "the port range 81-80 runs backwards"),
        ("", "`` is not a port number"),
        ("-80", "`` is not a port number"),
        ("+80", "`+80` is not a port number"),
        ("80-90-100", "`90-100` is not a port number"),
    ] {
        assert_eq!(text.parse::<Ports>().unwrap_err().message, said);
    }
}

#[test]
fn ranges_share_what_is_in_both() {
    for (one, other, shared) in [
        ("80-90", "85-95", Some("85-90")),
        ("80-90", "90-95", Some("90")),
        ("80-90", "91-95", None),
        ("80-90", "82-84", Some("82-84")),
        ("80", "80", Some("80")),
    ] {
        let [one, other]: [Ports; 2] = [one, other].map(|text| text.parse().unwrap());
        let shared: Option<Ports> = shared.map(|text| text.parse().unwrap());
        assert_eq!((one.shared(other), other.shared(one)), (shared, shared), "{one} {other}");
    }
}

#[test]
fn each_port_of_a_range_to_listen_on_has_its_offset() {
    let range = listen("127.0.0.1:80-82");
    let addrs: Vec<String> = range.addrs().map(|(offset, addr)| format!("{offset} {addr}")).collect();
    assert_eq!(addrs, ["0 127.0.0.1:80", "1 127.0.0.1:81", "2 127.0.0.1:82"]);
    let at = |port: u16| ListenAddr::Ip(SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port));
    for (port, offset) in [(79, None), (80, Some(0)), (82, Some(2)), (83, None)] {
        assert_eq!(
            (range.offset(&at(port)), range.contains(&at(port))),
            (offset, offset.is_some()),
            "{port}"
        );
        assert_eq!(range.offset_of([127, 0, 0, 1].into(), port), offset, "{port}");
        assert_eq!(range.offset_of([127, 0, 0, 2].into(), port), None, "{port}");
        assert_eq!(listen("80-82").offset(&ListenAddr::Any(port)), offset, "{port}");
        assert_eq!(listen("80-82").offset(&at(port)), None, "another address, whatever it takes");
        assert_eq!(listen("80-82").offset_of([127, 0, 0, 2].into(), port), offset, "{port}");
        assert_eq!(listen("0.0.0.0:80-82").offset_of([127, 0, 0, 2].into(), port), offset, "{port}");
        assert_eq!(listen("[::]:80-82").offset_of([127, 0, 0, 2].into(), port), None, "{port}");
    }
    let unix = listen("unix:/a");
    assert_eq!((unix.count(), unix.ports(), unix.offset(&ListenAddr::Unix("/a".into()))), (1, None, Some(0)));
    assert_eq!(unix.offset(&ListenAddr::Unix("/b".into())), None);
    assert_eq!(unix.offset_of([127, 0, 0, 1].into(), 80), None);
    assert_eq!(listen("80-82").ports(), "80-82".parse().ok());
}

#[test]
fn an_upstream_has_one_port_for_all_or_one_for_each() {
    let name = |port| UpstreamAddr::Name("app".into(), port);
    let range = upstream("app:80-82");
    assert_eq!([0, 1, 2, 9].map(|offset| range.at(offset)), [name(80), name(81), name(82), name(82)]);
    assert_eq!([0, 9].map(|offset| upstream("app:80").at(offset)), [name(80), name(80)]);
    assert_eq!((range.count(), range.ports()), (3, "80-82".parse().ok()));
    for (port, has) in [(79, false), (80, true), (82, true), (83, false)] {
        assert_eq!(range.contains(&name(port)), has, "{port}");
    }
    assert!(!range.contains(&UpstreamAddr::Name("other".into(), 81)));
    let ip = upstream("192.0.2.7:80-82");
    let addr = |text: &str| UpstreamAddr::Ip(text.parse().unwrap());
    assert_eq!((ip.count(), ip.at(1)), (3, addr("192.0.2.7:81")));
    assert!(ip.contains(&addr("192.0.2.7:82")) && !ip.contains(&addr("192.0.2.8:82")));
    assert!(!ip.contains(&addr("192.0.2.7:83")) && !ip.contains(&UpstreamAddr::Original));
    let unix = upstream("unix:/a");
    assert_eq!((unix.count(), unix.ports(), unix.at(5)), (1, None, UpstreamAddr::Unix("/a".into())));
    assert!(
        unix.contains(&UpstreamAddr::Unix("/a".into())) && !unix.contains(&UpstreamAddr::Unix("/b".into()))
    );
    let original = upstream("original-destination");
    assert_eq!((original.count(), original.ports(), original.at(3)), (1, None, UpstreamAddr::Original));
    assert!(original.contains(&UpstreamAddr::Original) && !original.contains(&name(80)));
}

#[test]
fn what_is_written_is_shown_again() {
    for text in ["80", "80-90", "127.0.0.1:80", "[::1]:80-90", "unix:/run/a"] {
        assert_eq!(listen(text).to_string(), text);
    }
    for text in
        ["app:80", "app.example.com:80-90", "127.0.0.1:80", "[::1]:80", "unix:/run/a", "original-destination"]
    {
        assert_eq!(upstream(text).to_string(), text);
    }
}

#[test]
fn an_ipv4_address_written_as_ipv6_is_the_ipv4_address() {
    for (text, plain) in [
        ("[::ffff:127.0.0.1]:80", "127.0.0.1:80"),
        ("[::ffff:c000:207]:80-82", "192.0.2.7:80-82"),
        ("[::FFFF:192.0.2.7]:80", "192.0.2.7:80"),
        // Not mapped: compatible, and NAT64.
        ("[::127.0.0.1]:80", "[::7f00:1]:80"),
        ("[64:ff9b::c000:207]:80", "[64:ff9b::c000:207]:80"),
    ] {
        assert_eq!(upstream(text).to_string(), plain, "{text}");
    }
    let why = "[::ffff:0.0.0.0]:80".parse::<UpstreamSpec>().unwrap_err();
    assert_eq!(why.message, "`0.0.0.0` is not an address that can be dialled");
}

#[test]
fn a_host_name_has_its_bounds() {
    let label = "x".repeat(63);
    let longest = [label.as_str(), &label, &label, &"x".repeat(61)].join(".");
    let too_long = [label.as_str(), &label, &label, &"x".repeat(62)].join(".");
    for fits in ["a", "a_b-c.4", "a.", "1a.2", &label, &longest] {
        assert_eq!(host_name(fits).as_deref(), Ok(fits));
    }
    for (name, said) in [
        ("", "there is no host before the port".to_owned()),
        ("a b", "`a b` is not a host name: ` ` cannot stand in one".to_owned()),
        ("a..b", "`a..b` is not a host name".to_owned()),
        (".", "`.` is not a host name".to_owned()),
        (&"x".repeat(64), format!("`{}` is not a host name", "x".repeat(64))),
        (&too_long, format!("`{too_long}` is not a host name")),
        ("1.2.3", "`1.2.3` is not an IPv4 address".to_owned()),
        ("256.1.1.1", "`256.1.1.1` is not an IPv4 address".to_owned()),
    ] {
        assert_eq!(host_name(name).unwrap_err().message, said);
    }
}

/// The message and its cure, in the form that is written here.
#[test]
fn what_is_no_address_has_its_cure() {
    let said = |fault: Fault| (fault.message, fault.help);
    for (text, message, cure) in [
        ("", "the address is empty", "an address is \"host:port\" or \"unix:/path\""),
        ("unix:", "`unix:` has no path", "write \"unix:/run/app.sock\""),
        ("unix:~/a", "`~/a` is not an absolute path", "write it from the root: \"unix:/run/a\""),
        ("[::1]", "`[::1]` has no port", "write \"[::1]:8080\", with the port that is meant"),
        ("[::1]80", "`[::1]80` has no port", "write \"[::1]:80\""),
        ("[a]:80", "`a` is not an IPv6 address", "in brackets stands an address such as \"[::1]:8080\""),
        ("::1:80", "`::1:80` is ambiguous: an IPv6 address stands in brackets", "write \"[::1]:80\""),
        ("::1", "`::1` has no brackets and no port", "write \"[::1]:8080\", with the port that is meant"),
        ("a:b:80", "`a:b:80` is not one address", "an address is \"host:port\" or \"unix:/path\""),
        ("::1:http", "`::1:http` is not one address", "an address is \"host:port\" or \"unix:/path\""),
        ("app", "`app` has no port", "an address is \"host:port\" or \"unix:/path\""),
    ] {
        let wanted = (message.to_owned(), cure.to_owned());
        assert_eq!(ListenSpec::read(text).map_err(said), Err(wanted.clone()), "{text}");
        assert_eq!(UpstreamSpec::read(text).map_err(said), Err(wanted), "{text}");
    }
    for (text, message) in [
        ("localhost:80", "a listener needs an address, not the name `localhost`"),
        ("*:80", "`*:80` has no address before the port"),
        (":80", "`:80` has no address before the port"),
        ("app:80", "`app` is not an IP address, and a listener needs one"),
    ] {
        assert_eq!(ListenSpec::read(text).unwrap_err().message, message);
    }
    for (text, message) in [
        ("80", "`80` has no host"),
        ("0.0.0.0:80", "`0.0.0.0` is not an address that can be dialled"),
        ("[::]:80", "`::` is not an address that can be dialled"),
        (":80", "there is no host before the port"),
    ] {
        assert_eq!(UpstreamSpec::read(text).unwrap_err().message, message);
    }
}
