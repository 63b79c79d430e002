//! Faults that only trying finds: each is shown where the value stands that is to blame.

use std::path::Path;
use std::sync::Arc;

use portway::config::{Compiled, RouteFile, RouteFiles, ValueFault, compile, join};
use portway::model::{Fault, ListenAddr};

fn compiled(text: &str) -> Compiled {
    compile("portway.toml", text.as_bytes()).unwrap_or_else(|report| panic!("{report}"))
}

fn fault(message: &str) -> Fault {
    Fault::new(message, "cure")
}

const FILES: &str = "[admin]
listen = \"127.0.0.1:9180\"
token = { env = \"APP_TOKEN\" }
read_token = { file = \"read.token\" }
[[route]]
name = \"nets.txt\"
listen = \"8443\"
upstream = \"app:80\"
allow = { file = \"nets.txt\" }
tls = { cert = \"a.pem\", key = \"a.key\", client_ca = \"ca.pem\", crl = [\"one.pem\", \"two.pem\"] }
[[route]]
name = \"b\"
listen = \"8444\"
upstream = \"app:81\"
tls = { upstream = { ca = \"up.pem\", key = \"both.pem\", cert = \"both.pem\" } }
deny = { file = \"nets.txt\" }
";

#[test]
fn a_file_that_cannot_be_read_is_shown_where_it_is_named() {
    let compiled = compiled(FILES);
    for (path, place) in [
        ("APP_TOKEN", "portway.toml:3:17: gone; cure"),
        ("read.token", "portway.toml:4:23: gone; cure"),
        // The first that names it, and no name of a route.
        ("nets.txt", "portway.toml:9:18: gone; cure"),
        ("a.pem", "portway.toml:10:16: gone; cure"),
        ("a.key", "portway.toml:10:31: gone; cure"),
        ("ca.pem", "portway.toml:10:52: gone; cure"),
        ("one.pem", "portway.toml:10:69: gone; cure"),
        ("two.pem", "portway.toml:10:80: gone; cure"),
        ("up.pem", "portway.toml:15:27: gone; cure"),
        // The first in the text, whatever the order of its keys.
        ("both.pem", "portway.toml:15:43: gone; cure"),
        ("8443", "portway.toml: gone; cure"),
    ] {
        let report = compiled.file_faults(&[(path.into(), fault("gone"))]);
        assert_eq!((report.count(), report.headline().as_str()), (1, place));
    }
    let both = compiled.file_faults(&[("two.pem".into(), fault("late")), ("a.pem".into(), fault("early"))]);
    assert_eq!(both.headline(), "portway.toml:10:16: early; cure (and 1 more fault)");
    assert_eq!(compiled.file_faults(&[]).count(), 0);
}

#[test]
fn a_file_of_an_included_file_begins_at_its_folder() {
    let main = "include = \"routes.d/*.toml\"\n[[route]]\nlisten = \"8080\"\nupstream = \"app:80\"\n\
        allow = { file = \"nets.txt\" }\ndeny = { file = \"/etc/deny.txt\" }\n";
    let included = "[[route]]\nlisten = \"8081\"\nupstream = \"app:81\"\nallow = { file = \"nets.txt\" }\n\
        deny = { file = \"/etc/deny.txt\" }\n";
    let mut files = RouteFiles::new(RouteFile::main("portway.toml", main.as_bytes()).unwrap());
    let path = Path::new("routes.d/b.toml");
    let mut file = RouteFile::included("routes.d/b.toml", included.as_bytes(), path).unwrap();
    file.move_to(files.next_place());
    files.insert(path.to_owned(), Arc::new(file));
    let compiled = join(files, 0).unwrap();
    for (path, place) in [
        ("nets.txt", "portway.toml:5:18: gone; cure"),
        ("routes.d/nets.txt", "routes.d/b.toml:4:18: gone; cure"),
        // Of both that name it, the file that came last.
        ("/etc/deny.txt", "routes.d/b.toml:5:17: gone; cure"),
        ("routes.d/b.toml", "portway.toml: gone; cure"),
    ] {
        let report = compiled.file_faults(&[(path.into(), fault("gone"))]);
        assert_eq!((report.count(), report.headline().as_str()), (1, place));
    }
    let faults = ["nets.txt", "routes.d/nets.txt"].map(|path| (path.into(), fault("gone")));
    let report = compiled.file_faults(&faults);
    assert_eq!(report.count(), 2);
    assert!(report.about("portway.toml").is_some_and(|part| part.count() == 1));
    assert!(report.about("routes.d/b.toml").is_some_and(|part| part.count() == 1));
    let listens = [(ListenAddr::Any(8081), fault("taken")), (ListenAddr::Any(8080), fault("odd"))];
    let report = compiled.listen_faults(&listens);
    assert_eq!(report.about("routes.d/b.toml").unwrap().headline(), "routes.d/b.toml:2:10: taken; cure");
    assert_eq!(report.about("portway.toml").unwrap().headline(), "portway.toml:3:10: odd; cure");
}

#[test]
fn a_value_that_cannot_be_used_is_shown_where_it_stands() {
    let text = "[[route]]\nname = \"eth0\"\nlisten = \"8080\"\n\
        upstream = [{ address = \"app:80\", source = { interface = \"eth0\" } }, \"other:80\"]\n\
        source = { mark = 0x10, address = \"10.0.0.5\" }\nmax_connections = 17\n";
    let compiled = compiled(text);
    let keys: &[&str] = &["source", "address", "interface", "mark"];
    for (keys, value, place) in [
        (keys, "eth0", "portway.toml:4:58: odd; cure"),
        (keys, "10.0.0.5", "portway.toml:5:35: odd; cure"),
        // A number is what it is, however it is written.
        (keys, "16", "portway.toml:5:19: odd; cure"),
        (keys, "0x10", "portway.toml: odd; cure"),
        (keys, "17", "portway.toml: odd; cure"),
        (&["max_connections"], "17", "portway.toml:6:19: odd; cure"),
        (&["name"], "eth0", "portway.toml:2:8: odd; cure"),
        (&["mark"], "10.0.0.5", "portway.toml: odd; cure"),
    ] {
        let report =
            compiled.value_faults(&[ValueFault { keys, value: value.to_owned(), fault: fault("odd") }]);
        assert_eq!((report.count(), report.headline().as_str()), (1, place), "{value}");
    }
}

#[test]
fn sockets_that_cannot_be_had_for_one_reason_or_of_one_range_are_one_fault() {
    let text = "[admin]\nlisten = \"127.0.0.1:9180\"\n[[route]]\nlisten = [\"127.0.0.1:8000-8003\", \"127.0.0.1:9000\"]\n\
        upstream = \"app:80\"\n[[route]]\nlisten = \"127.0.0.2:9000\"\nupstream = \"app:80\"\n";
    let compiled = compiled(text);
    let told = |faults: &[(&str, &str)]| {
        let of = |(addr, message): &(&str, &str)| (ListenAddr::Ip(addr.parse().unwrap()), fault(message));
        compiled.listen_faults(&faults.iter().map(of).collect::<Vec<_>>()).headline()
    };
    let (range, one, other, admin, none) =
        ("127.0.0.1:8000", "127.0.0.1:9000", "127.0.0.2:9000", "127.0.0.1:9180", "127.0.0.3:1");
    assert_eq!(told(&[(admin, "taken")]), "portway.toml:2:10: taken; cure");
    assert_eq!(
        told(&[(range, "taken"), (one, "taken"), (other, "taken")]),
        "portway.toml:4:11: taken (and 2 more so); cure"
    );
    assert_eq!(
        told(&[(range, "taken"), ("127.0.0.1:8003", "odd")]),
        "portway.toml:4:11: taken (and 1 more so); cure"
    );
    assert_eq!(told(&[(one, "taken"), (other, "odd")]), "portway.toml:4:34: taken; cure (and 1 more fault)");
    assert_eq!(told(&[(none, "taken"), (none, "odd")]), "portway.toml: odd; cure (and 1 more fault)");
    assert_eq!(told(&[(none, "taken"), (none, "taken")]), "portway.toml: taken (and 1 more so); cure");
}

#[test]
fn a_user_who_is_not_there_is_shown_where_he_is_named() {
    let route = "[[route]]\nlisten = \"8080\"\nupstream = \"app:80\"\n";
    for (lines, place) in [
        ("[process]\nuser = \"nobody-2\"\n", "portway.toml:2:8: gone; cure"),
        ("[log]\nlevel = \"info\"\n[process]\nuser = 33\n", "portway.toml:4:8: gone; cure"),
        ("", "portway.toml: gone; cure"),
    ] {
        assert_eq!(compiled(&format!("{lines}{route}")).user_fault(fault("gone")).headline(), place);
    }
    let whole = compiled(route).about(fault("gone"));
    assert_eq!((whole.headline().as_str(), whole.count()), ("portway.toml: gone; cure", 1));
    for (lines, place) in [
        (route.to_owned(), "portway.toml: gone; cure"),
        (format!("include = [\"a.toml\"]\n{route}"), "portway.toml:1:11: gone; cure"),
    ] {
        let main = RouteFile::main("portway.toml", lines.as_bytes()).unwrap();
        assert_eq!(main.include_fault(fault("gone")).headline(), place);
    }
}
