//! `access_log`: Portway has one for all routes.

use super::lex::Directive;
use crate::config::import::sheet::Sheet;
use crate::config::import::values::quote;

/// Where all say the same, `[log]` says it.
pub(super) fn take(inside: &[&Directive], sheet: &mut Sheet) {
    let servers =
        inside.iter().filter(|directive| directive.name == "server").flat_map(|server| server.inside());
    let all = inside.iter().copied().chain(servers).filter(|directive| directive.name == "access_log");
    let all: Vec<&Directive> = all.collect();
    let Some(first) = all.first() else { return };
    let target = first.arg(0);
    let alike = all.iter().all(|directive| directive.arg(0) == target);
    let word = match target {
        "off" => Some("off"),
        "/dev/stdout" => Some("stdout"),
        "/dev/stderr" => Some("stderr"),
        path if path.starts_with('/') && !path.contains('$') => Some(path),
        _ => None,
    };
    match word.filter(|_| alike) {
        Some(word) => {
            sheet.log.set("access", quote(word));
            all.iter().for_each(|directive| sheet.carried(&directive.said()));
        }
        None => {
            let why = "there is one access log for all routes, and each line has its route: \
                       access = \"stderr\", \"stdout\" or a path, in `[log]`";
            all.iter().for_each(|directive| sheet.note(&directive.said(), why));
        }
    }
}
