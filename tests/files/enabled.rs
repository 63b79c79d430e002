//! `enabled = false`: the text is checked, and for the rest it is as if it were not there.

use portway::config::{Plan, compile};
use portway::model::Table;

const WEB: &str = "[[route]]\nname = \"web\"\nlisten = \"127.0.0.1:8080\"\nupstream = \"app:3000\"\n";
const OTHER: &str = "[[route]]\nname = \"other\"\nlisten = \"127.0.0.1:8081\"\nupstream = \"app:3001\"\n";

fn table(text: &str) -> Table {
    compile("portway.toml", text.as_bytes()).unwrap().table
}

#[test]
fn a_disabled_route_is_as_if_it_were_not_there() {
    let with = table(&format!("{OTHER}{WEB}enabled = false\n"));
    assert_eq!(with.routes, table(OTHER).routes);
    assert_eq!(with.listeners().count(), 1);
    assert_eq!(with.disabled.len(), 1);
    assert_eq!(with.disabled[0], table(WEB).routes["web"]);
    assert_eq!(table(&format!("{WEB}enabled = true\n")), table(WEB));
    // Its name, its address and the circle that it would close belong to nobody.
    for text in [
        format!("{WEB}{WEB}enabled = false\n"),
        format!("{WEB}enabled = false\n{WEB}enabled = false\n{WEB}"),
        "[[route]]\nlisten = \"80\"\nupstream = \"127.0.0.1:81\"\n\
         [[route]]\nlisten = \"81\"\nupstream = \"127.0.0.1:80\"\nenabled = false\n"
            .to_owned(),
        format!("[admin]\nlisten = \"127.0.0.1:8080\"\n{OTHER}{WEB}enabled = false\n"),
    ] {
        assert_eq!(table(&text).routes.len(), 1, "{text}");
    }
    // A file may have no other route.
    let none = table(&format!("{WEB}enabled = false\n"));
    assert!(none.routes.is_empty() && none.disabled.len() == 1);
}

#[test]
fn a_disabled_route_is_checked() {
    for (text, message) in [
        (format!("{WEB}enabled = false\nkeepalive = 5\n"), "has no unit"),
        (format!("{WEB}enabled = false\nfoo = 5\n"), "has no key `foo`"),
        ("[[route]]\nlisten = \"80\"\nenabled = false\n".to_owned(), "has no `upstream`"),
        (
            "[[route]]\nlisten = \"80\"\nupstream = \"127.0.0.1:80\"\nenabled = false\n".to_owned(),
            "to itself",
        ),
        (
            "[[route]]\nlisten = [\"80\", \"80\"]\nupstream = \"a:80\"\nenabled = false\n".to_owned(),
            "listened on twice",
        ),
    ] {
        let report = compile("portway.toml", text.as_bytes()).unwrap_err();
        assert_eq!(report.count(), 1, "{report}");
        assert!(report.headline().contains(message), "{report}");
    }
}

#[test]
fn a_plan_says_which_routes_are_disabled() {
    let (old, new) = (table(&format!("{WEB}{OTHER}")), table(&format!("{WEB}enabled = false\n{OTHER}")));
    let plan = Plan::between(&old, &new);
    assert_eq!(
        plan.to_string(),
        "- route \"web\": 127.0.0.1:8080; open connections go on\n  routes with enabled = false: \"web\"\n  \
         sockets that close: 127.0.0.1:8080\n"
    );
    assert_eq!(plan.apply(&old), new);
    let back = Plan::between(&new, &old);
    assert!(back.to_string().contains("  routes with enabled = false: none\n"), "{back}");
    assert_eq!(back.apply(&new), old);
}
