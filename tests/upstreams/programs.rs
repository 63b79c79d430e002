//! Checks of real servers, and what these log of them: nothing that a client's would not be.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::gate::{ALL, Demands};
use crate::clients::daemon::{Daemon, haproxy};
use crate::clients::pki::Authority;
use crate::harness::instance::*;

const DOWN: &str = "upstream is down: its check fails";

fn text(port: &Port, upstream: &Port, health: &str) -> String {
    let more = format!("health = {{ {health} }}\n");
    format!(
        "{HEAD}[[route]]\nname = \"app\"\nlisten = \"{}\"\nupstream = \"{}\"\n{more}",
        port.local(),
        upstream.local()
    )
}

/// Postfix in a folder of its own. `master` ends with it, and all that `master` has started.
struct Postfix(Child, std::path::PathBuf);

impl Postfix {
    /// Behind postscreen, which watches for those who speak before the greeting.
    fn start(folder: &Path, port: &Port) -> Postfix {
        let (conf, log) = (folder.join("conf"), folder.join("log"));
        for name in ["conf", "queue", "data"] {
            fs::create_dir(folder.join(name)).unwrap();
        }
        let dir = folder.display();
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {dir}/queue\ndata_directory = {dir}/data\n\
             maillog_file = {dir}/log\nmaillog_file_prefixes = {dir}\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n\
             myhostname = mail.test\nmydestination =\nalias_maps =\npostscreen_greet_action = enforce\n\
             postscreen_greet_wait = 1s\npostscreen_access_list =\npostscreen_cache_map =\nsmtpd_peername_lookup = no\n"
        );
        let master = format!(
            "{} inet n - n - 1 postscreen\nsmtpd pass - - n - - smtpd\npostlog unix-dgram n - n - 1 postlogd\n\
             anvil unix - - n - 1 anvil\nrewrite unix - - n - - trivial-rewrite\ncleanup unix n - n - 0 cleanup\n\
             proxymap unix - - n - - proxymap\ndnsblog unix - - n - 0 dnsblog\ntlsproxy unix - - n - 0 tlsproxy\n",
            port.local()
        );
        fs::write(conf.join("main.cf"), main).unwrap();
        fs::write(conf.join("master.cf"), master).unwrap();
        tool("chown", ["postfix", folder.join("data").to_str().unwrap()]);
        tool("chmod", ["755", folder.to_str().unwrap()]);
        let mut postfix = Command::new("postfix");
        postfix.arg("-c").arg(conf).arg("start-fg");
        let postfix = postfix.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Postfix(postfix.spawn().unwrap(), log)
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.1).unwrap_or_default()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        // Ends its services too; a kill would leave them.
        let conf = self.1.with_file_name("conf");
        drop(Command::new("postfix").arg("-c").arg(conf).arg("abort").stderr(Stdio::null()).status());
        drop(self.0.wait());
    }
}

#[test]
fn r2_postfix_sees_checks_that_wait_for_its_greeting_and_say_goodbye() {
    if lacks_root() || lacks(&["postfix"]) {
        return;
    }
    let (folder, port, smtp) = (tempfile::tempdir().unwrap(), Port::reserve(), Port::reserve());
    let postfix = Postfix::start(folder.path(), &smtp);
    let steps = "steps = [{ expect = \"220 \" }, { send = \"QUIT\\r\\n\" }, { expect = \"221 \" }]";
    // Generous: postscreen makes strangers wait, and a busy machine all.
    let times = "interval = \"10s\", timeout = \"10s\", fall = 1";
    let place = Place::with(&text(&port, &smtp, &format!("{times}, {steps}")));
    crate::harness::until("Postfix listens", || std::net::TcpStream::connect(smtp.local()).is_ok());
    let quits = |postfix: &Postfix| postfix.log().matches("quit=1 commands=1").count();
    crate::harness::until("our own look is over", || postfix.log().contains("HANGUP"));
    let before = postfix.log().len();
    let mut portway = Portway::run(&place.file());
    for checks in 1..=2 {
        portway.until("Postfix has said goodbye", |_| quits(&postfix) >= checks);
        portway.hang_up();
        // Another text begins another check, at once.
        place.save(&text(&port, &smtp, &format!("{times}, rise = {checks}, {steps}")));
    }
    assert_eq!(portway.count(DOWN), 0, "{}\n{}", portway.log(), postfix.log());
    let log = postfix.log();
    for complaint in ["PREGREET", "HANGUP", "lost connection", "timeout", "improper", "warning"] {
        assert!(!log[before..].contains(complaint), "{complaint}: {log}");
    }
    // The short form speaks first, and this is what it would look like.
    place.save(&text(&port, &smtp, &format!("{times}, send = \"QUIT\\r\\n\", expect = \"221 \"")));
    portway.until("Postfix complains of who speaks first", |_| postfix.log().contains("PREGREET"));
    portway.stop();
}

