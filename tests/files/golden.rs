//! Golden files: input, a ruler line, what comes out. `PORTWAY_BLESS=1 cargo test --test config` writes the last part
//! anew; the difference is then read as a review of what changed for a person.

use std::path::{Path, PathBuf};

use portway::config::{Plan, compile};
use portway::model::Table;

const RULER: &str = "----------------------------------------------------------------------\n";

/// Runs every file of the folder, and fails with the names of those that came out otherwise.
fn golden(folder: &str, least: usize, run: impl Fn(&[u8]) -> String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder);
    let entries = std::fs::read_dir(&folder).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= least, "only {} files in {}", files.len(), folder.display());
    let bless = std::env::var_os("PORTWAY_BLESS").is_some();
    let mut wrong = Vec::new();
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        let at = bytes.windows(RULER.len()).position(|window| window == RULER.as_bytes());
        let input = &bytes[..at.unwrap_or(bytes.len())];
        let expected = at.map(|at| String::from_utf8_lossy(&bytes[at + RULER.len()..]).into_owned());
        let found = run(input);
        if bless {
            std::fs::write(&file, [input, RULER.as_bytes(), found.as_bytes()].concat()).unwrap();
        } else if expected.as_ref() != Some(&found) {
            let expected = expected.unwrap_or_default();
            wrong.push(format!("{}\nexpected:\n{expected}\nfound:\n{found}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{} files came out otherwise:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn diagnostics() {
    golden("diagnostics", 35, |input| match compile("portway.toml", input) {
        Ok(compiled) => format!("fine\n{}", Plan::between(&Table::default(), &compiled.table)),
        Err(report) => {
            assert!(report.count() > 0);
            format!("{}\n\n{}", report.headline(), report.render(false))
        }
    });
}

/// The input of a plan is two files, the old one and the new one, with a line `=====` between.
#[test]
fn plans() {
    golden("plans", 8, |input| {
        let input = std::str::from_utf8(input).unwrap();
        let (old, new) = input.split_once("=====\n").unwrap();
        let table = |text: &str| compile("portway.toml", text.as_bytes()).unwrap().table;
        Plan::between(&table(old), &table(new)).to_string()
    });
}
