//! Several files as one table: golden files, in which a line `=== NAME` begins each file. The first is the main one, and runs; each
//! of the others comes after those above it.

use std::path::Path;
use std::sync::Arc;

use portway::config::{Plan, RouteFile, RouteFiles, join};
use portway::model::Table;

use super::golden::golden;

/// Each file of a golden input: its name, its text.
fn parts(input: &[u8]) -> Vec<(&str, &str)> {
    let input = std::str::from_utf8(input).unwrap();
    let parts = input.split("=== ").filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('\n').unwrap()).collect()
}

fn told(input: &[u8]) -> String {
    let parts = parts(input);
    let (name, text) = parts[0];
    let mut told = String::new();
    let mut files = match RouteFile::main(name, text.as_bytes()) {
        Ok(main) => RouteFiles::new(main),
        Err(report) => return format!("{}\n{report}", report.headline()),
    };
    for (name, text) in &parts[1..] {
        let path = Path::new(name);
        let file = match RouteFile::included(name, text.as_bytes(), path) {
            Ok(file) => file,
            Err(report) => {
                told.push_str(&format!("{}\n{report}\n", report.headline()));
                continue;
            }
        };
        let (mut file, newest) = (file, files.next_place());
        file.move_to(newest);
        let mut all = files.clone();
        all.insert(path.to_owned(), Arc::new(file));
        match join(all.clone(), newest) {
            Ok(_) => files = all,
            Err(misfits) => {
                for misfit in misfits {
                    assert_eq!(misfit.name, *name);
                    told.push_str(&format!("{}\n{}\n", misfit.report.headline(), misfit.report));
                }
            }
        }
    }
    let compiled = join(files, 0).unwrap();
    told + &Plan::between(&Table::default(), &compiled.table).to_string()
}

#[test]
fn several_files_are_one_table_or_say_what_is_in_the_way() {
    golden("includes", 8, |file| told(&file.input));
}

/// Whichever file of two comes first, the other one is told of, and what was joined is what one file with all routes says.
#[test]
fn files_together_say_what_one_file_says() {
    let route = |number: usize| format!("[[route]]\nlisten = \"127.0.0.1:{number}\"\nupstream = \"a:1\"\n");
    let main = RouteFile::main("main.toml", b"include = \"*.toml\"\n").unwrap();
    let mut files = RouteFiles::new(main);
    for first in [1000, 1010, 1020] {
        let text: String = (first..first + 10).map(route).collect();
        let name = format!("{first}.toml");
        let mut file = RouteFile::included(&name, text.as_bytes(), Path::new(&name)).unwrap();
        file.move_to(files.next_place());
        files.insert(name.into(), Arc::new(file));
    }
    let together = join(files.clone(), 0).unwrap().table;
    let alone: String = (1000..1030).map(route).collect();
    assert_eq!(together, portway::config::compile("one.toml", alone.as_bytes()).unwrap().table);
    let by_route = files.by_route();
    assert_eq!((by_route.len(), by_route["127.0.0.1:1015"].as_str()), (30, "1010.toml"));
    assert_eq!(
        files.included_bytes(),
        files.included().values().map(|file| file.text().len()).sum::<usize>()
    );
    // With another main file only what it includes is left.
    let main = RouteFile::main("main.toml", b"include = [\"101*.toml\"]\n").unwrap();
    assert_eq!(files.with_main(main).included().len(), 1);
}

#[test]
fn a_file_that_is_moved_again_keeps_its_places() {
    let route = "[[route]]\nlisten = \"127.0.0.1:8080\" # and no other\nupstream = \"app:80\"\n";
    let main = format!("include = \"*.toml\"\n{route}");
    let mut files = RouteFiles::new(RouteFile::main("main.toml", main.as_bytes()).unwrap());
    let mut file = RouteFile::included("b.toml", route.as_bytes(), Path::new("b.toml")).unwrap();
    // Other files ran before, and have gone.
    assert_eq!(file.move_to(5000), 5000 + route.len());
    let newest = files.next_place();
    assert_eq!(newest, main.len());
    file.move_to(newest);
    files.insert("b.toml".into(), Arc::new(file));
    let misfits = join(files, newest).unwrap_err();
    let [misfit] = misfits.as_slice() else { panic!("{misfits:?}") };
    let shown = misfit.report.render(false);
    let first = "error: `127.0.0.1:8080` is listened on twice\n --> b.toml:2:10\n";
    assert!(misfit.name == "b.toml" && shown.starts_with(first), "{shown}");
    // With its quotes the address has sixteen characters.
    assert_eq!(shown.matches('^').count(), 16, "{shown}");
    assert!(shown.contains("main.toml:3:10\n"), "{shown}");
}
