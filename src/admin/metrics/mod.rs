//! `GET /metrics`: everything that is counted, for Prometheus. The number of series depends on the routes and upstreams
//! of the file, never on clients; the series of a route go with the route.

mod proxy;
mod routes;
mod text;

use super::guests::Guests;
use super::http::Answer;
use super::snapshot::Snapshot;
use text::{Form, Page};

/// Every metric, in the form that the scraper prefers.
pub(super) fn answer(snapshot: &Snapshot, guests: &Guests, accept: &str) -> Answer {
    let form = Form::preferred(accept);
    let mut page = Page::new(form);
    proxy::write(&mut page, snapshot);
    proxy::of_endpoint(&mut page, guests);
    routes::write(&mut page, snapshot);
    Answer { status: 200, kind: form.kind(), body: page.finish().into_bytes(), more: &[] }
}
