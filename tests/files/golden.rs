//! Golden files: input, a ruler line, what comes out. `PORTWAY_BLESS=1 cargo test --test config` writes the last part
//! anew; the difference is then read as a review of what changed for a person.

use std::path::{Path, PathBuf};

use portway::config::{Plan, compile};
use portway::model::Table;

const RULER: &str = "----------------------------------------------------------------------\n";

/// A golden file.
pub struct Golden {
    pub name: String,
    pub input: Vec<u8>,
    path: PathBuf,
    expected: Option<String>,
}

/// Every golden file of a folder, of which there are at least so many.
pub fn files(folder: &str, least: usize) -> Vec<Golden> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder);
    let entries = std::fs::read_dir(&folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= least, "only {} files in {}", paths.len(), folder.display());
    let file = |path: PathBuf| {
        let bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(RULER.len()).position(|window| window == RULER.as_bytes());
        Golden {
            name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
            input: bytes[..at.unwrap_or(bytes.len())].to_vec(),
            expected: at.map(|at| String::from_utf8_lossy(&bytes[at + RULER.len()..]).into_owned()),
            path,
        }
    };
    paths.into_iter().map(file).collect()
}

/// Runs every file of the folder, and fails with the names of those that came out otherwise.
pub fn golden(folder: &str, least: usize, run: impl Fn(&Golden) -> String) {
    let bless = std::env::var_os("PORTWAY_BLESS").is_some();
    let mut wrong = Vec::new();
    for file in files(folder, least) {
        let found = run(&file);
        let Golden { input, path, expected, .. } = file;
        if bless {
            std::fs::write(&path, [&input, RULER.as_bytes(), found.as_bytes()].concat()).unwrap();
        } else if expected.as_ref() != Some(&found) {
            let expected = expected.unwrap_or_default();
            wrong.push(format!("{}\nexpected:\n{expected}\nfound:\n{found}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{} files came out otherwise:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn diagnostics() {
    golden("diagnostics", 35, |file| match compile("portway.toml", &file.input) {
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
    golden("plans", 8, |file| {
        let input = std::str::from_utf8(&file.input).unwrap();
        let (old, new) = input.split_once("=====\n").unwrap();
        let table = |text: &str| compile("portway.toml", text.as_bytes()).unwrap().table;
        Plan::between(&table(old), &table(new)).to_string()
    });
}