/// A user without rights or password logs in and says goodbye: without a login MariaDB counts an aborted connect, and
/// blocks a host that has too many.
const MARIADB: &str = "steps = [{ expect = \"hex:00 00 00 0a\" }, \
    { send = \"hex:29 00 00 01 00 82 00 00 00 00 00 01 21 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 \
    706f7274776179 00 00\" }, { expect = \"hex:07 00 00 02 00\" }, { send = \"hex:01 00 00 00 01\" }]";

#[test]
fn r2_mariadb_counts_no_aborted_connection_by_checks() {
    if lacks_root() || lacks(&["mariadbd", "mariadb-install-db", "mariadb"]) {
        return;
    }
    let (folder, port, sql) = (tempfile::tempdir().unwrap(), Port::reserve(), Port::reserve());
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::create_dir(at("data")).unwrap();
    tool("chown", ["mysql", &at(""), &at("data")]);
    let data = format!("--datadir={}", at("data"));
    let normal = "--auth-root-authentication-method=normal";
    tool("mariadb-install-db", ["--no-defaults", &data, normal, "--skip-test-db", "--user=mysql"]);
    let mut mariadbd = Command::new("mariadbd");
    mariadbd.args(["--no-defaults", &data, "--bind-address=127.0.0.1", "--user=mysql", "--log-warnings=9"]);
    mariadbd.args([format!("--port={}", sql.number), format!("--socket={}", at("sock"))]);
    let log = at("log.err");
    mariadbd.arg(format!("--log-error={log}")).stderr(Stdio::null());
    let _mariadbd = Daemon::start(&mut mariadbd, &[]);
    let ask = |sql: &str| {
        let mut client = Command::new("mariadb");
        client.args(["--no-defaults", "--user=root", "--skip-column-names", "--batch", "--execute", sql]);
        let answer = client.arg(format!("--socket={}", at("sock"))).output().unwrap();
        answer.status.success().then(|| String::from_utf8(answer.stdout).unwrap())
    };
    crate::harness::until("MariaDB answers", || {
        ask("CREATE USER IF NOT EXISTS 'portway'@'localhost', 'portway'@'127.0.0.1'").is_some()
    });
    let figure = |name: &str| -> u64 {
        let shown = ask(&format!("SHOW GLOBAL STATUS LIKE '{name}'")).unwrap();
        shown.trim().rsplit('\t').next().unwrap().parse().unwrap()
    };
    let times = "interval = \"2s\", timeout = \"2s\"";
    let place = Place::with(&text(&port, &sql, &format!("{times}, {MARIADB}")));
    let (before, aborted) = (figure("Connections"), figure("Aborted_connects"));
    let mut portway = Portway::run(&place.file());
    // Each question of the test is a connection too.
    let mut own = 0;
    portway.until("MariaDB is checked", |_| {
        own += 1;
        figure("Connections") - before >= own + 4
    });
    assert_eq!(portway.count(DOWN), 0, "{}", portway.log());
    assert_eq!((figure("Aborted_connects"), figure("Aborted_clients")), (aborted, 0));
    let told = fs::read_to_string(&log).unwrap();
    assert!(!told.contains("Aborted connection") && !told.contains("communication packets"), "{told}");
    // A mere connect is what it counts, and complains of.
    place.save(&text(&port, &sql, times));
    portway.until("MariaDB counts an aborted connect", |_| figure("Aborted_connects") > aborted);
    portway.stop();
}

/// The question for an address, as in the hexadecimal form of the key, and the end of its answer.
#[test]
fn r2_dnsmasq_is_checked_over_udp_and_over_tcp() {
    if lacks(&["dnsmasq"]) {
        return;
    }
    let (folder, port, dns) = (tempfile::tempdir().unwrap(), Port::reserve(), Port::reserve());
    let log = folder.path().join("log");
    let start = || {
        let mut dnsmasq = Command::new("dnsmasq");
        dnsmasq.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"]);
        dnsmasq.args([
            "--bind-interfaces",
            "--listen-address=127.0.0.1",
            "--pid-file=",
            "--log-queries=extra",
        ]);
        dnsmasq.args(["--address=/up.test/192.0.2.7".to_owned(), format!("--port={}", dns.number)]);
        dnsmasq.arg(format!("--log-facility={}", log.display())).stderr(Stdio::null());
        Daemon::start(&mut dnsmasq, &[&dns])
    };
    let dnsmasq = start();
    let question = "0001 0100 0001 0000 0000 0000 02 7570 04 74657374 00 0001 0001";
    let udp = format!("send = \"hex:{question}\", expect = \"hex:c0000207\"");
    // Over TCP a message has its length before it.
    let tcp = format!("send = \"hex:0019 {question}\", expect = \"hex:c0000207\"");
    let times = "interval = \"1s\", timeout = \"1s\", rise = 1, fall = 2";
    let both = text(&port, &dns, &format!("{times}, {tcp}"));
    let route = both.split_once("[[route]]").unwrap().1.replace("\"app\"", "\"udp\"").replace(&tcp, &udp);
    let place = Place::with(&format!("{both}[[route]]{route}protocol = \"udp\"\n"));
    let mut portway = Portway::run(&place.file());
    let asked = || fs::read_to_string(&log).unwrap_or_default().matches("query[A] up.test").count();
    portway.until("it is asked", |_| asked() >= 4);
    assert_eq!(portway.count(DOWN), 0, "{}", portway.log());
    drop(dnsmasq);
    portway.until("both are down", |portway| portway.count(DOWN) == 2);
    let reasons: Vec<_> = portway.seen.iter().filter(|line| message(line).starts_with(DOWN)).collect();
    assert!(reasons.iter().all(|line| line["error"].as_str().unwrap().contains("connection refused")));
    assert!(reasons.iter().any(|line| line["protocol"] == "udp"), "{reasons:?}");
    let _dnsmasq = start();
    let up = "upstream is up again: its check passes";
    portway.until("both are up", |portway| portway.count(up) == 2);
    portway.stop();
}

