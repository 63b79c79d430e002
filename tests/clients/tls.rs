//! TLS that passes through by server name, with real clients and servers: curl, `openssl s_client` and nginx.

use std::path::Path;
use std::process::{Command, Stdio};

use super::daemon::*;
use crate::harness::instance::*;

/// An nginx that says its name and how it was reached.
fn server(name: &str, port: &Port) -> String {
    format!(
        "server {{ listen {} ssl http2; ssl_certificate cert.pem; ssl_certificate_key key.pem; \
         return 200 \"{name} $ssl_protocol $server_protocol $ssl_server_name\"; }}\n",
        port.local()
    )
}

/// What curl gets from `https://NAME`.
fn curl(name: &str, port: &Port, more: &[&str]) -> String {
    let curl = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--insecure"])
        .args(["--resolve", &format!("{name}:{}:127.0.0.1", port.number)])
        .args(more)
        .arg(format!("https://{name}:{}/", port.number))
        .output()
        .unwrap();
    assert!(curl.status.success(), "{name} {more:?}: {}", String::from_utf8_lossy(&curl.stderr));
    String::from_utf8(curl.stdout).unwrap()
}

/// What `openssl s_client` says.
fn s_client(port: &Port, folder: &Path, options: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &port.local()])
        .args(options)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn curl_and_openssl_reach_the_server_that_they_name() {
    let all = ["nginx", "curl", "openssl"].iter().all(|program| has(program));
    if !can("nginx, curl and openssl", all) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let certificate = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=example.com \
                       -keyout key.pem -out cert.pem";
    let made = Command::new("openssl")
        .args(certificate.split_whitespace())
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(made.status.success());
    let [port, a, b, h1, rest] = ports();
    let conf = format!(
        "http {{ access_log off; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:tls:1m;\n{}{}{}{} }}\n",
        server("a", &a),
        server("b", &b),
        server("h1", &h1),
        server("rest", &rest)
    );
    let nginx = nginx(folder.path(), &conf, &[&a, &b, &h1, &rest]);
    let routes = [
        ("a", &a, "sni = \"a.example.com\"\nalpn = \"h2\""),
        ("b", &b, "sni = \"*.b.example.com\""),
        ("h1", &h1, "sni = \"a.example.com\""),
        ("rest", &rest, ""),
    ];
    let routes = routes.map(|(name, upstream, more)| {
        let (listen, upstream) = (port.local(), upstream.local());
        format!("[[route]]\nname = \"{name}\"\nlisten = \"{listen}\"\nupstream = \"{upstream}\"\n{more}\n")
    });
    let place = Place::with(&format!("{HEAD}{}", routes.concat()));
    let portway = Portway::run(&place.file());
    for (name, server) in
        [("a.example.com", "a"), ("x.b.example.com", "b"), ("b.example.com", "rest"), ("c.org", "rest")]
    {
        for (version, tls) in [("--tls-max=1.2", "TLSv1.2"), ("--tlsv1.3", "TLSv1.3")] {
            let version = version.replace('=', " ");
            let options: Vec<&str> = version.split(' ').chain(["--http2"]).collect();
            assert_eq!(curl(name, &port, &options), format!("{server} {tls} HTTP/2.0 {name}"));
        }
    }
    assert_eq!(curl("a.example.com", &port, &["--http1.1"]), "h1 TLSv1.3 HTTP/1.1 a.example.com");
    // A session goes on with the server that began it; without a name it is the rest's.
    for version in ["-tls1_2", "-tls1_3"] {
        let name = ["-servername", "a.example.com", version];
        let first = s_client(&port, folder.path(), &[&name[..], &["-sess_out", "session"]].concat());
        assert!(first.contains("\nNew, TLSv1."), "{first}");
        if version == "-tls1_2" {
            let again = s_client(&port, folder.path(), &[&name[..], &["-sess_in", "session"]].concat());
            assert!(again.contains("\nReused, TLSv1.2"), "{again}");
        }
    }
    assert!(s_client(&port, folder.path(), &["-noservername"]).contains("\nNew, TLSv1.3"));
    drop(nginx);
    portway.stop();
}
