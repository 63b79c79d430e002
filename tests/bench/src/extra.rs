//! What each program is told of the [`Extra`] of a row: in its own words, the way that its handbook has for it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::config::write;
use crate::program::Setup;
use crate::rows::Extra;
use crate::wire::NAME;

/// Whether the program ends TLS.
pub fn is_tls(setup: Setup) -> bool {
    matches!(setup.extra, Extra::Tls | Extra::Resumed)
}

/// The paths of a certificate of [`NAME`] and of its key (ECDSA, P-256), made once.
fn certificate(dir: &Path) -> Result<(String, String)> {
    let (cert, key) = (dir.join("tls.pem"), dir.join("tls.key"));
    if !cert.exists() {
        let words = "req -x509 -nodes -days 2 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1";
        let made = Command::new("openssl")
            .args(words.split(' '))
            .args(["-subj", &format!("/CN={NAME}"), "-addext", &format!("subjectAltName=DNS:{NAME}")])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&cert)
            .output()
            .context("openssl is not installed (Debian package openssl)")?;
        ensure!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
    }
    Ok((cert.display().to_string(), key.display().to_string()))
}

/// Words of the frontend's `bind`.
pub fn haproxy_bind(setup: Setup) -> Result<String> {
    if !is_tls(setup) {
        return Ok(String::new());
    }
    let (cert, key) = certificate(setup.dir)?;
    let both = fs::read_to_string(cert)? + &fs::read_to_string(key)?;
    let path = write(setup.dir, "tls-both.pem", &both)?;
    Ok(format!(" ssl crt {} ssl-min-ver TLSv1.3", path.display()))
}

/// Networks of which one has the clients.
const NETWORKS: u32 = 10_000;

/// That many networks, the clients' last.
fn networks() -> impl Iterator<Item = String> {
    let others = (1..NETWORKS).map(|n| format!("10.{}.{}.0/24", n / 256, n % 256));
    others.chain(["127.0.0.0/8".to_owned()])
}

/// Keys of the route, and what follows it.
pub fn portway(listen: SocketAddr, setup: Setup) -> Result<(String, String)> {
    Ok(match setup.extra {
        Extra::None => Default::default(),
        Extra::Tls | Extra::Resumed => {
            let (cert, key) = certificate(setup.dir)?;
            (format!("tls = {{ cert = \"{cert}\", key = \"{key}\" }}\n"), String::new())
        }
        Extra::Allow => {
            let text = networks().map(|network| network + "\n").collect::<String>();
            let path = write(setup.dir, "networks.txt", &text)?;
            (format!("allow = {{ file = \"{}\" }}\n", path.display()), String::new())
        }
        Extra::Header => ("proxy_protocol = { send = \"v2\" }\n".to_owned(), String::new()),
        Extra::Names => {
            let rest = format!(
                "\n[[route]]\nname = \"rest\"\nlisten = \"{listen}\"\nupstream = \"{}\"\n",
                setup.upstream
            );
            (format!("sni = \"{NAME}\"\n"), rest)
        }
    })
}

/// Lines of the frontend, and words of the server.
pub fn haproxy(setup: Setup) -> Result<(String, &'static str)> {
    Ok(match setup.extra {
        Extra::None | Extra::Tls | Extra::Resumed => Default::default(),
        Extra::Allow => {
            let text = networks().map(|network| network + "\n").collect::<String>();
            let path = write(setup.dir, "networks.acl", &text)?;
            (format!("  tcp-request connection reject unless {{ src -f {} }}\n", path.display()), "")
        }
        // With all that Portway says.
        Extra::Header => (
            "  unique-id-format %{+X}o\\ %ci:%cp_%fi:%fp_%Ts_%rt\n".to_owned(),
            " send-proxy-v2 proxy-v2-options crc32c,unique-id",
        ),
        Extra::Names => {
            let lines = format!(
                "  tcp-request inspect-delay 5s\n  tcp-request content accept if {{ req.ssl_hello_type 1 }}\n  \
                 use_backend named if {{ req.ssl_sni -i {NAME} }}\n"
            );
            (lines, "")
        }
    })
}

/// Lines of `stream`, lines of the server, and where it passes to.
pub fn nginx(setup: Setup) -> Result<(String, String, String)> {
    let upstream = setup.upstream.to_string();
    Ok(match setup.extra {
        Extra::None => (String::new(), String::new(), upstream),
        Extra::Tls | Extra::Resumed => {
            let (cert, key) = certificate(setup.dir)?;
            let words = format!("ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.3; ");
            (String::new(), words, upstream)
        }
        // A tree of networks; `allow` would walk through a list. Nobody is served by an empty address.
        Extra::Allow => {
            let lines = networks().map(|network| format!("{network} {upstream};\n")).collect::<String>();
            let path = write(setup.dir, "networks.conf", &lines)?;
            let geo = format!("geo $upstream {{ default \"\"; include {}; }}\n", path.display());
            (geo, String::new(), "$upstream".to_owned())
        }
        // It has version 1 only.
        Extra::Header => (String::new(), "proxy_protocol on; ".to_owned(), upstream),
        Extra::Names => {
            let map = format!(
                "map $ssl_preread_server_name $upstream {{ default {upstream}; {NAME} {upstream}; }}\n"
            );
            (map, "ssl_preread on; ".to_owned(), "$upstream".to_owned())
        }
    })
}
