//! The PROXY protocol with those who speak it: HAProxy and nginx before and behind Portway, and curl.

use std::path::Path;
use std::process::Command;

use super::daemon::*;
use crate::harness::instance::*;

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

/// What HAProxy and nginx are told: to send to `to` from the ports `before`, by v1, v2 and v1, and to say at the ports `behind`
/// who the client is.
fn configurations(to: &Port, before: [&Port; 3], behind: [&Port; 2]) -> (String, String) {
    let [before_1, before_2, before_nginx] = before;
    let [behind_haproxy, behind_nginx] = behind;
    let servers: String = [(before_1, ""), (before_2, "-v2")]
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
    (format!("{servers}{behind_it}"), nginx_conf)
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
    let before = [&before_1, &before_2, &before_nginx];
    let routes = [
        (&to_haproxy_1, &behind_haproxy, "v1"),
        (&to_haproxy_2, &behind_haproxy, "v2"),
        (&to_nginx_1, &behind_nginx, "v1"),
        (&to_nginx_2, &behind_nginx, "v2"),
    ];
    for (to, behind, version) in routes {
        let text = format!(
            "{HEAD}[[route]]\nname = \"app\"\nlisten = \"{}\"\nupstream = \"{}\"\nallow = \"127.0.7.7\"\n\
             proxy_protocol = {{ accept = true, trusted = [\"127.0.0.0/8\"], send = \"{version}\" }}\n",
            to.local(),
            behind.local()
        );
        let place = Place::with(&text);
        let portway = Portway::run(&place.file());
        let (haproxy_cfg, nginx_conf) = configurations(to, before, [&behind_haproxy, &behind_nginx]);
        let haproxy = haproxy(folder.path(), &haproxy_cfg, &[&before_1, &before_2, &behind_haproxy]);
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
