//! Whether an edit of a listener changes what its clients meet.

use portway::config::{Plan, compile};
use portway::model::{Fault, ListenAddr, Table};

fn table(text: &str) -> Table {
    compile("portway.toml", text.as_bytes()).unwrap_or_else(|report| panic!("{report}")).table
}

#[test]
fn a_listener_that_only_its_mode_changes_serves_as_before() {
    let table = |mode: &str, upstream: &str| {
        let listen = format!("{{ address = \"unix:/run/app.sock\", mode = \"{mode}\" }}");
        self::table(&format!("[[route]]\nname = \"app\"\nlisten = {listen}\nupstream = \"{upstream}\"\n"))
    };
    let old = table("0660", "app:80");
    for (new, alike) in [(table("0600", "app:80"), true), (table("0600", "other:80"), false)] {
        let plan = Plan::between(&old, &new);
        let (before, after) = plan.listeners.changed.values().next().unwrap();
        assert_eq!(before.serves_like(after), alike, "{plan}");
    }
}

#[test]
fn the_ports_of_a_range_that_cannot_be_opened_are_one_fault() {
    let text = "[[route]]\nlisten = \"127.0.0.1:8000-8003\"\nupstream = \"app:9000-9003\"\n";
    let compiled = compile("portway.toml", text.as_bytes()).unwrap();
    let fault = Fault::new("the address is in use", "stop the other program");
    let taken = |ports: &[u16]| {
        let of = |port: &u16| (ListenAddr::Ip(([127, 0, 0, 1], *port).into()), fault.clone());
        let report = compiled.listen_faults(&ports.iter().map(of).collect::<Vec<_>>());
        assert_eq!(report.count(), 1);
        report.render(false)
    };
    assert!(taken(&[8001]).starts_with("error: the address is in use\n"), "{}", taken(&[8001]));
    assert!(taken(&[8001, 8002]).starts_with("error: the address is in use (and 1 more so)\n"));
    assert!(taken(&[8000, 8001, 8003]).starts_with("error: the address is in use (and 2 more so)\n"));
}

#[test]
fn the_hello_is_read_where_it_chooses_the_route() {
    let route = |name: &str, more: &str| {
        format!("[[route]]\nname = \"{name}\"\nlisten = \"127.0.0.1:8443\"\nupstream = \"app:80\"\n{more}\n")
    };
    let (rest, chosen) = (route("rest", ""), route("chosen", "sni = \"a.example\""));
    let other = route("other", "alpn = \"h2\"");
    for (text, read, first) in [
        (rest.clone(), false, "rest"),
        (chosen.clone(), true, "chosen"),
        (format!("{chosen}{rest}"), true, "rest"),
        (format!("{rest}{chosen}"), true, "rest"),
        (format!("{other}{rest}{chosen}"), true, "rest"),
    ] {
        let plan = Plan::between(&Table::default(), &table(&text));
        let binding = plan.listeners.added.values().next().unwrap();
        assert_eq!((binding.is_sniffed(), binding.route.name.as_str()), (read, first), "{text}");
        let names: Vec<_> = binding.routes().skip(1).map(|route| route.name.as_str()).collect();
        assert_eq!(names.len(), text.matches("[[route]]").count() - 1);
        assert!(names.is_sorted() && !names.contains(&first), "{names:?}");
    }
}

#[test]
fn a_mode_alone_is_a_change() {
    let of = |mode: &str| {
        let listen = format!("{{ address = \"unix:/run/app.sock\", mode = \"{mode}\" }}");
        table(&format!("[[route]]\nname = \"app\"\nlisten = {listen}\nupstream = \"app:80\"\n"))
    };
    let plan = Plan::between(&of("0660"), &of("0600"));
    assert!(!plan.is_empty() && plan.routes.is_empty());
    assert_eq!(plan.to_string(), "~ unix:/run/app.sock: mode 0660 -> 0600\n");
    assert_eq!(plan.apply(&of("0660")), of("0600"));
    let same = Plan::between(&of("0660"), &of("0660"));
    assert!(same.is_empty());
    assert_eq!(same.to_string(), "nothing changes\n");
}

#[test]
fn an_edit_may_concern_all_connections_and_some_sessions() {
    let of = |upstream: &str, more: &str| {
        table(&format!(
            "[[route]]\nname = \"dns\"\nprotocol = \"tcp+udp\"\nlisten = \"127.0.0.1:53\"\nupstream = \"{upstream}\"\n\
             on_change = \"cut\"\n{more}\n"
        ))
    };
    let old = of("ns-1:53", "");
    for (upstream, more, told) in [
        ("ns-2:53", "", "; open connections and sessions of upstreams that leave are cut\n"),
        (
            "ns-2:53",
            "keepalive = \"5s\"",
            "; open connections, and sessions of upstreams that leave, are cut\n",
        ),
        ("ns-2:53", "max_replies = 1", "; open connections of upstreams that leave, and sessions, are cut\n"),
        ("ns-1:53", "keepalive = \"5s\"", "; open connections are cut\n"),
        ("ns-1:53", "max_replies = 1", "; sessions are cut\n"),
        ("ns-1:53", "connect_timeout = \"1s\"", "; open connections and sessions are cut\n"),
        ("ns-1:53", "allow = \"10.0.0.0/8\"", "; what is open goes on\n"),
    ] {
        let plan = Plan::between(&old, &of(upstream, more)).to_string();
        assert!(plan.starts_with("~ route \"dns\": ") && plan.ends_with(told), "{upstream} {more}: {plan}");
    }
}
