//! What is said where a socket cannot be opened, or a proxy not be asked: one fault for one cause, and what to do.

use std::net::{Ipv6Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use socket2::{Domain, Socket, Type};

use crate::harness::proc::install;
use crate::harness::tools::has_ipv6;
use crate::harness::{lacks, lacks_root};

const PORTWAY: &str = env!("CARGO_BIN_EXE_portway");

/// Runs a file that cannot start: its report.
fn cannot_start(before: &[&str], text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("portway.toml");
    std::fs::write(&file, text).unwrap();
    let words: Vec<&str> = before.iter().copied().chain([PORTWAY, "run"]).collect();
    let output = Command::new(words[0]).args(&words[1..]).arg(&file).output().unwrap();
    let report = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(!report.contains("another address"), "{report}");
    report
}

fn route(listen: &str) -> String {
    format!("[[route]]\nlisten = {listen}\nupstream = \"127.0.0.1:1\"\n")
}

/// Fifty addresses for which no descriptor is left are one fault, and no address is to blame.
#[test]
fn m_too_few_descriptors_are_one_fault() {
    if lacks(&["prlimit"]) {
        return;
    }
    let text: String = (1..=100).map(|host| route(&format!("\"127.77.1.{host}:7001\""))).collect();
    let report = cannot_start(&["prlimit", "--nofile=50"], &text);
    assert!(report.ends_with("portway.toml: 1 fault\n"), "{report}");
    assert!(report.contains("the limit of 50 is reached"), "{report}");
    assert!(report.contains("LimitNOFILE= in the systemd unit, --ulimit nofile= of a container"), "{report}");
}

/// Ports of one range that are taken are one fault.
#[test]
fn m_many_ports_of_a_range_are_one_fault() {
    let _taken: Vec<TcpListener> =
        (7001..=7003).map(|port| TcpListener::bind(("127.77.2.1", port)).unwrap()).collect();
    let report = cannot_start(&[], &(route("\"127.77.2.1:7000-7009\"") + &route("\"127.77.2.1:7010\"")));
    assert!(report.ends_with("portway.toml: 1 fault\n"), "{report}");
    assert!(report.contains("127.77.2.1:7001: the address is in use (and 2 more so)"), "{report}");
}

/// A port of every address is one of both families. Whoever has it for IPv6 alone would get what clients send there.
#[test]
fn a_port_that_another_program_has_for_one_family_is_taken() {
    if !has_ipv6() {
        return;
    }
    for (kind, protocol) in [(Type::STREAM, "tcp"), (Type::DGRAM, "udp")] {
        let other = Socket::new(Domain::IPV6, kind, None).unwrap();
        other.set_only_v6(true).unwrap();
        other.bind(&std::net::SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into()).unwrap();
        if protocol == "tcp" {
            other.listen(1).unwrap();
        }
        let port = other.local_addr().unwrap().as_socket().unwrap().port();
        let text = route(&format!("\"{port}\"")) + &format!("protocol = \"{protocol}\"\n");
        let report = cannot_start(&["timeout", "20"], &text);
        assert!(report.contains("the address is in use"), "{report}");
    }
}

#[test]
fn m_a_unix_socket_that_cannot_be_made_says_what_to_do_about_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(at("file"), "").unwrap();
    let _other = std::os::unix::net::UnixListener::bind(at("taken.sock")).unwrap();
    for (path, message, help) in [
        (at("missing/a.sock"), "its folder does not exist", format!("create it: mkdir -p {}", at("missing"))),
        (at("file"), "a file that is no socket is there", format!("remove it: rm {}", at("file"))),
        (at("taken.sock"), "the address is in use", "another program listens there: `ss -xlp`".to_owned()),
        (
            at("file/a.sock"),
            "a part of its path is no folder",
            format!("see `namei -l {}", at("file/a.sock")),
        ),
    ] {
        let report = cannot_start(&[], &route(&format!("\"unix:{path}\"")));
        assert!(report.contains(&format!("cannot listen on unix:{path}: {message}")), "{report}");
        assert!(report.contains(&help), "{report}");
    }
}

/// A socket of an address family that the kernel has not.
#[test]
fn m_a_host_without_ipv6_is_said() {
    if lacks(&["strace"]) {
        return;
    }
    let inject = "inject=bind:error=EAFNOSUPPORT";
    let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=bind", "-e", inject];
    let report = cannot_start(&strace, &route("\"[::1]:7001\""));
    assert!(report.contains("cannot listen on [::1]:7001: this host has no IPv6"), "{report}");
    assert!(report.contains("write \"7001\" for what it has"), "{report}");
}

/// Another user may not read the file, or not open the socket: nobody is asked whether it runs.
#[test]
fn m_status_as_another_user_says_who_may_ask() {
    if lacks_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mode =
        |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(folder.path(), 0o755);
    // Where the tests are built, another user may have no way to the program.
    let program = folder.path().join("portway");
    install(PORTWAY, &program);
    let socket = folder.path().join("admin.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    mode(&socket, 0o600);
    let file = folder.path().join("portway.toml");
    std::fs::write(&file, format!("[admin]\nlisten = \"unix:{}\"\n{}", socket.display(), route("\"1\"")))
        .unwrap();
    let status = || {
        let output = Command::new(&program).arg("status").arg("-c").arg(&file).uid(65534).gid(65534).output();
        String::from_utf8(output.unwrap().stderr).unwrap()
    };
    mode(&file, 0o600);
    let report = status();
    assert!(report.contains("this user may not read it"), "{report}");
    assert!(report.contains("help: ask as the user that runs Portway, or as root"), "{report}");
    mode(&file, 0o644);
    let report = status();
    assert!(report.contains("ermission denied") && !report.contains("is it running"), "{report}");
    assert!(report.contains("help: it belongs to another user: ask as that user, or as root"), "{report}");
}
