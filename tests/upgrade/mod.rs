//! Another program takes over from the one that runs.
mod between;
mod connections;
mod fake;
mod faults;
mod handover;
mod in_place;
mod judge;
mod meanwhile;
mod memory;
mod service;
mod serving;
mod settled;

use serde_json::{Value, json};

use crate::admin::asker::Asker;
use crate::harness::instance::Portway;

/// Lets the program that runs take over from itself. Returns the answer.
fn upgrade(portway: &mut Portway, asker: &Asker) -> Value {
    let answer = asker.post("/v1/upgrade", &json!({}));
    portway.follow(u32::try_from(answer["pid"].as_u64().unwrap()).unwrap());
    answer
}

/// An upgrade that is refused: what was said. What ran goes on, and has no child.
fn refused(portway: &mut Portway, asker: &Asker, binary: &std::path::Path) -> String {
    let pid = portway.pid();
    let answer = asker.ask("POST", "/v1/upgrade", &json!({ "binary": binary }).to_string());
    assert_eq!(answer.status, 409, "{answer:?}");
    portway.phase("not upgraded");
    assert_eq!(portway.pid(), pid);
    crate::harness::until("it has no child", || crate::harness::successor::children(pid).is_empty());
    asker.get("/v1/status");
    answer.json()["error"].as_str().unwrap().to_owned()
}
