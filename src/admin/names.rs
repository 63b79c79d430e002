//! The names that a request mentions: whether there is such a route, and such an upstream. A mistyped name is not the same
//! as a route without connections.

use super::api::{Filter, Problem};
use super::rights::Refusal;
use crate::config::nearest;
use crate::model::{Route, UpstreamSpec};
use crate::proxy::route::NO_ROUTE;
use crate::server::Handle;
use crate::server::handle::{Stopping, View};

/// Checks that what a filter names exists.
pub(super) async fn check(handle: &Handle, filter: &Filter) -> Result<Result<(), Refusal>, Stopping> {
    if filter.route.is_none() && filter.upstream.is_none() {
        return Ok(Ok(()));
    }
    let view = handle.view().await?;
    let of = filter.route.as_deref();
    if let Some(Err(unknown)) = of.map(|name| check_route(&view, name)) {
        return Ok(Err(unknown));
    }
    let Some(upstream) = filter.upstream.as_deref() else { return Ok(Ok(())) };
    let mut routes = routes(&view).filter(|route| of.is_none_or(|name| route.name == name));
    let known = routes.any(|route| entry(route, upstream).is_some()) || is_connected(handle, upstream);
    Ok(if known { Ok(()) } else { Err(no_upstream(&view, of, upstream)) })
}

/// Checks that there is a route of this name.
pub(super) fn check_route(view: &View, name: &str) -> Result<(), Refusal> {
    let is_there = name == NO_ROUTE || routes(view).any(|route| route.name == name);
    if is_there { Ok(()) } else { Err(no_route(view, name)) }
}

/// Every route that the file has or that still has connections.
fn routes(view: &View) -> impl Iterator<Item = &Route> {
    let views = view.routes.iter().chain(&view.removed).chain(&view.held).map(|view| &view.route);
    views.chain(&view.disabled).map(|route| &**route)
}

/// The entry of a route's `upstream` that this text means: it is written so, or has the address in its range.
pub(super) fn entry<'r>(route: &'r Route, text: &str) -> Option<&'r UpstreamSpec> {
    let mut specs = route.upstream.iter().map(|entry| &entry.spec);
    let typed = text.parse::<UpstreamSpec>().ok();
    specs.find(|spec| {
        spec.to_string() == text || typed.as_ref().is_some_and(|typed| spec.contains(&typed.at(0)))
    })
}

/// Whether a connection leads to this address.
fn is_connected(handle: &Handle, address: &str) -> bool {
    let mut found = false;
    handle.shared.open.each(|open| {
        found = found || open.known().upstream.as_ref().is_some_and(|to| to.peer.to_string() == address);
    });
    found
}

/// The answer for a name that no route has.
pub(super) fn no_route(view: &View, name: &str) -> Refusal {
    let names: Vec<&str> = routes(view).map(|route| route.name.as_str()).collect();
    missing(format!("there is no route `{name}`"), name, &names, "portway routes")
}

/// The answer for an upstream that the route does not have. Without a name: that no route has.
pub(super) fn no_upstream(view: &View, route: Option<&str>, upstream: &str) -> Refusal {
    let routes = routes(view).filter(|of| route.is_none_or(|name| of.name == name));
    let specs: Vec<String> =
        routes.flat_map(|route| route.upstream.iter().map(|entry| entry.spec.to_string())).collect();
    let specs: Vec<&str> = specs.iter().map(String::as_str).collect();
    let error = match route {
        Some(name) => format!("the route `{name}` has no upstream `{upstream}`"),
        None => format!("no route has an upstream `{upstream}`"),
    };
    missing(error, upstream, &specs, "portway upstreams")
}

fn missing(error: String, typed: &str, names: &[&str], list: &str) -> Refusal {
    // A word with one slip of the fingers, however short; or one that looks like it.
    let slip = |name: &&&str| strsim::osa_distance(typed, name) <= (name.len() / 4).clamp(1, 3);
    let meant = names.iter().filter(slip).min_by_key(|name| strsim::osa_distance(typed, name)).copied();
    let help = match meant.or_else(|| nearest(typed, names)) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("`{list}` lists them"),
    };
    Refusal { status: 404, problem: Problem::new(error, help) }
}
