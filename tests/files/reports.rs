//! Several reports as one, and what a report shows of a long text.

use portway::config::{Report, compile};
use portway::model::Fault;

/// A report of one fault, in a text of a hundred characters.
fn at(name: &str, place: usize, message: &str) -> Report {
    Report::at(name, &"x".repeat(100), place..place + 1, Fault::new(message, "cure"))
}

#[test]
fn reports_of_one_text_are_one() {
    let both = at("f", 7, "late").and(at("f", 2, "early"));
    assert_eq!((both.count(), both.headline().as_str()), (2, "f:1:3: early; cure (and 1 more fault)"));
    let shown = both.render(false);
    assert!(shown.find("error: early").unwrap() < shown.find("error: late").unwrap(), "{shown}");
    assert!(shown.ends_with("f: 2 faults\n") && shown.matches("f: ").count() == 1, "{shown}");
    let three = both.and(at("f", 9, "last").and(at("f", 8, "later")));
    assert_eq!((three.count(), three.headline().as_str()), (4, "f:1:3: early; cure (and 3 more faults)"));
}

#[test]
fn reports_of_other_texts_stand_one_after_the_other() {
    let of = |name: &str, text: &str| Report::at(name, text, 0..1, Fault::new("wrong", "cure"));
    for (a, b) in [(of("f", "a = 1\n"), of("g", "a = 1\n")), (of("f", "a = 1\n"), of("f", "b = 1\n"))] {
        let both = a.and(b);
        assert_eq!((both.count(), both.headline().as_str()), (2, "f:1:1: wrong; cure (and 1 more fault)"));
        assert_eq!(both.render(false).matches(": 1 fault\n").count(), 2, "{both}");
    }
    // What each carried with it is kept.
    let four = at("f", 1, "a").and(at("g", 1, "b")).and(at("f", 2, "c").and(at("h", 1, "d")));
    assert_eq!(four.count(), 4);
    let about = |name: &str| four.about(name).map(|part| (part.count(), part.headline()));
    assert_eq!(about("f"), Some((2, "f:1:2: a; cure (and 1 more fault)".to_owned())));
    assert_eq!(about("g"), Some((1, "g:1:2: b; cure".to_owned())));
    assert_eq!(about("h"), Some((1, "h:1:2: d; cure".to_owned())));
    assert_eq!(about("i"), None);
    let deep = at("f", 1, "a").and(at("g", 1, "b").and(at("h", 1, "c")));
    assert_eq!(deep.about("h").unwrap().headline(), "h:1:2: c; cure");
}

#[test]
fn two_results_are_both_values_or_every_fault() {
    let wrong = |name: &str| Err::<u8, _>(at(name, 0, "wrong"));
    assert_eq!(Report::both(Ok::<_, Report>(1), Ok::<_, Report>(2)), Ok((1, 2)));
    let count = |result: Result<(u8, u8), Report>| result.unwrap_err().count();
    assert_eq!(count(Report::both(wrong("f"), wrong("g"))), 2);
    assert_eq!(count(Report::both(wrong("f"), Ok(1))), 1);
    assert_eq!(count(Report::both(Ok(1), wrong("f"))), 1);
}

#[test]
fn of_many_faults_in_reports_of_one_text_fifty_are_shown() {
    // From the last place to the first.
    let many = |count: usize| {
        (0..count).rev().map(|place| at("f", place, &format!("fault {place}."))).reduce(Report::and).unwrap()
    };
    for (count, end) in [(50, "f: 50 faults\n"), (51, "f: 51 faults; the first 50 are shown\n")] {
        let shown = many(count).render(false);
        assert_eq!((many(count).count(), shown.matches("error: ").count()), (count, 50));
        assert!(
            shown.ends_with(end) && shown.contains("fault 49.") && !shown.contains("fault 50."),
            "{shown}"
        );
    }
}

#[test]
fn one_unknown_key_is_enough_to_name_the_command_that_shows_all() {
    let text = "foo = 1\n[[route]]\nlisten = \"8080\"\nupstream = \"app:80\"\n";
    let unknown = || compile("f", text.as_bytes()).unwrap_err();
    let other = || Report::at("f", text, 0..1, Fault::new("wrong", "cure"));
    let says = |report: Report| report.render(false).contains("; `portway example` shows every key\n");
    assert!(says(unknown()) && !says(other()));
    assert!(says(unknown().and(other())) && says(other().and(unknown())));
    assert!(!says(other().and(other())));
}

#[test]
fn a_long_value_is_shown_in_part() {
    let told = |message: &str| Report::about_file("f", Fault::new(message, "")).headline();
    let x = |count: usize| "x".repeat(count);
    // With the quote behind it a value has 200 characters, and 201.
    assert_eq!(told(&format!("`{}`", x(199))), format!("f: `{}`", x(199)));
    assert_eq!(told(&format!("`{}`", x(200))), format!("f: `{} ... {}`", x(100), x(49)));
    // A text has 2000 characters, and 2001.
    let ten = format!("{}`", x(199)).repeat(10);
    assert_eq!(told(&ten), format!("f: {ten}"));
    let shown = told(&format!("{ten}y"));
    assert_eq!(shown.chars().count(), "f: ".len() + 1000 + " ... ".len() + 500);
    assert!(shown.ends_with("x`y") && shown.contains("x` ... x"), "{shown}");
    assert_eq!(told("a\u{7}b\nc\td"), "f: a\u{fffd}b c\u{fffd}d");
}

#[test]
fn a_place_is_of_one_line_and_may_be_past_the_end() {
    let of = |text: &str, place: std::ops::Range<usize>| {
        let report = Report::at("f", text, place, Fault::new("wrong", "cure"));
        (report.headline(), report.render(false).matches('^').count())
    };
    for (text, place, line, width) in [
        ("abc\ndef\n", 1..3, "f:1:2: wrong; cure", 2),
        ("abc\ndef\n", 1..7, "f:1:2: wrong; cure", 2),
        ("abc\r\ndef\r\n", 1..9, "f:1:2: wrong; cure", 2),
        ("abc\r\ndef\r\n", 5..8, "f:2:1: wrong; cure", 3),
        // The end of a line.
        ("abc\r\ndef\r\n", 3..3, "f:1:4: wrong; cure", 1),
        ("abc\r\ndef\r\n", 4..5, "f:1:5: wrong; cure", 1),
        ("abc\r\ndef", 8..9, "f:2:4: wrong; cure", 1),
        ("abc", 30..40, "f:1:4: wrong; cure", 1),
        ("abc\n", 30..40, "f:2:1: wrong; cure", 1),
        // In the middle of a character.
        ("é\nüx\n", 4..6, "f:2:1: wrong; cure", 2),
    ] {
        assert_eq!(of(text, place.clone()), (line.to_owned(), width), "{text:?} {place:?}");
        let drawn = Report::at("f", text, place, Fault::new("wrong", "cure")).render(false);
        assert!(!drawn.contains('\r'), "{drawn:?}");
    }
    // Of a long line 72 characters are underlined.
    for (length, width) in [(71, 71), (72, 72), (73, 72), (200, 72)] {
        assert_eq!(of(&"é".repeat(length), 0..2 * length).1, width, "{length}");
    }
}
