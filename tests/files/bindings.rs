//! Whether an edit of a listener changes what its clients meet.

use portway::config::{Plan, compile};
use portway::model::{Fault, ListenAddr};

#[test]
fn a_listener_that_only_its_mode_changes_serves_as_before() {
    let table = |mode: &str, upstream: &str| {
        let listen = format!("{{ address = \"unix:/run/app.sock\", mode = \"{mode}\" }}");
        let text = format!("[[route]]\nname = \"app\"\nlisten = {listen}\nupstream = \"{upstream}\"\n");
        compile("portway.toml", text.as_bytes()).unwrap().table
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
