//! Who may do what, and how edits of `[admin]` take effect.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::asker::{Asker, portway, socket, start};
use crate::harness::instance::{Backend, HEAD, Place, Port, Portway, file, reached, route};
use crate::harness::until;

const TOKEN: &str = "s3cret-0123456789abcdef";
const READ: &str = "r3ad-0123456789abcdef";

/// For reading, and for changing.
fn may(asker: &Asker) -> [u16; 2] {
    [asker.ask("GET", "/v1/status", "").status, asker.ask("POST", "/v1/kill", "{\"ids\":[1]}").status]
}

fn with_token(port: u16, token: &str) -> Asker {
    Asker::tcp(port).with(&format!("Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"))
}

#[test]
fn reading_and_changing_are_two_rights() {
    let (port, admin, backend) = (Port::reserve(), Port::reserve(), Backend::named("one"));
    let text = |more: &str| {
        let listen = admin.local();
        format!("{HEAD}[admin]\nlisten = \"{listen}\"\n{more}{}", route("web", &port.local(), &backend, ""))
    };
    let place = Place::with(&text(""));
    let mut proxy = Portway::run(&place.file());
    let asker = Asker::tcp(admin.number);
    assert_eq!(may(&asker), [200, 403]);
    assert_eq!(asker.ask("GET", "/healthz", "").body, "ok\n");
    // The command says what to do.
    let kill = portway(&place.file(), &["kill", "1"]);
    assert!(kill.err.contains("changing needs a token") && kill.code == 1, "{kill:?}");

    place.save(&text(&format!("token = \"{TOKEN}\"\n")));
    proxy.phase("reloaded");
    assert_eq!(may(&asker), [200, 401]);
    assert_eq!(may(&with_token(admin.number, "s3cret-0123456789abcdeX")), [200, 401]);
    assert_eq!(may(&with_token(admin.number, TOKEN)), [200, 200]);
    // The command takes it from the file.
    assert!(portway(&place.file(), &["reload"]).out.contains("nothing changed"));

    place.save(&text(&format!("token = \"{TOKEN}\"\nread_token = \"{READ}\"\n")));
    proxy.phase("reloaded");
    assert_eq!(may(&asker), [401, 401]);
    assert_eq!(may(&with_token(admin.number, READ)), [200, 401]);
    assert_eq!(may(&with_token(admin.number, TOKEN)), [200, 200]);
    let unauthorized = asker.ask("GET", "/metrics", "");
    assert!(unauthorized.head.contains("www-authenticate: Bearer"), "{unauthorized:?}");
    for probe in ["/healthz", "/readyz"] {
        assert_eq!(asker.ask("GET", probe, "").status, 200, "{probe} needs no right");
    }
    // A fault beside it, and a misspelt key: no picture shows the secret.
    place.save(&text(&format!("token = \"{TOKEN}\"\nread_tokn = \"{READ}\"\nx = 1\n")));
    proxy.refused();
    let status = with_token(admin.number, TOKEN).get("/v1/status").to_string();
    let check = portway(&place.file(), &["check"]);
    assert!(check.err.contains("did you mean `read_token`"), "{}", check.err);
    for text in [proxy.log(), status, check.err] {
        assert!(!text.contains("s3cret") && !text.contains("r3ad"), "{text}");
    }
    proxy.stop();
}

#[test]
fn a_page_of_another_origin_is_refused() {
    let (port, admin, backend) = (Port::reserve(), Port::reserve(), Backend::named("one"));
    let listen = admin.local();
    let head = format!("{HEAD}[admin]\nlisten = \"{listen}\"\ntoken = \"{TOKEN}\"\n");
    let place = Place::with(&(head + &route("web", &port.local(), &backend, "")));
    let proxy = Portway::run(&place.file());
    let ask = |head: String| Asker::tcp(admin.number).with(&head).ask("GET", "/v1/routes", "").status;
    assert_eq!(ask(format!("Host: {listen}\r\n")), 200);
    assert_eq!(ask(format!("Host: localhost:{}\r\n", admin.number)), 200);
    assert_eq!(ask(format!("Host: {listen}\r\nOrigin: http://{listen}\r\n")), 200);
    assert_eq!(
        ask(format!("Host: evil.example:{}\r\n", admin.number)),
        421,
        "a name led here (DNS rebinding)"
    );
    assert_eq!(ask(String::new()), 421);
    assert_eq!(ask(format!("Host: {listen}\r\nOrigin: http://evil.example\r\n")), 403);
    assert_eq!(ask(format!("Host: {listen}\r\nOrigin: null\r\n")), 403);
    assert_eq!(
        ask(format!("Host: proxy.example\r\nAuthorization: Bearer {TOKEN}\r\n")),
        200,
        "no page knows it"
    );
    proxy.stop();
}

