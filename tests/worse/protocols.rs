//! Mistakes of TLS, server names and PROXY headers.

use super::cases::{CHECKED, Case, DB, DNS, NAMED, WEB, defaults, one};
use super::clients::Client::*;

const ENDS: &str = "upstream = \"{web}\"\ntls = { cert = \"app.pem\", key = \"app.key\" }";
const BEGINS: &str =
    "upstream = \"{app}\"\ntls = { upstream = { ca = \"ca.pem\", server_name = \"app.test\" } }";

pub fn tls() -> Vec<Case> {
    let ends = |name, client, after: &str| one(name, client, ENDS, after);
    let begins = |name, after: &str| one(name, &[Web], BEGINS, after);
    let strict =
        "upstream = \"{strict}\"\ntls = { upstream = { ca = \"ca.pem\", server_name = \"app.test\"MEMBER } }";
    let with = |member| strict.replace("MEMBER", member);
    let pair =
        |name| format!("upstream = \"{{web}}\"\ntls = {{ cert = \"{name}.pem\", key = \"{name}.key\" }}");
    vec![
        one("TLS towards a plain server", &[Web], WEB, "upstream = \"{web}\"\ntls = { upstream = true }"),
        begins("TLS towards a plain server, with an authority", &BEGINS.replace("{app}", "{web}")),
        begins("another server name than that of the upstream", &BEGINS.replace("app.test", "db.test")),
        begins("another authority than that of the upstream", &BEGINS.replace("ca.pem", "other-ca.pem")),
        begins("the system's authorities for one's own", "upstream = \"{app}\"\ntls = { upstream = true }"),
        one(
            "plain towards a TLS server, which is checked",
            &[Web],
            &format!("{BEGINS}\n{}", CHECKED.split_once('\n').unwrap().1),
            &CHECKED.replace("{web}", "{app}"),
        ),
        one(
            "no certificate for a server that wants one",
            &[Web],
            &with(", cert = \"member.pem\", key = \"member.key\""),
            &with(""),
        ),
        one("TLS ends where clients speak none", &[Web], WEB, ENDS),
        ends("TLS no longer ends: the server behind answers, with an error", &[Tls("app.test")], WEB),
        ends("the certificate of another name", &[Tls("app.test")], &pair("shop")),
        ends("a certificate that has expired", &[Tls("app.test")], &pair("expired")),
        ends("a certificate that clients do not know", &[Tls("app.test")], &pair("stranger")),
        ends(
            "clients without a certificate must have one",
            &[Tls("app.test")],
            "upstream = \"{web}\"\ntls = { cert = \"app.pem\", key = \"app.key\", client_ca = \"ca.pem\" }",
        ),
        one(
            "clients must have a certificate of others",
            &[Member],
            "upstream = \"{web}\"\ntls = { cert = \"app.pem\", key = \"app.key\", client_ca = \"ca.pem\" }",
            "upstream = \"{web}\"\ntls = { cert = \"app.pem\", key = \"app.key\", client_ca = \"other-ca.pem\" }",
        ),
        one(
            "a list of revoked certificates that is another authority's",
            &[Member],
            "upstream = \"{web}\"\ntls = { cert = \"app.pem\", key = \"app.key\", client_ca = \"ca.pem\", crl = \"crl.pem\" }",
            "upstream = \"{web}\"\ntls = { cert = \"app.pem\", key = \"app.key\", client_ca = \"ca.pem\", crl = \"other-crl.pem\" }",
        ),
        defaults(
            "TLS for all, of which one speaks none",
            &[Web],
            "tls = { cert = \"app.pem\", key = \"app.key\" }",
            WEB,
        ),
    ]
}

pub fn names() -> Vec<Case> {
    let app = |name, after: &str| one(name, &[Tls("app.test")], NAMED, after);
    let both = |a: &str, b: &str| {
        format!(
            "[[route]]\nname = \"a\"\nlisten = \"127.0.0.1:{{1}}\"\nupstream = \"{{app}}\"\nsni = \"{a}\"\n\
             [[route]]\nname = \"b\"\nlisten = \"127.0.0.1:{{1}}\"\nupstream = \"{{shop}}\"\nsni = \"{b}\"\n"
        )
    };
    vec![
        app("a server name that nobody asks for", "upstream = \"{app}\"\nsni = \"ap.test\""),
        app("a pattern that leaves out the name itself", "upstream = \"{app}\"\nsni = \"*.app.test\""),
        app("a protocol that nobody offers", "upstream = \"{app}\"\nsni = \"app.test\"\nalpn = \"h9\""),
        one(
            "a server name where clients speak no TLS",
            &[Web],
            WEB,
            "upstream = \"{web}\"\nsni = \"app.test\"\nsniff_timeout = \"1s\"",
        ),
        Case {
            name: "two server names are swapped",
            clients: &[Tls("app.test")],
            before: both("app.test", "shop.test"),
            after: both("shop.test", "app.test"),
        },
    ]
}

pub fn headers() -> Vec<Case> {
    let sends = |to: &str, version: &str| {
        format!("upstream = \"{{{to}}}\"\nproxy_protocol = {{ send = \"{version}\" }}")
    };
    let accepts = |trusted: &str, to: &str| {
        format!("upstream = \"{{{to}}}\"\nproxy_protocol = {{ accept = true, trusted = [\"{trusted}\"] }}")
    };
    vec![
        one("a header for a server that knows none", &[Db], DB, &sends("db", "v2")),
        one("a header of version 1 for a server that knows none", &[Db], DB, &sends("db", "v1")),
        one(
            "a header for a web server, which is checked",
            &[Web],
            CHECKED,
            &format!("{CHECKED}\nproxy_protocol = {{ send = \"v2\" }}"),
        ),
        one("no header for a server that wants one", &[Web], &sends("v2", "v2"), "upstream = \"{v2}\""),
        one("version 1 for version 2", &[Web], &sends("v2", "v2"), &sends("v2", "v1")),
        one("version 2 for version 1", &[Web], &sends("v1", "v1"), &sends("v1", "v2")),
        one("a header is read where clients send none", &[Web], WEB, &accepts("127.0.0.0/8", "web")),
        one(
            "a header is no longer read, in front of a database",
            &[BehindDb],
            &accepts("127.0.0.0/8", "db"),
            DB,
        ),
        one(
            "the balancer is not trusted",
            &[Behind],
            &accepts("127.0.0.0/8", "web"),
            &accepts("10.0.0.0/8", "web"),
        ),
        one(
            "UDP: a header for a server that knows none",
            &[Udp],
            DNS,
            &format!("{DNS}\nproxy_protocol = {{ send = \"v2\" }}"),
        ),
        defaults(
            "a header for all, of which one knows none",
            &[Db],
            "proxy_protocol = { send = \"v2\" }",
            DB,
        ),
    ]
}
