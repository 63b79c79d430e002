//! `portway completions` and `portway man`, read by the programs that they are for.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::admin::asker::start;
use crate::harness::instance::{Backend, Place, Port, Portway, route};
use crate::harness::{PORTWAY, lacks};

fn portway(args: &[&str]) -> Output {
    Command::new(PORTWAY).args(args).stdin(Stdio::null()).output().unwrap()
}

/// What a command prints that succeeds.
fn printed(args: &[&str]) -> String {
    let Output { status, stdout, stderr } = portway(args);
    assert!(status.success() && stderr.is_empty(), "{args:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// Writes the completions to a file of the folder, and runs a script that may use it as `$1`. Returns what it prints.
fn in_shell(folder: &Path, shell: &[&str], script: &str) -> String {
    let file = folder.join("completions");
    std::fs::write(&file, printed(&["completions", shell[0]])).unwrap();
    let mut command = Command::new("timeout");
    command.arg("60").args(shell).args(["-c", script]).env("FILE", &file).env("HOME", folder);
    // It is found as a person's shell finds it.
    let path = std::env::var("PATH").unwrap_or_default();
    let own = Path::new(PORTWAY).parent().unwrap().display();
    command.env("PATH", format!("{own}:{path}"));
    command.env("PORTWAY_CONFIG", folder.join("etc/portway.toml")).env_remove("PORTWAY_ADMIN");
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = String::from_utf8_lossy(&stdout).into_owned();
    assert!(status.success(), "{text}\n{}", String::from_utf8_lossy(&stderr));
    text
}

#[test]
fn bash_completes_commands_and_options() {
    if lacks(&["bash"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = "source \"$FILE\"
        complete -p portway
        for words in 'portway ch' 'portway run --co' 'portway example heal'; do
            COMP_WORDS=($words) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            _portway portway \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"
            echo \"$words: ${COMPREPLY[*]}\"
        done";
    let said = in_shell(folder.path(), &["bash", "--norc"], script);
    assert!(said.contains("-F _portway portway\n"), "{said}");
    assert!(
        said.ends_with("portway ch: check\nportway run --co: --config\nportway example heal: health\n"),
        "{said}"
    );
}

#[test]
fn fish_completes_commands_and_options() {
    if lacks(&["fish"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = "source $FILE; complete -C 'portway ch'; complete -C 'portway run --co'
        complete -C 'portway example heal'";
    let said = in_shell(folder.path(), &["fish", "--no-config"], script);
    let found: Vec<&str> = said.lines().filter_map(|line| line.split('\t').next()).collect();
    assert_eq!(found, ["check", "--config", "health"], "{said}");
}

#[test]
fn zsh_completes_commands() {
    if lacks(&["zsh"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (typed, whole) in [("ch", "check"), ("example heal", "example health")] {
        // A person at a terminal, who types `portway ch` and Tab.
        let script = format!(
            "zmodload zsh/zpty
            zpty shell TERM=dumb zsh -f -i
            zpty -w shell \"autoload -U compinit; compinit -u -D; source $FILE\"
            zpty -w -n shell $'portway {typed}\\t'
            while zpty -r -m shell more '*'; do
                text+=$more
                [[ $text == *'portway {whole}'* ]] && exit 0
            done
            print -r -- $text
            exit 1"
        );
        in_shell(folder.path(), &["zsh", "-f"], &script);
    }
}

/// A proxy with a route `web`, whose file stands where [`in_shell`] says.
fn with_names() -> (Place, Portway, String) {
    let (port, backend) = (Port::reserve(), Backend::named("a"));
    let (place, proxy, _) = start(&route("web", &port.local(), &backend, ""));
    (place, proxy, backend.addr.to_string())
}

#[test]
fn bash_completes_the_names_of_what_runs() {
    if lacks(&["bash"]) {
        return;
    }
    let (place, proxy, upstream) = with_names();
    let script = "source \"$FILE\"
        for words in 'portway drain w' 'portway kill --route w' 'portway weight web --upstream 127'; do
            COMP_WORDS=($words) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            _portway portway \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"
            echo \"$words: ${COMPREPLY[*]}\"
        done";
    let said = in_shell(place.root(), &["bash", "--norc"], script);
    let expected = format!(
        "portway drain w: web\nportway kill --route w: web\nportway weight web --upstream 127: {upstream}\n"
    );
    assert_eq!(said, expected);
    proxy.stop();
}

#[test]
fn fish_completes_the_names_of_what_runs() {
    if lacks(&["fish"]) {
        return;
    }
    let (place, proxy, upstream) = with_names();
    let script = "source $FILE; complete -C 'portway drain w'; complete -C 'portway kill --route w'
        complete -C 'portway weight web --upstream 127'";
    let said = in_shell(place.root(), &["fish", "--no-config"], script);
    let found: Vec<&str> = said.lines().filter_map(|line| line.split('\t').next()).collect();
    assert_eq!(found, ["web", "web", &upstream], "{said}");
    proxy.stop();
}

#[test]
fn zsh_completes_the_names_of_what_runs() {
    if lacks(&["zsh"]) {
        return;
    }
    let (place, proxy, upstream) = with_names();
    for (typed, whole) in [
        ("drain w", "drain web".to_owned()),
        ("kill --route w", "kill --route web".to_owned()),
        ("weight web --upstream 127", format!("weight web --upstream {}", upstream.replace(':', "\\:"))),
    ] {
        let script = format!(
            "zmodload zsh/zpty
            zpty shell TERM=dumb zsh -f -i
            zpty -w shell \"autoload -U compinit; compinit -u -D; source $FILE\"
            zpty -w -n shell $'portway {typed}\\t'
            while zpty -r -m shell more '*'; do
                text+=$more
                [[ ${{text//\\\\/}} == *'portway {}'* ]] && exit 0
            done
            print -r -- $text
            exit 1",
            whole.replace('\\', "")
        );
        in_shell(place.root(), &["zsh", "-f"], &script);
    }
    proxy.stop();
}

/// Writes what a command prints to a file, and shows it as man(1) does, which may have no complaint.
fn read_page(file: &Path, args: &[&str]) -> String {
    std::fs::write(file, printed(args)).unwrap();
    let read = Command::new("man")
        .args(["--warnings=w", "-E", "UTF-8", "-l"])
        .arg(file)
        .envs([("LC_ALL", "C.UTF-8"), ("MANWIDTH", "100"), ("MANROFFOPT", "-c")])
        .output()
        .unwrap();
    assert!(read.status.success() && read.stderr.is_empty(), "{}", String::from_utf8_lossy(&read.stderr));
    String::from_utf8(read.stdout).unwrap()
}

#[test]
fn the_file_has_a_page_in_section_5() {
    if lacks(&["man"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let text = read_page(&folder.path().join("portway.toml.5"), &["man", "portway.toml"]);
    assert!(text.starts_with("portway.toml(5)"), "{text}");
    // Headings, a key with its default, one with an example, keys of tables, and a text with a backslash in it.
    for shown in [
        "\nNAME\n       portway.toml - what Portway forwards",
        "\n[defaults]\n",
        "\n       connect_timeout = \"5s\"\n",
        "\n       user   Whom a start as root becomes",
        "Example: user = \"portway\"",
        "\n              health.interval = \"5s\"\n",
        "tls.upstream.server_name",
        "send = \"PING\\r\\n\"",
        "\n[[route]]\n",
        "\nEXAMPLE\n",
    ] {
        assert!(text.contains(shown), "{shown}\n{text}");
    }
}

#[test]
fn every_command_has_a_page_that_the_reader_takes() {
    if lacks(&["man"]) {
        return;
    }
    let help = printed(&["--help"]);
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands: Vec<&str> = commands
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    assert!(commands.len() >= 9, "{help}");
    let folder = tempfile::tempdir().unwrap();
    for command in std::iter::once(None).chain(commands.iter().copied().map(Some)) {
        let name = command.map_or("portway".to_owned(), |command| format!("portway-{command}"));
        let args: Vec<&str> = std::iter::once("man").chain(command).collect();
        let text = read_page(&folder.path().join(format!("{name}.1")), &args);
        assert!(text.starts_with(&format!("{name}(1)")) && text.contains("SYNOPSIS"), "{text}");
        // The whole names each of the others, and says what no command's own page says.
        if command.is_none() {
            let missing = commands.iter().find(|command| !text.contains(&format!("portway-{command}(1)")));
            assert_eq!(missing, None, "{text}");
            assert!(["FILES", "ENVIRONMENT", "SIGNALS", "EXIT STATUS"].iter().all(|one| text.contains(one)));
        }
    }
}

#[test]
fn on_a_terminal_a_page_says_how_to_read_it() {
    if lacks(&["script"]) {
        return;
    }
    let command = format!("{PORTWAY} man run");
    let shown = Command::new("script")
        .args(["--quiet", "--command", &command, "/dev/null"])
        .stdin(Stdio::null())
        .output();
    let text = String::from_utf8(shown.unwrap().stdout).unwrap();
    assert!(text.contains(".TH portway-run"), "{text}");
    assert!(text.ends_with("this is the source of the page; to read it, add: | man -l -\r\n"), "{text}");
}

#[test]
fn a_page_or_a_shell_that_there_is_not_is_a_wrong_command_line() {
    for (args, says) in [(["man", "rum"], "no command `rum`"), (["completions", "tcsh"], "'tcsh'")] {
        let Output { status, stdout, stderr } = portway(&args);
        let text = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(2), "{text}");
        assert!(stdout.is_empty() && text.contains(says), "{text}");
    }
}
