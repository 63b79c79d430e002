//! Command lines as people type them who come from another program: they work, or say what does.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const FINE: &str = "[[route]]\nlisten = \"127.0.0.1:8080\"\nupstream = \"app:3000\"\n";
const FAULTY: &str = "[[route]]\nlisten = \"127.0.0.1:8080\"\nupstream = \"app:3000\"\nkeepalive = 5\n";

/// What a command has printed.
#[derive(Debug)]
struct Printed {
    code: i32,
    out: String,
    err: String,
}

/// Runs a command with this text on its standard input, in an empty folder that has these files.
fn portway(args: &[&str], input: &str, files: &[(&str, &str)]) -> Printed {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    run_in(folder.path(), args, input, None)
}

fn run_in(folder: &Path, args: &[&str], input: &str, config: Option<&str>) -> Printed {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portway"));
    command.args(args).current_dir(folder).env_remove("PORTWAY_CONFIG").env_remove("PORTWAY_ADMIN");
    command.envs(config.map(|config| ("PORTWAY_CONFIG", config)));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may have ended without reading.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Printed { code: status.code().unwrap(), out: text(stdout), err: text(stderr) }
}

/// DESIGN.md: FILE may stand alone, or after `--config` or `-c`, everywhere.
#[test]
fn m_the_file_stands_alone_or_after_its_option() {
    let files = [("a.toml", FINE), ("b.toml", FAULTY)];
    for args in [vec!["check", "a.toml"], vec!["check", "-c", "a.toml"], vec!["check", "--config", "a.toml"]]
    {
        let checked = portway(&args, "", &files);
        assert_eq!(
            (checked.code, checked.out.as_str()),
            (0, "a.toml: fine, 1 route, 1 listener\n"),
            "{args:?}"
        );
    }
    // A file with a fault shows which file `run` has read, and that nothing was started.
    for args in [vec!["run", "b.toml"], vec!["run", "-c", "b.toml"], vec!["run", "--config", "b.toml"]] {
        let run = portway(&args, "", &files);
        assert_eq!(run.code, 2, "{args:?}: {run:?}");
        assert!(run.err.contains("b.toml:4:13"), "{args:?}: {run:?}");
    }
    // What is typed wins over the environment, and the environment over the file of the system.
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    assert_eq!(run_in(folder.path(), &["check"], "", Some("a.toml")).code, 0);
    assert_eq!(run_in(folder.path(), &["check", "b.toml"], "", Some("a.toml")).code, 2);
    assert_eq!(run_in(folder.path(), &["check", "-c", "b.toml"], "", Some("a.toml")).code, 2);
    for command in ["run", "check"] {
        let two = portway(&[command, "a.toml", "-c", "b.toml"], "", &files);
        assert!(two.code == 2 && two.err.contains("cannot be used with"), "{two:?}");
    }
    // The file of a command that asks a running proxy.
    let asked = portway(&["status", "-c", "a.toml"], "", &files);
    assert!(
        asked.code == 2 && asked.err.contains("a.toml does not say whom to ask: it has no [admin]"),
        "{asked:?}"
    );
}

#[test]
fn m_a_dash_is_standard_input() {
    let fine = portway(&["check", "-"], FINE, &[]);
    assert_eq!(
        (fine.code, fine.out.as_str()),
        (0, "standard input: fine, 1 route, 1 listener\n"),
        "{fine:?}"
    );
    let faulty = portway(&["check", "-"], FAULTY, &[]);
    assert!(faulty.code == 2 && faulty.err.contains("standard input:4:13"), "{faulty:?}");
    // `plan` reads it before it asks for the proxy.
    let plan = portway(&["plan", "-", "-c", "a.toml"], FAULTY, &[("a.toml", FINE)]);
    assert!(plan.code == 2 && plan.err.contains("it has no [admin]"), "{plan:?}");
    let run = portway(&["run", "-"], FINE, &[]);
    assert!(run.code == 2 && run.err.contains("`run` follows the edits of a file"), "{run:?}");
}

#[test]
fn m_version_is_a_command_too() {
    let (command, option) = (portway(&["version"], "", &[]), portway(&["--version"], "", &[]));
    assert_eq!((command.code, &command.out), (0, &option.out));
    assert_eq!(option.out, format!("portway {}\n", env!("CARGO_PKG_VERSION")));
}

/// A route of the command line that cannot start, so that its text is shown.
fn forward(args: &[&str]) -> Printed {
    portway(&[&["forward"], args, &["--idle-timeout", "5", "127.0.0.1:1", "a:1"]].concat(), "", &[])
}

#[test]
fn m_forward_takes_udp_as_an_option() {
    let udp = portway(&["forward", "--udp", "unix:/run/x.sock", "a:1"], "", &[]);
    assert!(udp.code == 2 && udp.err.contains("a udp route cannot have a Unix socket"), "{udp:?}");
    let both = forward(&["--udp", "--protocol", "tcp"]);
    assert!(both.code == 2 && both.err.contains("cannot be used with"), "{both:?}");
}

/// The shell takes quotes away: a name of digits is a name, and no cure leads in a circle.
#[test]
fn m_a_text_of_digits_needs_no_quotes_on_the_command_line() {
    let alone = forward(&[]);
    assert_eq!(alone.err.matches("error: ").count(), 1, "{alone:?}");
    for set in
        ["name=8080", "name=\"8080\"", "name=true", "alpn=1.5", "max_connections=5", "tls.upstream=true"]
    {
        let set = forward(&["--set", set]);
        assert_eq!(set.err.matches("error: ").count(), 1, "{set:?}");
    }
    let lost = forward(&["--set", "allow=[10.0.0.0/8]"]);
    assert!(
        lost.code == 2 && lost.err.contains("put it in single ones, as in 'allow=[\"10.0.0.0/8\"]'"),
        "{lost:?}"
    );
}

