// What the fuzz targets check, and `tests/corpus.rs` with them: any bytes may come in, and these hold.

use portway::config::{Plan, compile};
use portway::model::Table;

/// Compiling never panics. A file that is fine is fine again, and the same; one that is not can be shown.
pub fn compiles(bytes: &[u8]) {
    match compile("fuzz.toml", bytes) {
        Ok(compiled) => {
            let again = compile("fuzz.toml", bytes).map(|compiled| compiled.table);
            assert_eq!(again.ok().as_ref(), Some(&compiled.table));
            assert!(!compiled.table.routes.is_empty());
            assert!(Plan::between(&compiled.table, &compiled.table).is_empty());
        }
        Err(report) => {
            assert!(report.count() > 0);
            assert!(!report.headline().contains('\n'));
            assert!(report.headline().starts_with("fuzz.toml:"));
            assert!(report.render(false).contains("fuzz.toml"));
            assert!(!report.render(true).is_empty());
        }
    }
}

/// Two files with a line `=====` between: the plan from one to the other leads from one to the other.
pub fn plans(bytes: &[u8]) {
    const RULER: &[u8] = b"=====\n";
    let Some(at) = bytes.windows(RULER.len()).position(|window| window == RULER) else { return };
    let table = |bytes: &[u8]| compile("fuzz.toml", bytes).ok().map(|compiled| compiled.table);
    let (Some(old), Some(new)) = (table(&bytes[..at]), table(&bytes[at + RULER.len()..])) else { return };
    leads(&old, &new);
    leads(&new, &old);
}

/// The plan from one table to another leads there, and says so.
pub fn leads(old: &Table, new: &Table) {
    let plan = Plan::between(old, new);
    assert_eq!(plan.apply(old), *new);
    assert_eq!(plan.is_empty(), old == new);
    assert_eq!(plan.to_string() == "nothing changes\n", old == new);
    // What the listeners' parts say is what the tables say.
    let sockets = |table: &Table| -> [Vec<_>; 2] {
        [
            table.listeners().map(|(addr, ..)| addr).collect(),
            table.datagrams().map(|(addr, ..)| addr).collect(),
        ]
    };
    for ((mut old, mut new), delta) in
        sockets(old).into_iter().zip(sockets(new)).zip([&plan.listeners, &plan.datagrams])
    {
        old.retain(|addr| !delta.removed.contains_key(addr));
        old.extend(delta.added.keys().cloned());
        old.sort();
        new.sort();
        assert_eq!(old, new);
    }
}
