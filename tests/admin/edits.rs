//! `reload`: it waits, and shows what became of the file.

use serde_json::{Value, json};

use super::asker::{Asker, head, portway, start};
use crate::harness::instance::{Backend, Place, Port, Portway, reached, route};
use crate::harness::tls::PEMS;
use crate::harness::until;

#[test]
fn a_reload_waits_for_the_outcome_and_shows_it() {
    let (one, two, backend) = (Port::reserve(), Port::reserve(), Backend::named("b"));
    let routes = route("one", &one.local(), &backend, "");
    let (place, proxy, asker) = start(&routes);
    assert_eq!(asker.get("/v1/status")["reload"]["outcome"], "started");
    let reload = || portway(&place.file(), &["reload"]);
    let same = reload();
    assert_eq!((same.code, same.out.as_str()), (0, "nothing changed: the file is what runs; generation 1\n"));
    assert_eq!(asker.get("/v1/status")["reload"]["outcome"], "unchanged");
    let shown = portway(&place.file(), &["status"]).out;
    assert!(
        shown.contains(": is what runs; last read ") && shown.contains(" ago, nothing changed\n"),
        "{shown}"
    );

    let more = head(&place) + &routes + &route("two", &two.local(), &backend, "");
    place.save(&more);
    let done = reload();
    // Whoever was first: the watch, or the person.
    assert!(done.code == 0 && done.out.contains("generation 2"), "{done:?}");
    assert_eq!(reached(two.number), "b");
    let status = asker.get("/v1/status");
    assert_eq!((&status["generation"], &status["pending"]), (&json!(2), &Value::Null));
    assert_eq!(status["reload"]["succeeded"], 1);

    place.save(&more.replace("listen = \"127", "lisden = \"127"));
    let refused = reload();
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(
        refused.err.contains("did you mean `listen`?") && refused.err.contains("^^^^^^"),
        "{}",
        refused.err
    );
    assert!(refused.err.ends_with("refused: what runs goes on as before; generation 2\n"), "{}", refused.err);
    let status = asker.get("/v1/status");
    assert_eq!(status["reload"]["outcome"], "refused");
    let pending = &status["pending"];
    assert!(pending["report"].as_str().unwrap().contains("^^^^^^"), "{pending}");
    assert!(pending["headline"].as_str().unwrap().contains("did you mean"), "{pending}");
    assert_eq!(pending["faults"], 2, "{pending}");
    let shown = portway(&place.file(), &["status"]);
    assert!(shown.out.contains("REFUSED") && shown.out.contains("^^^^^^"), "{}", shown.out);
    assert!(shown.out.contains(" the file is not what runs:\nerror: "), "{}", shown.out);
    assert_eq!(reached(one.number), "b");

    place.save(&more);
    assert_eq!(reload().code, 0);
    assert_eq!(asker.get("/v1/status")["pending"], Value::Null);
    let json: Value = serde_json::from_str(&portway(&place.file(), &["reload", "--json"]).out).unwrap();
    assert_eq!(json["outcome"], "unchanged");
    proxy.stop();
}

/// A list, a certificate with its key and a token are read as well. What does not fit is told, and what was taken.
#[test]
fn a_reload_tells_of_the_files_that_the_routes_name() {
    const LIST: &str = "192.0.2.17\n198.51.100.123\n";
    let (plain, secure, backend) = (Port::reserve(), Port::reserve(), Backend::named("b"));
    let place = Place::with("");
    let file = |name: &str| place.folder().join(name);
    let save = |name: &str, text: &str| std::fs::write(file(name), text).unwrap();
    let [_, cert, key] = PEMS.write(&place.folder());
    save("deny.txt", LIST);
    save("token", "f1rst-0123456789abcdef\n");
    let tls = format!("tls = {{ cert = \"{}\", key = \"{}\" }}\n", cert.display(), key.display());
    let text = format!("{}token = {{ file = \"token\" }}\n", head(&place))
        + &route("plain", &plain.local(), &backend, "deny = { file = \"deny.txt\" }\n")
        + &route("secure", &secure.local(), &backend, &tls);
    place.save(&text);
    let (proxy, asker) = (Portway::run(&place.file()), Asker::unix(&place));
    let reload = || portway(&place.file(), &["reload"]);
    let fine = (0, "nothing changed: the file is what runs; generation 1\n".to_owned());
    let nothing = reload();
    assert_eq!((nothing.code, nothing.out), fine);

    // Refused by the watch or not yet seen by it: the answer waits for each of them.
    let good = std::fs::read_to_string(&cert).unwrap();
    let of_token = std::fs::read_to_string(file("token")).unwrap();
    for (name, bad, why) in [
        ("deny.txt", "nonsense\n", "the file is no list"),
        ("cert.pem", "no certificate\n", "certificate"),
        ("token", "s3cond-short\n", "shorter than 16"),
    ] {
        save(name, bad);
        let refused = reload();
        assert_eq!((refused.code, &*refused.out), (2, ""), "{name}: {refused:?}");
        assert!(refused.err.contains(name) && refused.err.contains(why), "{name}: {}", refused.err);
        assert!(
            refused.err.ends_with("\nrefused: what runs goes on as before; generation 1\n"),
            "{refused:?}"
        );
    }
    // All of them, each once.
    let err = reload().err;
    assert_eq!(
        ["deny.txt", "cert.pem", "/token"].map(|word| err.matches(word).count() > 0),
        [true; 3],
        "{err}"
    );
    assert_eq!(err.matches("error: ").count(), 3, "{err}");
    [("deny.txt", LIST), ("cert.pem", &*good), ("token", &*of_token)]
        .iter()
        .for_each(|(name, text)| save(name, text));
    let mended = reload();
    assert_eq!((mended.code, mended.out), fine);

    // What looks cut off is taken as it is, beside an edit of the file.
    std::fs::File::options().write(true).open(file("deny.txt")).unwrap().set_len(23).unwrap();
    until("it looks cut off", || asker.get("/v1/status")["pending_files"].to_string().contains("cut off"));
    let taken = reload();
    let said = format!("reloaded: changed {}; generation 1\n", file("deny.txt").display());
    assert_eq!((taken.code, taken.out), (0, said));
    proxy.stop();
}

#[test]
fn nobody_answers_and_nobody_is_meant_are_two_things() {
    let backend = Backend::named("b");
    let port = Port::reserve();
    let (place, proxy, _) = start(&route("one", &port.local(), &backend, ""));
    let file = place.file();
    proxy.stop();
    let silent = portway(&file, &["status"]);
    assert!(silent.code == 1 && silent.err.contains("no running Portway answers at unix:"), "{silent:?}");
    let nobody = portway(std::path::Path::new("/nowhere/portway.toml"), &["status"]);
    assert!(nobody.code == 2 && nobody.err.contains("does not say whom to ask"), "{nobody:?}");
    let addr = port.local();
    let told = portway(&file, &["status", "--admin", &addr]);
    assert!(told.code == 1 && told.err.contains(&addr), "{told:?}");
}
