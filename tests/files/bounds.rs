//! The last value that is taken, and the first beyond it. The numbers stand here a second time on purpose.

use portway::config::compile;
use portway::model::{Policy, Table, WhenDown};

const ROUTE: &str = "[[route]]\nname = \"app\"\nlisten = \"127.0.0.1:8080\"\nupstream = \"app:3000\"\n";

fn table(text: &str) -> Table {
    compile("portway.toml", text.as_bytes()).unwrap_or_else(|report| panic!("{report}")).table
}

/// The one fault of a file.
fn fault(text: &str) -> String {
    let report = compile("portway.toml", text.as_bytes()).unwrap_err();
    assert_eq!(report.count(), 1, "{report}");
    report.headline()
}

/// A route with one more line.
fn with(more: &str) -> String {
    format!("{ROUTE}{more}\n")
}

fn policy(more: &str) -> Policy {
    Policy::clone(&table(&with(more)).routes["app"].policy)
}

#[test]
fn t20_the_path_of_a_unix_socket_has_at_most_107_bytes() {
    for (length, fits) in [(107, true), (108, false)] {
        let path = format!("/run/{}", "é".repeat((length - 5) / 2) + &"x".repeat((length - 5) % 2));
        assert_eq!(path.len(), length);
        let listening = format!("[[route]]\nlisten = \"unix:{path}\"\nupstream = \"app:3000\"\n");
        let leading = format!("[[route]]\nlisten = \"127.0.0.1:8080\"\nupstream = \"unix:{path}\"\n");
        for text in [listening, leading] {
            if fits {
                assert_eq!(table(&text).routes.len(), 1);
            } else {
                assert!(fault(&text).contains("107"), "{}", fault(&text));
            }
        }
    }
    for text in [
        "[[route]]\nlisten = \"unix:/run/a\\u0000b\"\nupstream = \"app:3000\"\n",
        "[[route]]\nlisten = \"8080\"\nupstream = \"unix:/run/a\\u0000b\"\n",
    ] {
        assert!(fault(text).contains("NUL"), "{}", fault(text));
    }
}

#[test]
fn t20_a_token_has_at_least_16_characters_that_a_header_can_carry() {
    let of = |token: &str| format!("[admin]\nlisten = \"127.0.0.1:9901\"\ntoken = \"{token}\"\n{ROUTE}");
    assert!(table(&of("0123456789abcdef")).admin.is_some());
    assert!(table(&of("!123456789abcde~")).admin.is_some());
    assert!(fault(&of("0123456789abcde")).contains("shorter than 16"));
    // Sixteen characters in more bytes, and a space.
    for odd in ["0123456789abcdeé", "01234567 9abcdef", "0123456789abcdef\\u007f"] {
        assert!(fault(&of(odd)).contains("cannot carry"), "{odd}");
    }
}

#[test]
fn t20_what_a_check_sends_has_at_most_4096_bytes() {
    let send =
        |length: usize| with(&format!("health = {{ send = \"{}\", expect = \"y\" }}", "x".repeat(length)));
    assert!(table(&send(4096)).routes["app"].policy.health.is_some());
    assert!(fault(&send(4097)).contains("4096"), "{}", fault(&send(4097)));
    let steps = |count: usize| {
        let steps = vec!["{ expect = \"x\" }"; count].join(", ");
        with(&format!("health = {{ steps = [{steps}] }}"))
    };
    assert!(table(&steps(32)).routes["app"].policy.health.is_some());
    assert!(fault(&steps(33)).contains("32"), "{}", fault(&steps(33)));
    for key in ["rise", "fall"] {
        let times = |times: u32| with(&format!("health = {{ {key} = {times} }}"));
        assert!(table(&times(100)).routes["app"].policy.health.is_some());
        assert!(fault(&times(101)).contains("100"), "{}", fault(&times(101)));
        assert!(table(&times(1)).routes["app"].policy.health.is_some());
        assert!(fault(&times(0)).contains(key), "{}", fault(&times(0)));
    }
}

