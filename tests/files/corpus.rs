//! The fuzz targets' bodies, over their corpora and over damaged copies of them.

use std::path::Path;

use proptest::prelude::*;

use crate::fuzz::bodies;
use crate::fuzz::flows as story;

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let files = std::fs::read_dir(folder).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        (path.display().to_string(), std::fs::read(&path).unwrap())
    });
    let files: Vec<_> = files.collect();
    assert!(files.len() >= 20, "only {} files for {target}", files.len());
    files
}

#[test]
fn compile() {
    for (name, bytes) in corpus("compile") {
        println!("{name}");
        bodies::compiles(&bytes);
    }
}

#[test]
fn plan() {
    for (name, bytes) in corpus("plan") {
        println!("{name}");
        bodies::plans(&bytes);
    }
}

#[test]
fn proxy_header() {
    for (name, bytes) in corpus("proxy_header") {
        println!("{name}");
        bodies::proxy_headers(&bytes);
    }
}

#[test]
fn client_hello() {
    for (name, bytes) in corpus("client_hello") {
        println!("{name}");
        bodies::client_hellos(&bytes);
    }
}

#[test]
fn certificate() {
    for (name, bytes) in corpus("certificate") {
        println!("{name}");
        bodies::certificates(&bytes);
    }
}

#[test]
fn revocations() {
    for (name, bytes) in corpus("revocations") {
        println!("{name}");
        bodies::revocations(&bytes);
    }
}

#[test]
fn pem() {
    for (name, bytes) in corpus("pem") {
        println!("{name}");
        bodies::pems(&bytes);
    }
}

#[test]
fn lists() {
    for (name, bytes) in corpus("lists") {
        println!("{name}");
        bodies::lists(&bytes);
    }
}

#[test]
fn import() {
    for (name, bytes) in corpus("import") {
        println!("{name}");
        bodies::imports(&bytes);
    }
}

#[test]
fn talk() {
    for (name, bytes) in corpus("talk") {
        println!("{name}");
        bodies::talks(&bytes);
    }
}

#[test]
fn moved() {
    for (name, bytes) in corpus("moved") {
        println!("{name}");
        bodies::moves(&bytes);
    }
}

#[test]
fn flows() {
    for (name, bytes) in corpus("flows") {
        println!("{name}");
        story::flows(&bytes);
    }
}

/// 300,000 events in seeded stories of some hundred each.
#[test]
fn simulated_flows() {
    for seed in 0..500 {
        println!("seed {seed}");
        let mut chance = fastrand::Rng::with_seed(seed);
        let mut bytes = vec![0; 2 + 2 * 600];
        chance.fill(&mut bytes);
        story::flows(&bytes);
    }
}

/// One edit of a text: what stands from `at` on, for `length` bytes, becomes `with`.
fn damage() -> impl Strategy<Value = (prop::sample::Index, usize, Vec<u8>)> {
    const PIECES: &[&str] = &[
        "\"", "[", "]", "[[", "{", "}", "=", "\n", "#", ",", "\\", "'", "\"\"\"", ".", "é", "\0", "\r", "1",
        "\u{feff}",
    ];
    let with = prop_oneof![
        prop::sample::select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    (any::<prop::sample::Index>(), 0..12_usize, with)
}

fn damaged(mut bytes: Vec<u8>, damages: Vec<(prop::sample::Index, usize, Vec<u8>)>) -> Vec<u8> {
    for (at, length, with) in damages {
        let at = at.index(bytes.len() + 1);
        let end = bytes.len().min(at + length);
        bytes.splice(at..end, with);
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn a_damaged_file_is_compiled_or_shown(
        file in any::<prop::sample::Index>(),
        damages in prop::collection::vec(damage(), 1..4),
    ) {
        let files = corpus("compile");
        bodies::compiles(&damaged(files[file.index(files.len())].1.clone(), damages));
    }

    #[test]
    fn a_damaged_header_is_read_or_refused(
        file in any::<prop::sample::Index>(),
        damages in prop::collection::vec(damage(), 1..4),
    ) {
        let files = corpus("proxy_header");
        bodies::proxy_headers(&damaged(files[file.index(files.len())].1.clone(), damages));
    }

    #[test]
    fn a_damaged_hello_is_read_or_refused(
        file in any::<prop::sample::Index>(),
        damages in prop::collection::vec(damage(), 1..4),
    ) {
        let files = corpus("client_hello");
        bodies::client_hellos(&damaged(files[file.index(files.len())].1.clone(), damages));
    }

    #[test]
    fn a_damaged_certificate_is_read_or_not(
        file in any::<prop::sample::Index>(),
        damages in prop::collection::vec(damage(), 1..4),
    ) {
        let files = corpus("certificate");
        bodies::certificates(&damaged(files[file.index(files.len())].1.clone(), damages));
    }

    #[test]
    fn a_damaged_file_of_another_program_is_imported_or_shown(
        file in any::<prop::sample::Index>(),
        damages in prop::collection::vec(damage(), 1..4),
    ) {
        let files = corpus("import");
        bodies::imports(&damaged(files[file.index(files.len())].1.clone(), damages));
    }

    #[test]
    fn a_damaged_pair_has_a_right_plan(
        file in any::<prop::sample::Index>(),
        damages in prop::collection::vec(damage(), 1..3),
    ) {
        let files = corpus("plan");
        bodies::plans(&damaged(files[file.index(files.len())].1.clone(), damages));
    }
}
