//! Edits that several files make together: a route that moves from file to file is not touched, however the files are saved.

use std::fs;
use std::time::Duration;

use super::includes::{INCLUDE, Several, ports};
use crate::admin::asker::{head, portway as command};
use crate::harness::instance::*;

/// A route whose connections do not live through its end.
fn cut(name: &str, port: &Port, to: &Backend) -> String {
    route(name, &port.local(), to, "on_change = \"cut\"\n")
}

fn main(routes: &str) -> String {
    format!("{INCLUDE}{HEAD}{routes}")
}

impl Several {
    /// Waits until two seconds and more are over, in which the routes of a file that is gone would go.
    fn nothing_happens(&mut self, flows: &mut [Flow]) {
        pass(Duration::from_secs(4));
        flows.iter_mut().for_each(|flow| flow.ping().unwrap());
        assert_eq!(self.portway.count("reloaded"), 0, "{}", self.portway.log());
    }

    /// Waits until an edit has turned out to change nothing.
    fn unchanged(&mut self) {
        self.portway.phase("nothing changed");
    }
}

#[test]
fn a_file_that_is_renamed_keeps_its_routes_and_what_was_done_by_hand() {
    let ([web, held, other, third], a) = (ports(), Backend::named("a"));
    let place = Place::with("");
    place.save(&format!("{INCLUDE}{}", head(&place)));
    fs::create_dir(place.folder().join("routes.d")).unwrap();
    let text = cut("web", &web, &a) + &cut("held", &held, &a);
    fs::write(place.folder().join("routes.d/a.toml"), text).unwrap();
    fs::write(place.folder().join("routes.d/other.toml"), cut("other", &other, &a)).unwrap();
    let mut several = Several { portway: Portway::run(&place.file()), place };
    let done = command(&several.place.file(), &["disable", "held"]);
    assert!(done.code == 0 && is_refused(held.number), "{done:?}");
    let mut flow = Flow::open(web.number);
    fs::rename(several.path("a.toml"), several.path("web.toml")).unwrap();
    fs::remove_file(several.path("other.toml")).unwrap();
    // What else is gone may come back: it has its time.
    let line = several.portway.phase("nothing changed");
    assert_eq!(line["file"], "routes.d/web.toml, routes.d/a.toml");
    let line = several.portway.phase("reloaded");
    assert_eq!((&line["file"], &line["plan"]), (&"routes.d/other.toml".into(), &"removed other".into()));
    flow.ping().unwrap();
    assert!(is_refused(held.number));
    // Each name is followed.
    several.save("web.toml", &(route("web", &web.local(), &a, "") + &cut("held", &held, &a)));
    assert_eq!(several.reloaded(), "changed web");
    several.save("a.toml", &cut("third", &third, &a));
    assert_eq!(several.reloaded(), "added third");
    drop(flow);
    several.portway.stop();
}

#[test]
fn routes_that_move_between_the_main_file_and_others_are_not_touched() {
    let (a, whole) = (Backend::named("a"), |port: &Port, a: &Backend| cut("web", port, a));
    // Which text is saved first, how long before the other one, and whether it is refused until then.
    for (splits, main_first, at_once) in [
        (true, true, true),
        (true, false, true),
        (true, false, false),
        (false, true, true),
        (false, false, true),
        (false, true, false),
    ] {
        let ([web, other], case) = (ports(), (splits, main_first, at_once));
        let (with, without) = (whole(&web, &a) + &cut("other", &other, &a), cut("other", &other, &a));
        let (before, files, after) = match splits {
            true => (with, vec![], without),
            false => (without, vec![("web.toml", whole(&web, &a))], with),
        };
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let mut several = Several::run(&before, &files);
        let mut flows = [&web, &other].map(|port| Flow::open(port.number));
        for of_main in [main_first, !main_first] {
            match (of_main, splits) {
                (true, _) => several.place.save(&main(&after)),
                (false, true) => several.save("web.toml", &whole(&web, &a)),
                (false, false) => fs::remove_file(several.path("web.toml")).unwrap(),
            }
            if of_main == main_first && !at_once {
                several.portway.refused();
            }
        }
        several.unchanged();
        several.nothing_happens(&mut flows);
        assert_eq!(several.portway.count("edit refused"), usize::from(!at_once), "{}", several.portway.log());
        drop(flows);
        assert_eq!(reached(web.number), "a", "{case:?}");
        several.portway.stop();
    }
}

