//! Texts go in, verdicts come out: every edit, whose writer stops at every byte.

use std::collections::BTreeSet;

use super::*;
use crate::config::{compile, network_list};
use crate::files::reading::FileState;

const HEAD: &str = "[log]\nformat = \"json\"\n\n";

/// A route with keys after those that it must have.
fn route(name: &str, port: u16, more: &str) -> String {
    format!(
        "[[route]] # {name}\nname = \"{name}\"\nlisten = \"127.0.0.1:{port}\"\nupstream = \"app:{port}\"\nmax_connections = 100\n{more}\n"
    )
}

/// Without a name, and with a table in it.
fn nameless(port: u16) -> String {
    format!(
        "[[route]]\nlisten = \"127.0.0.1:{port}\"\nupstream = \"app:{port}\"\n[route.health]\ninterval = \"5s\"\nrise = 30\n"
    )
}

fn file(parts: &[&str]) -> String {
    format!("{HEAD}{}", parts.concat())
}

fn read(text: &[u8], how: How, writer: Writer) -> Reading {
    let state: FileState = Err(std::io::ErrorKind::NotFound);
    Reading { text: Ok(text.into()), state, how, writer }
}

fn judge(form: Form, running: &str, text: &[u8], writer: Writer) -> Verdict {
    let running = running.as_bytes();
    verdict(form, &read(text, How::Settled, writer), running, &Ok(running.into()))
}

/// The routes that would run.
fn routes(text: &[u8]) -> Option<BTreeSet<String>> {
    compile("portway.toml", text).ok().map(|compiled| compiled.table.routes.keys().cloned().collect())
}

/// Whether a table of this text ends at this length.
fn ends_a_table(text: &str, length: usize) -> bool {
    let rest = text[length..].trim_start();
    text[..length].ends_with('\n')
        && (rest.is_empty() || rest.starts_with("[[") || rest.starts_with("[admin"))
}

/// Lets the writer of an edit stop at every byte. Returns how many of these texts would run although a route is gone.
fn stopped_everywhere(running: &str, edited: &str) -> usize {
    let (before, after) = (routes(running.as_bytes()).unwrap(), routes(edited.as_bytes()).unwrap());
    let kept: BTreeSet<&String> = before.intersection(&after).collect();
    let mut shortened = 0;
    for length in (0..=edited.len()).filter(|length| edited.is_char_boundary(*length)) {
        let text = &edited.as_bytes()[..length];
        let busy = judge(Form::Tables, running, text, Writer::Busy);
        assert!(
            matches!(busy, Verdict::Unfinished | Verdict::Known | Verdict::Runs),
            "{length} bytes: {busy:?}"
        );
        let loses = |runs: &BTreeSet<String>| kept.iter().any(|name| !runs.contains(*name));
        let Verdict::New(text, warned) = judge(Form::Tables, running, text, Writer::Done) else { continue };
        let unknown = judge(Form::Tables, running, &text, Writer::Unknown);
        let runs = routes(&text);
        if matches!(unknown, Verdict::New(..)) {
            assert!(
                runs.as_ref().is_none_or(|runs| before.is_subset(runs)),
                "{length} bytes, without events"
            );
        }
        if runs.is_some_and(|runs| loses(&runs)) {
            let last = text.strip_prefix(HEAD.as_bytes()).unwrap_or_default();
            let as_before = running.as_bytes().windows(last.len()).any(|part| part == last);
            // Of a table that did not run before nobody knows where it ends: the same bytes may be all of it.
            let new = routes(&text).unwrap_or_default().iter().any(|name| !before.contains(name));
            let at_the_end = ends_a_table(edited, length) || (as_before || new) && text.ends_with(b"\n");
            assert!(at_the_end, "{length} bytes: {}", String::from_utf8_lossy(&text));
            assert!(warned.is_some(), "{length} bytes, and no warning");
            shortened += 1;
        }
    }
    shortened
}

/// A whole edit that is saved in place runs at once.
fn whole(running: &str, edited: &str) {
    for writer in [Writer::Done, Writer::Renamed] {
        let seen = judge(Form::Tables, running, edited.as_bytes(), writer);
        assert!(matches!(&seen, Verdict::New(text, _) if **text == *edited.as_bytes()), "{seen:?}\n{edited}");
    }
}

