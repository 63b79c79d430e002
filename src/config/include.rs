//! `include`: the files that belong to the main one, each with routes of its own.

use toml::de::{DeTable, DeValue};

use super::place::{self, Place};
use super::placed::Placed;
use crate::model::{Fault, Glob};

const CURE: &str = "write it like this: include = [\"routes.d/*.toml\"]";

/// Reads the patterns.
pub(super) fn read(root: Place<'_>, faults: &mut Vec<Placed>) -> Vec<Glob> {
    let mut globs = Vec::new();
    for item in root.items("include") {
        let fault = match item.get_ref() {
            DeValue::String(text) => match text.parse::<Glob>() {
                Ok(glob) if globs.contains(&glob) => {
                    Fault::new(format!("`{glob}` is listed twice"), "remove one of them")
                }
                Ok(glob) => {
                    globs.push(glob);
                    continue;
                }
                Err(fault) => fault,
            },
            other => {
                Fault::new(format!("`include` takes text or a list of it, not {}", place::kind(other)), CURE)
            }
        };
        faults.push(Placed::new(item.span(), fault));
    }
    globs
}

/// Notes what of an included file belongs to the main one.
pub(super) fn of_the_main_file(document: &DeTable<'_>, faults: &mut Vec<Placed>) {
    for key in ["include", "process", "log", "limits", "fleet", "edits", "admin"] {
        let Some((typed, _)) = document.get_key_value(key) else { continue };
        let fault = match key {
            "include" => Fault::new(
                "an included file includes no others",
                "put the pattern into the `include` of the file that includes this one",
            ),
            key => Fault::new(
                format!(
                    "`[{key}]` is of the whole process: an included file has [defaults] and [[route]] only"
                ),
                format!("put [{key}] into the file that includes this one"),
            ),
        };
        faults.push(Placed::new(typed.span(), fault));
    }
}
