//! `reload`: it waits, and shows what became of the file.

use serde_json::{Value, json};

use super::asker::{head, portway, start};
use crate::harness::instance::{Backend, Port, reached, route};

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