#[test]
fn r10_a_writer_that_stops_at_any_byte_removes_no_route_but_at_the_end_of_a_table() {
    let makers: [fn(&str, u16) -> String; 2] =
        [|name, port| route(name, port, "balance = \"first\"\n"), |_, port| nameless(port)];
    for make in makers {
        let parts = [make("a", 1001), make("b", 1002), make("c", 1003)];
        let [a, b, c] = [0, 1, 2].map(|at| parts[at].as_str());
        let changed = [a, b, c].map(|part| part.replace("app:", "other:"));
        let [a2, b2, c2] = [0, 1, 2].map(|at| changed[at].as_str());
        let longer = a.replace("upstream", "idle_timeout = \"1h\"\nupstream");
        let new = make("new", 1009);
        let admin = "[admin]\nlisten = \"127.0.0.1:9180\"\n";
        let edits: [&[&str]; 16] = [
            &[a, b, c, &new],
            &[&new, a, b, c],
            &[a, &new, b, c],
            &[a2, b, c],
            &[a, b2, c],
            &[a, b, c2],
            &[&longer, b, c],
            &[b, c],
            &[a, c],
            &[a, b],
            &[a],
            &[b],
            &[c],
            &[a2, b2, c2],
            &[a2],
            &[a, b, c, admin],
        ];
        let mut shortened = 0;
        for (at, edit) in edits.into_iter().enumerate() {
            // Every third of them also takes a table away that is no route.
            let running = if at % 3 == 0 { file(&[a, b, c, admin]) } else { file(&[a, b, c]) };
            let edited = file(edit);
            if edited != running {
                whole(&running, &edited);
            }
            shortened += stopped_everywhere(&running, &edited);
        }
        assert!((1..=64).contains(&shortened), "{shortened} texts");
    }
}

#[test]
fn r10_editors_that_write_no_last_newline_are_honest_too() {
    let [a, b, c] = [("a", 1), ("b", 2), ("c", 3)].map(|(name, port)| route(name, port, ""));
    let running = file(&[&a, &b, &c]).trim_end().to_owned();
    for edited in [[&b, &c].as_slice(), &[&a, &c], &[&c], &[&c.replace("app", "other")], &[&b, &a, &c]] {
        let parts: Vec<&str> = edited.iter().map(|part| part.as_str()).collect();
        whole(&running, file(&parts).trim_end());
    }
    // Whether the rest of the line is missing, nobody can tell.
    let cut = judge(Form::Tables, &running, file(&[&a, &b]).trim_end().as_bytes(), Writer::Done);
    assert_eq!(cut, Verdict::CutOff(Cut::InLine));
    whole(&running, &file(&[&a, &b]));
}

#[test]
fn r10_a_warning_says_what_is_gone() {
    let [a, b, c] = [("a", 1), ("b", 2), ("c", 3)].map(|(name, port)| route(name, port, ""));
    let running = file(&[&a, &b, &c]);
    let warned = |text: String, writer| match judge(Form::Tables, &running, text.as_bytes(), writer) {
        Verdict::New(_, loss) => loss.map(|loss| (loss.gone, loss.ends_after.unwrap_or_default())),
        other => panic!("{other:?}"),
    };
    let gone = |gone: &[&str], after: &str| {
        Some((gone.iter().copied().map(String::from).collect::<Vec<_>>(), after.to_owned()))
    };
    assert_eq!(warned(file(&[&a]), Writer::Done), gone(&["b", "c"], "a"));
    assert_eq!(warned(file(&[&a, &b]), Writer::Done), gone(&["c"], "b"));
    // The writer came to the end, or the text came whole.
    for text in [file(&[&b, &c]), file(&[&c])] {
        assert_eq!(warned(text, Writer::Done), None);
    }
    assert_eq!(warned(file(&[&a]), Writer::Renamed), None);
}

#[test]
fn r10_a_key_that_a_person_deletes_from_the_last_route_is_no_cut() {
    let (a, b) = (route("a", 1, ""), route("b", 2, "balance = \"first\"\n"));
    let running = file(&[&a, &b]);
    whole(&running, &running.replace("balance = \"first\"\n\n", ""));
    // Together with the routes behind it, it is one: that is what a killed writer leaves.
    let text = file(&[&a.replace("max_connections = 100\n\n", "")]);
    let cut = judge(Form::Tables, &running, text.as_bytes(), Writer::Done);
    assert!(
        matches!(&cut, Verdict::CutOff(Cut::InTable(loss)) if loss.keys == ["max_connections"] && loss.gone == ["b"]),
        "{cut:?}"
    );
    let asked = verdict(
        Form::Tables,
        &read(text.as_bytes(), How::Asked, Writer::Busy),
        running.as_bytes(),
        &Ok(running.as_bytes().into()),
    );
    assert_eq!(asked, Verdict::New(text.as_bytes().into(), None), "a person asks");
}

