//! A token is shown nowhere, however the file spells it, and whatever is wrong beside it.

use std::process::Command;

use crate::admin::asker::{Asker, portway, socket};
use crate::harness::instance::{Backend, HEAD, Place, Port, Portway, can, route};

use super::top::top;

const SECRET: &str = "s3cret-s3cret-s3cret";

/// `S` is the secret. Each has a fault beside it, or is one.
const SPELLINGS: [&str; 33] = [
    "[admin]\nlisten = \"1\"\ntoken = \"S\"\nx = 1\n",
    "[admin]\ntoken = 'S'\nx = 1\n",
    "[ admin ]\n\"token\" = \"S\"\nx = 1\n",
    "[\"admin\"]\ntoken = \"S\"\nx = 1\n",
    "['admin']\n'read_token' = 'S'\nx = 1\n",
    "admin.token = \"S\"\nadmin.x = 1\n",
    "\"admin\".token = \"S\"\nx = 1\n",
    "'admin' . \"token\" = \"S\"\nx = 1\n",
    "admin = { listen = \"1\", token = \"S\", x = 1 }\n",
    "\"admin\" = { token = 'S', listen = \"1\", x = 1 }\n",
    "[admin]\ntoken = \"\"\"\nS\"\"\"\nx = 1\n",
    "[admin]\ntoken = \"\"\"\\\n  S\"\"\"\nx = 1\n",
    "[admin]\ntoken = '''\nS'''\nx = 1\n",
    "[admin]\ntoken = [\"S\", \"S\"]\n",
    "[admin]\ntoken = { is = \"S\" }\n",
    "[[admin]]\ntoken = \"S\"\n",
    "[\"\\u0061dmin\"]\n\"tok\\u0065n\" = \"S\"\nx = 1\n",
    "[admn]\ntoken = \"S\"\n",
    "[admin]\ntokn = \"S\"\n",
    "[admin.token]\nS = 1\n",
    // A secret in the place of a path or a name.
    "[admin]\ntoken = { file = \"S\", x = 1 }\n",
    "[admin]\ntoken = { env = \"S\", x = 1 }\n",
    "[admin]\ntoken = { file = \"/run/x\", env = \"S\" }\n",
    "[admin]\nread_token = { env = \"$S\" }\n",
    "[admin]\ntoken = \"${TOKEN:-S}\"\n",
    "[admin.token]\nfile = \"/run/x\"\nS = 1\n",
    // Not TOML any more.
    "[admin]\ntoken = S\n",
    "[admin]\ntoken = \"S\" x\n",
    "[\"admin\"\ntoken = \"S\"\n",
    "admin = { token = \"S\"\n",
    "'admin'.token = \"S\n",
    "[admin]\ntoken \"S\"\n",
    "admin.token = \"\"\"\nS\n",
];

#[test]
fn a_token_is_shown_nowhere() {
    let (port, backend) = (Port::reserve(), Backend::named("one"));
    let place = Place::with("");
    let routes = route("web", &port.local(), &backend, "");
    let listen = format!("[admin]\nlisten = \"unix:{}\"\n", socket(&place).display());
    place.save(&format!("{HEAD}{listen}{routes}"));
    let mut proxy = Portway::run(&place.file());
    let asker = Asker::unix(&place);
    let has_tmux = can("tmux", Command::new("tmux").arg("-V").output().is_ok());
    let terminal = has_tmux.then(|| top(&place, ""));
    if let Some(terminal) = &terminal {
        terminal.keys(&["4"]);
    }
    for (at, spelling) in SPELLINGS.iter().enumerate() {
        let text = spelling.replace('S', SECRET) + HEAD + &routes;
        place.save(&text);
        let headline = proxy.refused();
        let mut shown = vec![headline, proxy.log()];
        let check = portway(&place.file(), &["check"]);
        assert_eq!(check.code, 2, "{spelling}\n{}", check.out);
        let admin = format!("--admin=unix:{}", socket(&place).display());
        for command in
            [&["status"][..], &["status", "--json"], &["plan"], &["plan", "--json"], &["connections"]]
        {
            let said = portway(&place.file(), &[command, &[&admin]].concat());
            shown.extend([said.out, said.err]);
        }
        shown.extend([check.out, check.err]);
        for call in
            ["/", "/v1/status", "/v1/routes", "/v1/upstreams", "/v1/connections", "/v1/plan", "/metrics"]
        {
            shown.push(asker.ask("GET", call, "").body);
        }
        let posted = asker.ask("POST", "/v1/plan", &text);
        assert!(posted.body.contains("fault"), "{posted:?}");
        shown.push(posted.body);
        if let Some(terminal) = terminal.as_ref().filter(|_| at % 5 == 0) {
            terminal.until("the fault is shown", |screen| screen.contains("portway.toml:"));
            shown.push(terminal.shows(false));
        }
        for shown in shown {
            assert!(!shown.contains("s3cret"), "{spelling}\n{shown}");
        }
    }
    drop(terminal);
    place.save(&format!("{HEAD}{listen}{routes}"));
    proxy.phase("fault healed");
    proxy.stop();
}