#[test]
fn a_unix_socket_is_its_owners_alone() {
    let (port, backend) = (Port::reserve(), Backend::named("one"));
    let (place, proxy, asker) = start(&route("web", &port.local(), &backend, ""));
    let mode = std::fs::metadata(socket(&place)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(may(&asker), [200, 200]);
    proxy.stop();
    assert!(!socket(&place).exists(), "it takes its file with it");
}

#[test]
fn an_edit_moves_closes_and_opens_the_endpoint() {
    let (port, admin, backend) = (Port::reserve(), Port::reserve(), Backend::named("one"));
    let routes = route("web", &port.local(), &backend, "");
    let (place, mut proxy, asker) = start(&routes);
    let sockets = proxy.sockets();
    // Another key: its socket is not touched.
    let with_token = super::asker::head(&place) + &format!("token = \"{TOKEN}\"\n") + &routes;
    place.save(&with_token);
    proxy.phase("reloaded");
    asker.get("/v1/status");
    assert!(sockets.iter().all(|socket| proxy.sockets().contains(socket)), "a socket was opened anew");
    // Elsewhere. One that is in use is a fault, and the old one stays.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = |listen: &str| format!("{HEAD}[admin]\nlisten = \"{listen}\"\n{routes}");
    place.save(&at(&taken.local_addr().unwrap().to_string()));
    let fault = proxy.refused();
    assert!(fault.contains("cannot listen on") && fault.contains(":5:10"), "{fault}");
    assert_eq!(asker.get("/v1/status")["reload"]["outcome"], "refused");
    place.save(&at(&admin.local()));
    proxy.phase("reloaded");
    Asker::tcp(admin.number).get("/v1/status");
    until("the old socket is gone", || !socket(&place).exists());
    // Gone with its section, and back.
    place.save(&file(&[("web", port.local(), &backend)]));
    proxy.phase("reloaded");
    until("nobody listens", || crate::harness::instance::is_refused(admin.number));
    assert_eq!(portway(&place.file(), &["status"]).code, 2, "nobody says whom to ask");
    assert_eq!(reached(port.number), "one");
    place.save(&at(&admin.local()));
    proxy.phase("reloaded");
    assert_eq!(Asker::tcp(admin.number).get("/v1/status")["generation"], json!(5));
    proxy.stop();
}

#[test]
fn an_endpoint_for_everybody_needs_a_token_and_an_address_of_its_own() {
    let backend = Backend::named("one");
    for (admin, fault) in [
        ("listen = \"9180\"", "who can reach this address could read and change everything"),
        ("listen = \"0.0.0.0:9180\"", "who can reach this address could read and change everything"),
        ("listen = \"127.0.0.1:9180\"\ntoken = \"short\"", "shorter than 16 characters"),
        ("listen = \"127.0.0.1:9180\"\ntoken = 1234567890123456", "`token` takes text"),
        ("listen = \"127.0.0.1:9180-9190\"", "the admin endpoint has one port"),
        ("listen = \"127.0.0.1:8080\"", "the admin endpoint and a route both listen on 127.0.0.1:8080"),
        ("token = \"0123456789abcdef\"", "`[admin]` has no `listen`"),
    ] {
        let text = format!("{HEAD}[admin]\n{admin}\n{}", route("web", "127.0.0.1:8080", &backend, ""));
        let place = Place::with(&text);
        let check = portway(&place.file(), &["check"]);
        assert!(check.code == 2 && check.err.contains(fault), "{admin}: {}", check.err);
    }
    let place = Place::with(&format!(
        "{HEAD}[admin]\nlisten = \"9180\"\ntoken = \"{TOKEN}\"\n{}",
        route("web", "127.0.0.1:8080", &backend, "")
    ));
    assert_eq!(portway(&place.file(), &["check"]).code, 0);
}