#[test]
fn r10_a_list_that_is_cut_loses_networks_only_at_the_end_of_a_line() {
    let running = "10.0.0.0/8 # ours\n192.168.0.0/16\n172.16.0.10\n2001:db8::/32\n";
    let edits = [
        "10.0.0.0/8 # ours\n192.168.0.0/16\n172.16.0.10\n2001:db8::/32\n10.9.0.0/16\n",
        "192.168.0.0/16\n172.16.0.10\n2001:db8::/32\n",
        "10.0.0.0/8 # ours\n172.16.0.10\n2001:db8::/32\n",
        "10.0.0.0/8 # ours\n192.168.0.0/16\n172.16.0.10\n",
        "172.16.0.10\n",
        "# nobody\n",
    ];
    let entries = |text: &str| -> BTreeSet<String> {
        text.lines().map(|line| line.split('#').next().unwrap_or_default().trim().to_owned()).collect()
    };
    for edited in edits {
        let whole = judge(Form::Lines, running, edited.as_bytes(), Writer::Done);
        assert!(matches!(whole, Verdict::New(..)), "{whole:?}\n{edited}");
        let kept: BTreeSet<String> = entries(running).intersection(&entries(edited)).cloned().collect();
        for length in 1..=edited.len() {
            let text = &edited[..length];
            assert!(!matches!(judge(Form::Lines, running, text.as_bytes(), Writer::Busy), Verdict::New(..)));
            let gone = |text: &str| !kept.is_subset(&entries(text));
            let unknown = judge(Form::Lines, running, text.as_bytes(), Writer::Unknown);
            assert!(!matches!(unknown, Verdict::New(..)) || !gone(text), "{length} bytes, without events");
            let done = judge(Form::Lines, running, text.as_bytes(), Writer::Done);
            if let Verdict::New(_, warned) = done
                && network_list("list", text.as_bytes()).is_ok()
                && gone(text)
            {
                assert!(text.ends_with('\n') && warned.is_some(), "{length} bytes of\n{edited}");
            }
        }
    }
}

#[test]
fn r10_a_bundle_that_is_cut_between_certificates_waits_and_is_warned_of() {
    let block = |number| format!("-----BEGIN CERTIFICATE-----\nTUlJ{number}\n-----END CERTIFICATE-----\n");
    let all: String = (1..=3).map(block).collect();
    let first = block(1);
    assert_eq!(judge(Form::Blocks, &all, first.as_bytes(), Writer::Unknown), Verdict::Unfinished);
    let done = judge(Form::Blocks, &all, first.trim_end().as_bytes(), Writer::Done);
    let Verdict::New(_, Some(loss)) = done else { panic!("{done:?}") };
    assert_eq!(
        (loss.gone, loss.ends_after),
        (vec!["block 2".into(), "block 3".into()], Some("block 1".into()))
    );
    // A renewed one has other bytes, and as many blocks.
    let renewed = all.replace("TUlJ", "TUlK");
    let seen = judge(Form::Blocks, &all, renewed.as_bytes(), Writer::Unknown);
    assert_eq!(seen, Verdict::New(renewed.as_bytes().into(), None));
}

#[test]
fn a_missing_newline_at_the_end_is_nothing_to_refuse() {
    let running = file(&[&route("a", 1, "")]);
    for writer in [Writer::Done, Writer::Unknown, Writer::Renamed] {
        let text = running.trim_end().as_bytes();
        assert_eq!(judge(Form::Tables, &running, text, writer), Verdict::New(text.into(), None));
    }
}

#[test]
fn a_copy_that_was_cut_off_is_so_by_rename_too() {
    let running = file(&[&route("a", 1, ""), &route("b", 2, "")]);
    for length in 1..running.trim_end().len() {
        let text = &running.as_bytes()[..length];
        let seen = judge(Form::Tables, &running, text, Writer::Renamed);
        if text.ends_with(b"\n") {
            assert_eq!(seen, Verdict::New(text.into(), None), "{length} bytes");
        } else {
            assert_eq!(seen, Verdict::CutOff(Cut::InLine), "{length} bytes");
        }
    }
}

#[test]
fn a_text_is_judged_once_unless_someone_asks() {
    let running = file(&[&route("a", 1, "")]);
    let same = read(running.as_bytes(), How::Settled, Writer::Done);
    let running = running.as_bytes();
    let judge = |reading: &Reading, last: &Text| verdict(Form::Tables, reading, running, last);
    assert_eq!(judge(&same, &Ok(running.into())), Verdict::Known, "a touch is no edit");
    let asked = Reading { how: How::Asked, ..same.clone() };
    assert_eq!(judge(&asked, &Ok(running.into())), Verdict::Runs);
    let refused: Text = Ok(b"x\n".as_slice().into());
    let seen = |how| judge(&read(b"x\n", how, Writer::Done), &refused);
    assert_eq!(seen(How::Settled), Verdict::Known);
    assert_eq!(seen(How::Again), Verdict::New(b"x\n".as_slice().into(), None));
    assert_eq!(judge(&same, &refused), Verdict::Runs);
}