/// What HAProxy is told, and the routes to it: a gate for each version of the header, with TLS and without.
fn gates(folder: &Path, to: &[Port], log: &UdpSocket) -> (String, String) {
    let kinds = ALL.into_iter().skip(1).flat_map(|demands| [(demands, false), (demands, true)]);
    let (log, folder) = (log.local_addr().unwrap(), folder.display());
    let (mut sections, mut routes) = (String::new(), String::new());
    for (i, (demands, tls)) in kinds.enumerate() {
        let at = to[i].local();
        let ssl = if tls { format!("ssl crt {folder}/gate.pem") } else { String::new() };
        sections.push_str(&format!(
            "frontend gate{i}\n mode http\n log {log} local0\n option httplog\n bind {at} accept-proxy {ssl}\n \
             http-request return status 200 content-type text/plain string fine\n"
        ));
        let version = if demands == Demands::V1 { "v1" } else { "v2" };
        let tls =
            if tls { "tls = { upstream = { ca = \"ca.pem\", server_name = \"gate.test\" } }\n" } else { "" };
        let ask = ", send = \"GET / HTTP/1.0\\r\\n\\r\\n\", expect = \"fine\"";
        for (kind, health) in [("connect", ""), ("ask", ask)] {
            routes.push_str(&format!(
                "[[route]]\nname = \"{i} {kind}\"\nlisten = \"unix:{folder}/{i}{kind}\"\nupstream = \"{at}\"\n{tls}\
                 proxy_protocol = {{ send = \"{version}\" }}\n\
                 health = {{ interval = \"2s\", timeout = \"2s\"{health} }}\n"
            ));
        }
    }
    (sections, routes)
}

/// What demands the header in the field, with its own eyes: HAProxy says of each connection without one that it has none.
#[test]
fn r2_haproxy_that_accepts_the_header_only_has_no_complaint_of_checks() {
    if lacks(&["haproxy"]) {
        return;
    }
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let pair = authority.pair("gate.test");
    fs::write(folder.path().join("gate.pem"), format!("{}{}", pair.cert, pair.key)).unwrap();
    let log = UdpSocket::bind("127.0.0.1:0").unwrap();
    log.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let to: [Port; 4] = std::array::from_fn(|_| Port::reserve());
    let (sections, routes) = gates(folder.path(), &to, &log);
    let _haproxy = haproxy(folder.path(), &sections, &to.each_ref());
    let mut told = Vec::new();
    let hear = |told: &mut Vec<String>| {
        let mut line = [0; 4096];
        while let Ok(length) = log.recv(&mut line) {
            told.push(String::from_utf8_lossy(&line[..length]).into_owned());
        }
    };
    crate::harness::until("the looks of the test itself, without a header, are in the log", || {
        hear(&mut told);
        told.len() == to.len()
    });
    told.clear();
    let place = Place::with(&format!("{HEAD}{routes}"));
    fs::write(place.folder().join("ca.pem"), authority.pem()).unwrap();
    let mut portway = Portway::run(&place.file());
    let answers = |told: &[String], i: usize| {
        told.iter().filter(|line| line.contains(&format!(" gate{i}")) && line.contains(" 200 ")).count()
    };
    portway.until("each was asked twice", |_| {
        hear(&mut told);
        (0..to.len()).all(|i| answers(&told, i) >= 2)
    });
    assert_eq!(portway.count(DOWN), 0, "{}", portway.log());
    let complains = |line: &&String| line.contains("PROXY") || line.contains("SSL");
    let complaints: Vec<&String> = told.iter().filter(complains).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    // A separate port for checks is no client's: there HAProxy misses the header, which shows that it would tell.
    let first = routes.split("[[route]]").nth(1).unwrap();
    let first = first.replace("timeout = ", &format!("port = {}, timeout = ", to[0].number));
    place.save(&format!("{HEAD}[[route]]{first}"));
    portway.until("HAProxy complains of a check without a header", |_| {
        hear(&mut told);
        told.iter().any(|line| line.contains("PROXY"))
    });
    portway.stop();
}