#[test]
fn t20_rates_go_from_one_to_a_million_and_bandwidths_from_100_bytes_to_a_tebibyte() {
    for (rate, said) in [
        ("1000000/s", None),
        ("1/h", None),
        ("1/s burst 1000000", None),
        ("1000001/s", Some("1000001")),
        ("1/s burst 1000001", Some("1000001")),
        ("0/s", Some("0")),
        ("1/s burst 0", Some("0")),
    ] {
        let text = with(&format!("rate_per_client = \"{rate}\""));
        match said {
            None => drop(table(&text)),
            Some(said) => assert!(fault(&text).contains(said), "{}", fault(&text)),
        }
    }
    for (bandwidth, said) in [
        ("100 B/s", None),
        ("1024 GiB/s", None),
        ("1099511627776 B/s", None),
        ("99 B/s", Some("too little")),
        ("1099511627777 B/s", Some("too much")),
        ("1025 GiB/s", Some("too much")),
        // Less than a byte, and more than a number holds.
        ("0 B/s", Some("too little")),
        ("18446744073709551615 GiB/s", Some("too much")),
    ] {
        let text = with(&format!("bandwidth = \"{bandwidth}\""));
        match said {
            None => drop(table(&text)),
            Some(said) => assert!(fault(&text).contains(said), "{}", fault(&text)),
        }
    }
    // Mbit are 10^6 bits, MiB 2^20 bytes.
    let down =
        |bandwidth: &str| policy(&format!("bandwidth = \"{bandwidth}\"")).bandwidth.down.unwrap().bytes();
    assert_eq!((down("8 Mbit/s"), down("1 MB/s"), down("1 MiB/s")), (1_000_000, 1_000_000, 1_048_576));
    assert_eq!((down("800 kbit/s"), down("1 kB/s"), down("1 KiB/s")), (100_000, 1000, 1024));
    assert_eq!(
        (down("1 Gbit/s"), down("1 GB/s"), down("1 GiB/s")),
        (125_000_000, 1_000_000_000, 1_073_741_824)
    );
}

#[test]
fn t20_a_weight_goes_to_1000_and_a_port_to_65535() {
    let weighed = |weight: &str| {
        format!(
            "[[route]]\nlisten = \"8080\"\nupstream = [{{ address = \"a:1\", weight = {weight} }}, \"b:1\"]\n"
        )
    };
    for fits in ["0", "1", "1000"] {
        table(&weighed(fits));
    }
    for wrong in ["1001", "-1"] {
        assert!(fault(&weighed(wrong)).contains("weight"), "{}", fault(&weighed(wrong)));
    }
    let at = |port: &str| format!("[[route]]\nlisten = \"{port}\"\nupstream = \"app:3000\"\n");
    for fits in ["1", "65535", "127.0.0.1:65535", "[::1]:1"] {
        table(&at(fits));
    }
    for wrong in ["0", "65536", "127.0.0.1:65536", "127.0.0.1:0"] {
        fault(&at(wrong));
    }
}

/// One route has the address for itself, whatever chooses it.
#[test]
fn t14_one_route_with_sni_may_refuse_and_two_may_not() {
    let led = |name: &str, when: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\nlisten = \"127.0.0.1:8443\"\nsni = \"{name}.example\"\nupstream = \"app:3000\"\n\
             when_down = \"{when}\"\n"
        )
    };
    assert_eq!(table(&led("a", "refuse")).routes["a"].policy.when_down, WhenDown::Refuse);
    let two = led("a", "refuse") + &led("b", "reset");
    assert!(fault(&two).contains("where routes share an address"), "{}", fault(&two));
    table(&(led("a", "reset") + &led("b", "reset")));
}

#[test]
fn t15_upstream_false_is_no_tls_to_the_upstream() {
    let tls = |value: &str| {
        policy(&format!("tls = {{ cert = \"a.pem\", key = \"a.key\", upstream = {value} }}")).tls
    };
    assert!(tls("false").upstream.is_none() && tls("false").clients.is_some());
    assert!(tls("true").upstream.is_some() && tls("true").clients.is_some());
    assert!(tls("{ ca = \"ca.pem\" }").upstream.is_some());
}