/// On the command line there is no line to remove.
#[test]
fn m_a_key_that_no_route_has_is_left_out() {
    let unknown = forward(&["--set", "bogus=1"]);
    assert!(unknown.code == 2 && unknown.err.contains("a route has no key `bogus`"), "{unknown:?}");
    assert!(unknown.err.contains("help: leave it out: no key has such a name"), "{unknown:?}");
    assert!(!unknown.err.contains("remove the line"), "{unknown:?}");
}

/// What the environment gives is nothing that must be typed.
#[test]
fn m_an_error_shows_the_usage_of_the_command_as_its_help_does() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| run_in(folder.path(), args, "", Some("nowhere.toml"));
    let missing = run(&["weight", "web", "5"]);
    let usage = "\n\nUsage: portway weight [OPTIONS] --upstream <UPSTREAM> <ROUTE> <WEIGHT>\n\n";
    assert!(missing.code == 2 && missing.err.contains(usage), "{missing:?}");
    // A route goes without it, but it may be said.
    let route = run(&["disable", "web", "--force"]);
    assert!(route.code == 2 && route.err.contains("nowhere.toml does not say whom to ask"), "{route:?}");
}

/// An option that does not exist, and what does it: pasted, it is a command line that is read.
#[test]
fn m_a_key_as_an_option_leads_to_set() {
    for (args, set) in [
        (vec!["--keepalive", "30s"], "keepalive=30s"),
        (vec!["--keepalive=30s"], "keepalive=30s"),
        (vec!["--proxy-protocol.send", "v2"], "proxy_protocol.send=v2"),
        (vec!["--bandwidth", "10 MiB/s"], "'bandwidth=10 MiB/s'"),
        (vec!["--enabled"], "enabled=VALUE"),
    ] {
        let typed = forward(&args);
        let tip = format!("tip: any key of a route goes with --set: --set {set}\n");
        assert!(typed.code == 2 && typed.err.contains(&tip), "{typed:?}");
        if !set.contains("VALUE") {
            let pasted = forward(&["--set", set.trim_matches('\'')]);
            assert!(pasted.err.contains("the duration `5` has no unit"), "{pasted:?}");
            assert_eq!(pasted.err.matches("error: ").count(), 1, "{pasted:?}");
        }
    }
    let unknown = forward(&["--nonsense", "1"]);
    assert!(unknown.code == 2 && !unknown.err.contains("--set"), "{unknown:?}");
}

#[test]
fn m_commands_of_other_programs_lead_to_ours() {
    for (args, tip) in [
        (vec!["a.toml"], "portway run a.toml"),
        (vec!["-c", "a.toml"], "portway run a.toml"),
        (vec!["-f", "a.toml"], "portway run a.toml"),
        (vec!["-t"], "`portway check`"),
        (vec!["validate", "a.toml"], "`portway check`"),
        (vec!["start"], "`portway run`"),
        (vec!["serve"], "`portway run`"),
        (vec!["restart"], "`portway reload`"),
        (vec!["stop"], "`portway drain`"),
        (vec!["tcp", "8080", "a:1"], "`portway forward`"),
    ] {
        let typed = portway(&args, "", &[("a.toml", FINE)]);
        assert!(
            typed.code == 2 && typed.err.contains("tip: ") && typed.err.contains(tip),
            "{args:?}: {typed:?}"
        );
    }
    for (args, tip) in [
        (vec!["kill", "--all"], "those of one route: portway kill --route NAME"),
        (vec!["drain", "--route", "web"], "the route stands without an option: portway drain web"),
        (vec!["drain", "--route=web"], "the route stands without an option: portway drain web"),
        (vec!["weight", "-r", "web", "5"], "the route stands without an option: portway weight web"),
        (vec!["disable", "--name"], "the route stands without an option: portway disable ROUTE"),
        (vec!["run", "-f", "x"], "the file stands alone, or after --config: portway run x"),
        (vec!["check", "--file=x"], "the file stands alone, or after --config: portway check x"),
        (vec!["forward", "-u", "127.0.0.1:1", "127.0.0.1:2"], "datagrams go with --udp"),
        (vec!["import", "--nginx", "x"], "whose file it is: portway import --from nginx"),
        (vec!["import", "--haproxy=x"], "whose file it is: portway import --from haproxy"),
    ] {
        let typed = portway(&args, "", &[]);
        assert!(typed.code == 2 && typed.err.contains(&format!("tip: {tip}\n")), "{args:?}: {typed:?}");
    }
    // No tip is better than one that leads astray, and one of a like name stays.
    for args in [vec!["run", "--port", "80"], vec!["check", "--strict"], vec!["import", "--whatever", "x"]] {
        let typed = portway(&args, "", &[]);
        assert!(typed.code == 2 && !typed.err.contains("tip:"), "{args:?}: {typed:?}");
    }
    let typed = portway(&["import", "--form", "nginx", "x"], "", &[]);
    assert!(typed.code == 2 && typed.err.contains("'--from'"), "{typed:?}");
    let unknown = portway(&["nonsense"], "", &[]);
    assert!(unknown.code == 2 && !unknown.err.contains("tip: that"), "{unknown:?}");
}

#[test]
fn what_is_larger_than_any_file_is_refused_from_standard_input_too() {
    let most = 16 << 20;
    for (length, fault) in [(most, "1 fault"), (most + 1, "it is larger than 16 MiB")] {
        let checked = portway(&["check", "-"], &"#".repeat(length), &[]);
        assert_eq!((checked.code, checked.err.contains(fault)), (2, true), "{length}: {}", checked.err);
        assert_eq!(checked.err.contains("larger"), length > most);
    }
}
