//! Several files of routes as one table. Each was compiled by itself; here they meet: no address twice, no name twice, no
//! circle. What two of them claim stays with the one that runs.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::compile::{Compiled, alone, named};
use super::placed::{Elsewhere, Placed};
use super::report::Report;
use super::route::Draft;
use super::route_file::RouteFile;
use super::route_files::RouteFiles;
use super::{cross, listeners, widths};
use crate::model::Table;

/// A file that does not fit to the others.
#[derive(Clone, Debug)]
pub struct Misfit {
    /// What its report calls it.
    pub name: String,
    /// What it claims that others have.
    pub report: Report,
}

/// Makes one table of all files. `newest`: the first place of those that do not run yet. Of two files that claim the same
/// the one that came later is a misfit, and of what runs none is.
pub fn join(files: RouteFiles, newest: usize) -> Result<Compiled, Vec<Misfit>> {
    if files.included().is_empty() {
        return Ok(alone(files));
    }
    let mut by_place = files.newest_first();
    by_place.reverse();
    let drafts: Vec<&Draft> = by_place.iter().flat_map(|file| file.drafts()).collect();
    let mut faults = Vec::new();
    // What each route is by itself was looked at when its file was compiled.
    cross::check_together(&drafts, &mut faults);
    widths::check(&drafts, &mut faults);
    let main = files.main();
    if let (Some(admin), Some(at)) = (&main.settings().admin, main.admin()) {
        let others = files.included().values().flat_map(|file| file.drafts());
        cross::admin_overlaps(admin, at, others, &mut faults);
    }
    let sockets = listeners::sockets(drafts.iter().flat_map(|draft| &draft.sockets), &mut faults);
    if !faults.is_empty() {
        return Err(misfits(&by_place, newest, faults));
    }
    let mut table = Table { sockets, ..main.settings().clone() };
    let routes = files.all().flat_map(|file| file.served()).map(named);
    table.routes = Arc::new(routes.collect());
    table.disabled = files.all().flat_map(|file| &file.settings().disabled).cloned().collect();
    Ok(Compiled::new(table, files))
}

/// Gives each fault to the file that is to blame. `files`: in the order of their places.
fn misfits(files: &[&RouteFile], newest: usize, faults: Vec<Placed>) -> Vec<Misfit> {
    let mut by_file: BTreeMap<usize, Vec<Placed>> = BTreeMap::new();
    let holder =
        |at: &Range<usize>| files.partition_point(|file| file.places().start <= at.start).saturating_sub(1);
    for placed in faults {
        let places = placed.at.iter().chain(placed.also.iter().map(|(at, _)| at));
        let late = places.filter(|at| at.start >= newest).max_by_key(|at| at.start);
        // Without a place in what is new: the last of them has brought it about.
        let to_blame = late.map_or(files.len().saturating_sub(1), &holder);
        let told = told_by(files, to_blame, &holder, placed);
        by_file.entry(to_blame).or_default().push(told);
    }
    let misfit = |(index, faults): (usize, Vec<Placed>)| {
        let file = files.get(index)?;
        Some(Misfit { name: file.name().to_owned(), report: file.report(faults) })
    };
    by_file.into_iter().filter_map(misfit).collect()
}

/// A fault as a report of one of the files tells it: its places in that file's text, and those in others.
fn told_by(
    files: &[&RouteFile],
    teller: usize,
    holder: &impl Fn(&Range<usize>) -> usize,
    placed: Placed,
) -> Placed {
    let Placed { fault, at, label, also, .. } = placed;
    let mut places: Vec<(Range<usize>, String)> = at.into_iter().zip([label]).chain(also).collect();
    let own = places.iter().position(|(at, _)| holder(at) == teller);
    let mut told = Placed::whole(fault);
    if let Some(own) = own {
        let (at, label) = places.remove(own);
        told.at = files.get(teller).map(|file| file.local(at));
        told.label = label;
    }
    for (at, label) in places {
        let index = holder(&at);
        let Some(file) = files.get(index) else { continue };
        let at = file.local(at);
        if index == teller {
            told.also.push((at, label));
        } else {
            let (name, text) = (file.name().to_owned(), file.shared_text());
            told.elsewhere.push(Elsewhere { name, text, at, label });
        }
    }
    told
}
