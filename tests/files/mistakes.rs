//! What people write who come from another program. One mistake is one fault, and its cure works when it is pasted.

use std::cell::RefCell;

use portway::config::{Plan, compile};
use portway::model::Table;

use super::golden::{Golden, files, golden};
use super::paste::{Shown, pasted, shown};

/// Mistakes whose cure is no text to write: what is meant is known to the person only, or Portway has it not.
const NO_TEXT: &[&str] = &[
    "address-abstract",
    "address-relative-path",
    "address-srv",
    "address-variable",
    "address-vsock-listen",
    "address-vsock-upstream",
    "address-zone-upstream",
    "comment-block",
    "git-conflict",
    "git-conflicts",
    "key-description",
    "network-exception",
    "upstream-port-key",
];

/// Mistakes that a person has made several times.
const SEVERAL: &[(&str, usize)] = &[("git-conflicts", 2), ("header-names", 2)];

/// Each file has one mistake; the golden file shows the report, and the text after its cures were pasted.
#[test]
fn m_one_mistake_is_one_fault_with_a_cure_that_works() {
    let wrong = RefCell::new(Vec::new());
    golden("mistakes", 80, |file| {
        told(&file.name, &file.input).unwrap_or_else(|why| {
            wrong.borrow_mut().push(format!("{}: {why}", file.name));
            String::new()
        })
    });
    let wrong = wrong.into_inner();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The report of a file, and what it becomes when its cures are pasted. `Err`: what a person would be cross about.
fn told(name: &str, input: &[u8]) -> Result<String, String> {
    let mut text = String::from_utf8(input.to_vec()).unwrap();
    let report = compile("portway.toml", input).err().ok_or("it has no fault")?;
    let expected = SEVERAL.iter().find(|(several, _)| *several == name).map_or(1, |(_, count)| *count);
    if report.count() != expected {
        return Err(format!("one mistake is one fault\n{report}"));
    }
    let drawn = format!("{}\n\n{}", report.headline(), report.render(false));
    if NO_TEXT.contains(&name) {
        return cured(&text)
            .map_or(Ok(drawn), |text| Err(format!("it has a text to write\n{report}\n{text}")));
    }
    if expected == 1 {
        text = cured(&text).ok_or_else(|| format!("it has no text to write\n{report}"))?;
    } else {
        // All at once, from the last to the first, so that the places of the others stay.
        for fault in shown(&report.render(false)).iter().rev() {
            let mut ways = pasted(&text, fault);
            text = ways.pop().ok_or_else(|| format!("it has no text to write\n{report}"))?;
        }
    }
    let plan = match compile("portway.toml", text.as_bytes()) {
        Ok(compiled) => Plan::between(&Table::default(), &compiled.table),
        Err(again) => return Err(format!("its cure does not work\n{report}\n{text}\n{again}")),
    };
    Ok(format!("{drawn}\npasted:\n{text}\nfine\n{plan}"))
}

/// Every cure of the other golden files that is a text to write works too: the fault is gone, whatever else is wrong.
#[test]
fn m_every_cure_that_is_a_text_works_when_it_is_pasted() {
    let (mut tried, mut wrong) = (0, Vec::new());
    for Golden { name, input, .. } in files("diagnostics", 35) {
        let (Ok(text), Err(report)) = (std::str::from_utf8(&input), compile("portway.toml", &input)) else {
            continue;
        };
        let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
        let faults = shown(&report.render(false));
        // Of a long line only a part is drawn.
        let whole = |fault: &&Shown| {
            text.lines().nth(fault.line.saturating_sub(1)).is_some_and(|line| line.len() < 90)
        };
        for fault in faults.iter().filter(whole) {
            let ways = pasted(&text, fault);
            let same =
                |faults: &[Shown]| faults.iter().filter(|other| other.message == fault.message).count();
            let gone = |text: &String| {
                let left = compile("portway.toml", text.as_bytes()).err();
                left.is_none_or(|left| {
                    let left = shown(&left.render(false));
                    same(&left) < same(&faults) && left.len() <= faults.len()
                })
            };
            tried += usize::from(!ways.is_empty());
            if !ways.is_empty() && !ways.iter().any(gone) {
                wrong.push(format!("{name}: {fault:?}\n{}", ways.join("--\n")));
            }
        }
    }
    assert!(wrong.is_empty(), "{} cures do not work:\n{}", wrong.len(), wrong.join("\n"));
    assert!(tried > 150, "{tried}");
}

/// The text after the first cure of its report was pasted, in the first way that leaves fewer faults.
fn cured(text: &str) -> Option<String> {
    let report = compile("portway.toml", text.as_bytes()).err()?;
    let ways = pasted(text, shown(&report.render(false)).first()?);
    let left =
        |text: &str| compile("portway.toml", text.as_bytes()).map_or_else(|report| report.count(), |_| 0);
    let better = ways.iter().find(|way| left(way) < report.count());
    better.or(ways.last()).cloned()
}