/// A main file that includes others from now on, with the routes that it had.
#[test]
fn a_main_file_that_is_split_reads_what_it_includes_with_the_same_edit() {
    let ([web, mail], a) = (ports(), Backend::named("a"));
    let [one, two] = [cut("web", &web, &a), cut("mail", &mail, &a)];
    let place = Place::with(&format!("{HEAD}{one}{two}"));
    let mut several = Several { portway: Portway::run(&place.file()), place };
    let mut flows = [&web, &mail].map(|port| Flow::open(port.number));
    fs::create_dir(several.place.folder().join("routes.d")).unwrap();
    several.save("web.toml", &one);
    several.save("bad.toml", "nonsense");
    several.save("mail.toml", &two);
    several.place.save(&main(""));
    several.unchanged();
    several.nothing_happens(&mut flows);
    // Each is followed, and goes its own way from here.
    several.save("web.toml", &route("web", &web.local(), &a, ""));
    assert_eq!(several.reloaded(), "changed web");
    fs::remove_file(several.path("mail.toml")).unwrap();
    assert_eq!(several.reloaded(), "removed mail");
    drop(flows);
    several.portway.stop();
}

#[test]
fn two_files_swap_what_they_claim_in_two_saves() {
    let ([one, two, three], a, b) = (ports(), Backend::named("a"), Backend::named("b"));
    let (first, second) = (|port: &Port| cut("one", port, &a), |port: &Port| cut("two", port, &b));
    let mut several = Several::run(
        &cut("three", &three, &a),
        &[
            ("one.toml", &first(&one)),
            ("two.toml", &second(&two)),
            // Others that are in nobody's way: one does not fit, and one has a fault.
            ("unfit.toml", &cut("unfit", &three, &a)),
            ("bad.toml", "nonsense"),
        ],
    );
    (0..2).for_each(|_| drop(several.portway.refused()));
    let mut flow = Flow::open(three.number);
    several.save("one.toml", &first(&two));
    assert!(several.portway.refused().contains("is listened on twice"));
    several.save("two.toml", &second(&one));
    let line = several.portway.phase("reloaded");
    assert_eq!(line["plan"].as_str(), Some("changed one, two"));
    assert_eq!(line["file"].as_str(), Some("routes.d/two.toml, routes.d/one.toml"));
    several.portway.phase("fault healed");
    assert_eq!([&one, &two].map(|port| reached(port.number)), ["b", "a"]);
    flow.ping().unwrap();
    drop(flow);
    several.portway.stop();
}

#[test]
fn a_folder_that_is_written_anew_under_other_names_keeps_its_routes() {
    let (ports, a) = (ports::<3>(), Backend::named("a"));
    let text = |number: usize| cut(&format!("r{number}"), &ports[number], &a);
    let mut several = Several::run("", &[("0.toml", &text(0)), ("1.toml", &text(1)), ("2.toml", &text(2))]);
    let mut flows = [0, 1, 2].map(|number| Flow::open(ports[number].number));
    (0..3).for_each(|number| fs::remove_file(several.path(&format!("{number}.toml"))).unwrap());
    (0..3).for_each(|number| several.save(&format!("new-{number}.toml"), &text(number)));
    several.unchanged();
    several.nothing_happens(&mut flows);
    drop(flows);
    several.portway.stop();
}

/// Whoever has not told that a text is whole takes nothing away with it.
#[test]
fn an_edit_does_not_bring_along_what_takes_routes_away() {
    let ([one, two, three, four], a) = (ports(), Backend::named("a"));
    let both = route("one", &one.local(), &a, "") + &route("two", &two.local(), &a, "");
    let pair = route("three", &three.local(), &a, "") + &route("four", &four.local(), &a, "");
    let mut several = Several::run("", &[("both.toml", &both), ("pair.toml", &pair)]);
    let mut flow = Flow::open(two.number);
    several.save("both.toml", both[..both.rfind("[[route]]").unwrap()].trim_end());
    assert!(several.portway.refused().contains("looks cut off"), "{}", several.portway.log());
    several.save("pair.toml", &route("three", &three.local(), &a, ""));
    assert_eq!(several.reloaded(), "removed four");
    flow.ping().unwrap();
    assert_eq!(reached(two.number), "a");
    drop(flow);
    several.portway.stop();
}
