//! What else is on disk when an edit of several files is put together: what may not be taken along, and what may not be in its way.

use std::fs::{self, File};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::includes::{INCLUDE, Several, ports};
use crate::harness::instance::*;

fn cut(name: &str, port: &Port, to: &Backend) -> String {
    route(name, &port.local(), to, "on_change = \"cut\"\n")
}

const DENY: &str = "deny = [\"127.0.0.0/8\"]\n";

fn is_denied(port: &Port) -> bool {
    Flow::try_open(port.number).is_err()
}

#[test]
fn what_looks_cut_off_or_is_half_written_is_not_taken_along() {
    let ([web, secret], a) = (ports(), Backend::named("a"));
    let open = route("secret", &secret.local(), &a, "");
    let whole = format!("{open}{DENY}");
    let mut several = Several::run("", &[("a.toml", &cut("web", &web, &a)), ("c.toml", &whole)]);
    let mut flow = Flow::open(web.number);
    several.save("c.toml", open.trim_end());
    assert!(several.portway.refused().contains("looks cut off"));
    fs::rename(several.path("a.toml"), several.path("b.toml")).unwrap();
    assert_eq!(several.portway.phase("nothing changed")["file"], "routes.d/b.toml, routes.d/a.toml");
    assert!(is_denied(&secret));
    several.save("c.toml", &whole);
    several.portway.phase("fault healed");
    // Its writer has still to come to the end.
    let mut writer = File::create(several.path("c.toml")).unwrap();
    writer.write_all(open.as_bytes()).unwrap();
    fs::rename(several.path("b.toml"), several.path("a.toml")).unwrap();
    assert_eq!(several.portway.phase("nothing changed")["file"], "routes.d/a.toml, routes.d/b.toml");
    assert!(is_denied(&secret));
    writer.write_all(DENY.as_bytes()).unwrap();
    drop(writer);
    flow.ping().unwrap();
    assert_eq!(several.portway.count("reloaded"), 0, "{}", several.portway.log());
    drop(flow);
    several.portway.stop();
}

#[test]
fn a_new_file_counts_once_its_writer_has_closed_it() {
    let ([web, other, secret], a) = (ports(), Backend::named("a"));
    let mut several = Several::run("", &[("a.toml", &cut("web", &web, &a))]);
    // From now on the folder is watched.
    several.save("b.toml", &cut("other", &other, &a));
    assert_eq!(several.reloaded(), "added other");
    let mut writer = File::create(several.path("c.toml")).unwrap();
    writer.write_all(route("secret", &secret.local(), &a, "").as_bytes()).unwrap();
    // As long as a file takes that is whole, several times.
    pass(Duration::from_secs(2));
    assert_eq!(several.portway.count("reloaded"), 1, "{}", several.portway.log());
    writer.write_all(DENY.as_bytes()).unwrap();
    drop(writer);
    assert_eq!(several.reloaded(), "added secret");
    assert!(is_denied(&secret));
    several.portway.stop();
}

#[test]
fn a_main_file_that_waits_for_another_may_drop_routes_too() {
    let ([x, y, old], [a, b]) = (ports(), ["a", "b"].map(Backend::named));
    let mut several =
        Several::run(&(cut("old", &old, &a) + &cut("one", &x, &a)), &[("a.toml", &cut("two", &y, &b))]);
    several.place.save(&format!("{INCLUDE}{HEAD}{}", cut("one", &y, &a)));
    several.portway.refused();
    several.save("a.toml", &cut("two", &x, &b));
    several.portway.phase("reloaded");
    assert_eq!((reached(y.number), reached(x.number)), ("a".to_owned(), "b".to_owned()));
    assert!(is_refused(old.number));
    several.portway.stop();
}

#[test]
fn a_file_that_never_rests_is_in_nobodys_way() {
    let ([web, other], a) = (ports(), Backend::named("a"));
    let text = |n: u32| route("other", &other.local(), &a, &format!("# {n}\n"));
    let mut several = Several::run("", &[("a.toml", &cut("web", &web, &a)), ("c.toml", &text(0))]);
    let mut flow = Flow::open(web.number);
    /// Ends the writer, also if the test fails.
    struct Done<'d>(&'d AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (done, path) = (AtomicBool::new(false), several.path("c.toml"));
    std::thread::scope(|scope| {
        let _done = Done(&done);
        scope.spawn(|| {
            for n in (1..).take_while(|_| !done.load(Ordering::Relaxed)) {
                fs::write(&path, text(n)).unwrap();
                pass(Duration::from_millis(50));
            }
        });
        pass(Duration::from_millis(200));
        fs::rename(several.path("a.toml"), several.path("b.toml")).unwrap();
        several.portway.until("the new name runs", |portway| {
            portway.catch_up();
            portway
                .seen
                .iter()
                .any(|line| line["file"].as_str().is_some_and(|file| file.contains("b.toml, ")))
        });
    });
    flow.ping().unwrap();
    assert!(!several.portway.log().contains("removed web"), "{}", several.portway.log());
    drop(flow);
    several.portway.stop();
}

#[test]
fn a_file_that_waits_and_takes_a_route_away_is_in_nobodys_way() {
    let ([web, gone, taken, one, two], a) = (ports(), Backend::named("a"));
    let (held, x) = (cut("held", &taken, &a), cut("gone", &gone, &a));
    let [of_web, one, two] =
        [("web", &web), ("one", &one), ("two", &two)].map(|(name, port)| cut(name, port, &a));
    let before = [("a.toml", &*format!("{of_web}{one}")), ("x.toml", &x), ("b.toml", &two)];
    let mut several = Several::run(&held, &before);
    let mut flow = Flow::open(web.number);
    several.save("x.toml", &cut("new", &taken, &a));
    several.portway.refused();
    // Whoever gets the route has it first, and is refused until the other one lets it go.
    several.save("b.toml", &format!("{of_web}{two}"));
    several.portway.refused();
    several.save("a.toml", &one);
    several.portway.phase("nothing changed");
    flow.ping().unwrap();
    assert_eq!(several.portway.count("reloaded"), 0, "{}", several.portway.log());
    drop(flow);
    several.portway.stop();
}
