//! The PROXY protocol with those who speak it: HAProxy and nginx before and behind Portway, and curl.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::harness::*;

/// A program that runs until it is dropped.
struct Daemon(Child);

impl Daemon {
    /// Starts it, and waits until it listens on all of these.
    fn start(command: &mut Command, ports: &[&Port]) -> Daemon {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let mut daemon = Daemon(child);
        for port in ports {
            let deadline = std::time::Instant::now() + PATIENCE;
            while TcpStream::connect(port.local()).is_err() {
                let ended = daemon.0.try_wait().unwrap();
                assert!(ended.is_none(), "{command:?} ended: {ended:?}");
                assert!(std::time::Instant::now() < deadline, "{command:?} does not listen");
                pace(std::time::Duration::from_millis(10));
            }
        }
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn has(program: &str) -> bool {
    Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap().status.success()
}

fn haproxy(folder: &Path, sections: &str, ports: &[&Port]) -> Daemon {
    let file = folder.join("haproxy.cfg");
    let head =
        "global\n maxconn 100\ndefaults\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n";
    std::fs::write(&file, format!("{head}{sections}")).unwrap();
    Daemon::start(Command::new("haproxy").args(["-db", "-q", "-f"]).arg(file), ports)
}

fn nginx(folder: &Path, sections: &str, ports: &[&Port]) -> Daemon {
    let file = folder.join("nginx.conf");
    let head = "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\ndaemon off;\nmaster_process off;\n\
                pid nginx.pid;\nerror_log stderr;\nevents {}\n";
    std::fs::write(&file, format!("{head}{sections}")).unwrap();
    Daemon::start(Command::new("nginx").arg("-q").arg("-p").arg(folder).arg("-c").arg(file), ports)
}

/// What curl gets, coming from 127.0.7.7.
fn curl(port: &Port, more: &[&str]) -> String {
    let curl = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--interface", "127.0.7.7"])
        .args(more)
        .arg(format!("http://{}/", port.local()))
        .output()
        .unwrap();
    assert!(curl.status.success(), "{more:?}: {}", String::from_utf8_lossy(&curl.stderr));
    String::from_utf8(curl.stdout).unwrap()
}

fn ports<const N: usize>() -> [Port; N] {
    std::array::from_fn(|_| Port::reserve())
}

#[test]
fn haproxy_nginx_and_curl_before_portway_and_haproxy_and_nginx_behind_it() {
    let stream = Path::new("/usr/lib/nginx/modules/ngx_stream_module.so").exists();
    let all = stream && ["haproxy", "nginx", "curl"].iter().all(|program| has(program));
    if !can("haproxy, nginx with its stream module, and curl", all) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [to_haproxy_1, to_haproxy_2, to_nginx_1, to_nginx_2] = ports();
    let [behind_haproxy, behind_nginx, before_1, before_2, before_nginx] = ports();
    let routes = [
        (&to_haproxy_1, &behind_haproxy, "v1"),
        (&to_haproxy_2, &behind_haproxy, "v2"),
        (&to_nginx_1, &behind_nginx, "v1"),
        (&to_nginx_2, &behind_nginx, "v2"),
    ];
    for (to, behind, version) in routes {
        // Before Portway.
        let servers: String = [(&before_1, ""), (&before_2, "-v2")]
            .map(|(port, version)| {
                let options =
                    if version.is_empty() { "" } else { "proxy-v2-options crc32c,unique-id check inter 200" };
                format!(
                    "listen before{version}\n mode tcp\n bind {}\n unique-id-format %ci:%cp\n \
                     server portway {} send-proxy{version} {options}\n",
                    port.local(),
                    to.local()
                )
            })
            .concat();
        let behind_it = format!(
            "frontend behind\n mode http\n bind {} accept-proxy\n http-request return status 200 content-type \
             text/plain lf-string \"%[src] %[fc_pp_unique_id]\"\n",
            behind_haproxy.local()
        );
        let nginx_conf = format!(
            "stream {{ server {{ listen {}; proxy_pass {}; proxy_protocol on; }} }}\nhttp {{ access_log off; \
             server {{ listen {} proxy_protocol; location / {{ return 200 \"$proxy_protocol_addr \"; }} }} }}\n",
            before_nginx.local(),
            to.local(),
            behind_nginx.local()
        );
        let text = format!(
            "{HEAD}[[route]]\nname = \"app\"\nlisten = \"{}\"\nupstream = \"{}\"\nallow = \"127.0.7.7\"\n\
             proxy_protocol = {{ accept = true, trusted = [\"127.0.0.0/8\"], send = \"{version}\" }}\n",
            to.local(),
            behind.local()
        );
        let place = Place::with(&text);
        let portway = Portway::run(&place.file());
        let haproxy = haproxy(
            folder.path(),
            &format!("{servers}{behind_it}"),
            &[&before_1, &before_2, &behind_haproxy],
        );
        let nginx = nginx(folder.path(), &nginx_conf, &[&before_nginx, &behind_nginx]);
        for (port, how) in
            [(to, &["--haproxy-protocol"][..]), (&before_1, &[]), (&before_2, &[]), (&before_nginx, &[])]
        {
            let answer = curl(port, how);
            let (client, id) = answer.split_once(' ').unwrap();
            assert_eq!(client, "127.0.7.7", "{answer:?}, {how:?} by {version}");
            let from_haproxy = port.number == before_2.number;
            let expected = match (version, std::ptr::eq(behind, &behind_haproxy)) {
                // The name that HAProxy gave before us, or ours.
                ("v2", true) if from_haproxy => id.starts_with("127.0.7.7:"),
                ("v2", true) => id.contains('-'),
                _ => id.is_empty() || id == "-",
            };
            assert!(expected, "{answer:?}, {how:?} by {version}");
        }
        drop((haproxy, nginx));
        portway.stop();
    }
}
