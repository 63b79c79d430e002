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

#[test]
fn of_a_route_the_edit_concerns_what_leaves_its_lists() {
    let of = |listen: &str, upstream: &str, word: &str| {
        table(&format!(
            "[[route]]\nname = \"a\"\nlisten = {listen}\nupstream = {upstream}\non_change = \"{word}\"\n"
        ))
    };
    let (here, there) = ("[\"127.0.0.1:80\", \"127.0.0.1:81\"]", "\"127.0.0.1:80\"");
    let (both, one) = ("[\"a:80\", \"b:80\"]", "\"a:80\"");
    for (listen, upstream, word, told) in [
        (there, both, "cut", "; open connections of addresses that leave are cut\n"),
        (here, one, "cut", "; open connections of upstreams that leave are cut\n"),
        (there, one, "cut", "; open connections of addresses and upstreams that leave are cut\n"),
        (there, one, "keep", "; open connections go on\n"),
        (here, one, "drain", "; open connections of upstreams that leave have 30s to end\n"),
    ] {
        let plan = Plan::between(&of(here, both, word), &of(listen, upstream, word)).to_string();
        assert!(plan.lines().next().is_some_and(|line| line.ends_with(told.trim_end())), "{plan}");
    }
}

#[test]
fn each_section_alone_is_a_change_of_one_line() {
    let route = "[[route]]\nname = \"a\"\nlisten = \"127.0.0.1:80\"\nupstream = \"app:80\"\n";
    let off = "[[route]]\nname = \"b\"\nlisten = \"127.0.0.1:81\"\nupstream = \"app:81\"\nenabled = false\n";
    let usual = table(route);
    for (lines, told) in [
        ("[process]\nuser = \"www\"\n", "~ process: user www (at the next start)\n"),
        ("[log]\nlevel = \"debug\"\n", "~ log: level debug, format text, access stderr\n"),
        (
            "[limits]\nmax_connections = 5\n",
            "~ limits: max_connections 5, memory cgroup, preread_memory 64 MiB\n",
        ),
        ("[fleet]\nreplicas = 2\n", "~ fleet: replicas 2\n"),
        ("[edits]\nprobation = \"off\"\n", "~ edits: probation off\n"),
        (
            "[admin]\nlisten = \"unix:/run/a\"\n",
            "~ admin: listen unix:/run/a, token none, read_token none, mode 0600, group none\n",
        ),
        (off, "  routes with enabled = false: \"b\"\n"),
    ] {
        let new = table(&format!("{lines}{route}"));
        let plan = Plan::between(&usual, &new);
        assert_eq!((plan.is_empty(), plan.to_string().as_str()), (false, told));
        assert_eq!(plan.apply(&usual), new);
        assert_eq!(Plan::between(&new, &usual).apply(&new), usual);
    }
    let admin = table(&format!("[admin]\nlisten = \"unix:/run/a\"\n{route}"));
    assert_eq!(Plan::between(&admin, &usual).to_string(), "- admin\n");
    let held = usual.clone().holding(|name| name == "a");
    let more = Table { held: held.held, ..usual.clone() };
    let plan = Plan::between(&usual, &more);
    assert_eq!((plan.is_empty(), plan.to_string().as_str()), (false, "  routes taken out by hand: \"a\"\n"));
    assert_eq!(Plan::between(&more, &usual).to_string(), "  routes taken out by hand: none\n");
}

#[test]
fn of_more_than_six_sockets_the_first_and_the_last_are_named() {
    let told = |listen: &str| {
        let text = format!("[[route]]\nlisten = \"{listen}\"\nupstream = \"app:80\"\n");
        let plan = Plan::between(&Table::default(), &table(&text)).to_string();
        plan.split_once("open: ").unwrap().1.to_owned()
    };
    assert_eq!(
        told("10.0.0.1:80-85"),
        "10.0.0.1:80, 10.0.0.1:81, 10.0.0.1:82, 10.0.0.1:83, 10.0.0.1:84, 10.0.0.1:85\n"
    );
    assert_eq!(told("10.0.0.1:80-86"), "10.0.0.1:80 ... 10.0.0.1:86 (7)\n");
}

#[test]
fn clients_are_led_where_a_rule_of_the_firewall_stands_before_the_listener() {
    for (lines, led) in [
        ("upstream = \"app:80\"", false),
        ("upstream = \"app:80\"\nport_ranges = \"rule\"", true),
        ("upstream = \"original-destination\"\noriginal_destination = \"10.0.0.0/8\"", true),
    ] {
        let table = table(&format!("[[route]]\nlisten = \"10.0.0.1:80\"\n{lines}\n"));
        let plan = Plan::between(&Table::default(), &table);
        assert_eq!(plan.listeners.added.values().next().unwrap().is_led_to(), led, "{lines}");
    }
}
