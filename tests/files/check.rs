//! `portway check` and `portway schema`, as a person runs them.

use std::path::Path;
use std::process::{Command, Output, Stdio};

const FINE: &str = "[[route]]\nlisten = [\"127.0.0.1:8080\", \"9000-9003\"]\nupstream = \"app:3000\"\n";

fn portway(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portway"));
    command.args(args).env_remove("PORTWAY_CONFIG").stdin(Stdio::null());
    command
}

/// Exit code, standard output, standard error.
fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn check(path: &Path) -> (i32, String, String) {
    run(&mut portway(&["check", path.to_str().unwrap()]))
}

#[test]
fn a_fine_file_is_one_line_and_code_0() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    std::fs::write(&path, FINE).unwrap();
    let line = format!("{}: fine, 1 route, 5 listeners\n", path.display());
    assert_eq!(check(&path), (0, line.clone(), String::new()));
    // Without an argument, the environment says which file.
    assert_eq!(run(portway(&["check"]).env("PORTWAY_CONFIG", &path)), (0, line, String::new()));
}

#[test]
fn without_a_file_it_is_the_one_in_etc() {
    let (_, out, err) = run(&mut portway(&["check"]));
    assert!(format!("{out}{err}").contains("/etc/portway/portway.toml"), "{out}{err}");
}

#[test]
fn every_fault_is_on_standard_error_without_colour_and_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    std::fs::write(&path, "[[route]]\nlisten = \"8080\"\nkeepalive = 5\n").unwrap();
    let (code, out, err) = check(&path);
    assert_eq!((code, out.as_str()), (2, ""));
    assert_eq!(err.matches("error: ").count(), 2, "{err}");
    assert!(err.contains(&format!("{}:3:13", path.display())), "{err}");
    assert!(err.contains("= help: write \"5s\""), "{err}");
    assert!(!err.contains('\x1b'), "{err}");
}

/// What cannot be read is a fault like any other, and is told at once.
#[test]
fn what_is_not_a_file_is_a_fault_and_never_a_hang() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    std::os::unix::fs::symlink(at("nowhere"), at("link")).unwrap();
    std::os::unix::fs::symlink(at("loop"), at("loop")).unwrap();
    std::fs::File::create(at("large")).unwrap().set_len(16 * 1024 * 1024 + 1).unwrap();
    std::fs::write(at("empty"), "").unwrap();
    for (path, words) in [
        (at("fifo"), "this is a"),
        (at("socket"), "this is a socket, not a file"),
        (at("link"), "the link points to"),
        (at("loop"), "the file cannot be read"),
        (at("missing"), "there is no such file"),
        (at("large"), "the file is l"),
        (at("empty"), "the file is empty"),
        (at("empty").join("below"), "the file cannot be read"),
        (folder.path().to_owned(), "this is a folder"),
        ("/dev/zero".into(), "this is a device, not a file"),
    ] {
        let (code, out, err) = check(&path);
        assert_eq!((code, out.as_str()), (2, ""), "{}: {err}", path.display());
        assert!(err.starts_with(&format!("error: {words}")), "{}: {err}", path.display());
        assert!(err.contains("= help: "), "{err}");
        assert!(err.ends_with(&format!("{}: 1 fault\n", path.display())), "{err}");
    }
}

#[test]
fn a_file_that_this_user_may_not_read_is_a_fault() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    std::fs::write(&path, FINE).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::File::open(&path).is_ok() {
        println!("skipped: root reads every file");
        return;
    }
    let (code, _, err) = check(&path);
    assert_eq!(code, 2);
    assert!(err.contains("permission"), "{err}");
}

#[test]
fn standard_output_that_is_full_is_code_1() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    std::fs::write(&path, FINE).unwrap();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = portway(&["check", path.to_str().unwrap()]).stdout(full).status().unwrap();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn the_schema_is_json_of_draft_7() {
    let (code, out, err) = run(&mut portway(&["schema"]));
    assert_eq!((code, err.as_str()), (0, ""));
    let schema: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    // Editors complete by it, and other programs generate files by it: a change of it is read before it is made.
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/schema.json");
    if std::env::var_os("PORTWAY_BLESS").is_some() {
        std::fs::write(&golden, &out).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap();
    let differs = expected.lines().zip(out.lines()).enumerate().find(|(_, (old, new))| old != new);
    assert!(expected == out, "PORTWAY_BLESS=1 writes {} anew: {differs:?}", golden.display());
}

/// The last line says where all keys are, and only for who looks for one; a long list of them says nothing.
#[test]
fn an_unknown_key_leads_to_the_file_that_has_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    let name = path.display();
    std::fs::write(&path, format!("{FINE}compression = true\nidle_timout = \"1h\"\n")).unwrap();
    let (code, _, err) = check(&path);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("= help: remove the line: no key has such a name\n"), "{err}");
    assert!(err.contains("= help: did you mean `idle_timeout`?"), "{err}");
    assert!(err.ends_with(&format!("{name}: 2 faults; `portway example` shows every key\n")), "{err}");
    std::fs::write(&path, format!("{FINE}keepalive = 5\n")).unwrap();
    assert!(check(&path).2.ends_with(&format!("{name}: 1 fault\n")));
}

#[test]
fn an_example_is_a_file_of_config_that_is_fine() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let (_, help, _) = run(&mut portway(&["example", "--help"]));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        if file.is_dir() {
            continue;
        }
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(file).unwrap();
        assert_eq!(run(&mut portway(&["example", &name])), (0, text, String::new()));
        assert!(help.contains(&format!("- {name}:")), "{name}\n{help}");
        names.push(name);
    }
    let every_key = run(&mut portway(&["example", "every-key"]));
    assert_eq!(run(&mut portway(&["example"])), every_key);
    let (code, out, err) = run(&mut portway(&["example", "tsl"]));
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(names.iter().all(|name| err.contains(name.as_str())), "{err}");
}

#[test]
fn every_outcome_is_explained() {
    let (code, out, err) = run(&mut portway(&["example", "outcomes"]));
    assert_eq!((code, err.as_str()), (0, ""));
    for outcome in portway::model::Outcome::ALL {
        let (blame, meaning, look_at) = (outcome.blame(), outcome.meaning(), outcome.look_at());
        let shown = format!("\n{outcome} (blame: {blame})\n    {meaning}\n    Look at: {look_at}.\n");
        assert!(out.contains(&shown), "{shown}\n{out}");
    }
    for path in portway::model::DataPath::ALL {
        let shown = format!("\n{path}\n    {}\n    Why: {}.\n", path.meaning(), path.why());
        assert!(out.contains(&shown), "{shown}\n{out}");
    }
}
