//! Reports and lists, as a person meets them.

use portway::config::{compile, network_list};

/// Three addresses that overlap in each pair: every run says the same, and each place is one fault.
#[test]
fn m_the_order_of_faults_is_the_same_in_every_run() {
    let text = "[[route]]\nlisten = [\"443\", \"0.0.0.0:443\", \"[::]:443\"]\nupstream = \"a:1\"\n\
                [[route]]\nlisten = \"443\"\nupstream = \"b:1\"\n\
                [[route]]\nlisten = \"[::]:443\"\nupstream = \"c:1\"\n";
    let report = || compile("portway.toml", text.as_bytes()).unwrap_err().render(false);
    let first = report();
    let lines: Vec<&str> = first.lines().filter_map(|line| line.trim_start().strip_prefix("--> ")).collect();
    assert!(lines.is_sorted(), "{first}");
    // Each map of the standard library has an order of its own.
    for _ in 0..30 {
        assert_eq!(report(), first);
    }
}

#[test]
fn m_a_list_has_ranges_and_comments_of_both_kinds() {
    let text = b"\xef\xbb\xbf; Spamhaus DROP\r\n1.10.16.0/20 ; SBL256894\r\n10.0.0.5-10.0.0.9# five\n2001:db8::/32;\n\n#\n;";
    let set = network_list("list.txt", text).unwrap();
    assert_eq!(set.len(), 3);
    for (ip, within) in [
        ("1.10.16.1", true),
        ("10.0.0.4", false),
        ("10.0.0.5", true),
        ("10.0.0.9", true),
        ("10.0.0.10", false),
        ("2001:db8::1", true),
    ] {
        assert_eq!(set.contains(ip.parse().unwrap()), within, "{ip}");
    }
}

/// A line of a list has no quotes, so the cure has none.
#[test]
fn m_the_cure_of_a_line_of_a_list_works_when_it_is_pasted() {
    for (line, cured) in [
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
        ("10.1.*.*", "10.1.0.0/16"),
        ("deny 10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.9-10.0.0.5", "10.0.0.5-10.0.0.9"),
        ("10.0.0.1/8", "10.0.0.0/8"),
    ] {
        let report = network_list("list.txt", format!("127.0.0.1\n{line}").as_bytes()).unwrap_err();
        assert_eq!(report.count(), 1);
        let report = report.render(false);
        let help = report.split_once("= help: write ").unwrap().1;
        let written = help.split_whitespace().next().unwrap();
        assert_eq!(written, cured, "{report}");
        assert!(network_list("list.txt", written.as_bytes()).is_ok());
    }
}

/// Few keys are listed, all of them; many are nothing that a person reads in a line.
#[test]
fn m_a_list_of_keys_is_whole_or_there_is_none() {
    let route = "[[route]]\nlisten = \"1\"\nupstream = \"a:1\"\n";
    let few = format!("[admin]\nqqq = 1\n{route}");
    let report = compile("portway.toml", few.as_bytes()).unwrap_err().render(false);
    assert!(
        report.contains("= help: the keys are `group`, `listen`, `mode`, `read_token` and `token`\n"),
        "{report}"
    );
    let many = format!("{route}qqq = 1\n");
    let report = compile("portway.toml", many.as_bytes()).unwrap_err().render(false);
    assert!(report.contains("= help: remove the line: no key has such a name\n"), "{report}");
    assert!(!report.contains("...") && !report.contains("`keepalive`"), "{report}");
}
