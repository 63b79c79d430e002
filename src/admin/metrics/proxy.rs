//! The metrics of the process and of its file.

use std::time::SystemTime;

use super::super::api::Source;
use super::super::guests::Guests;
use super::super::render::status;
use super::super::snapshot::Snapshot;
use super::text::{Kind, Page};
use crate::files::Pending;
use crate::net::tls::dates::Dated;
use crate::proxy::record::Shared;
use crate::server::history::Judged;
use crate::server::named_file::NamedFile;
use crate::tasks::restarts;

pub(super) fn write(page: &mut Page, snapshot: &Snapshot) {
    let (view, status) = (&snapshot.view, status::status(snapshot));
    page.family("portway_info", Kind::Gauge, "The version of Portway; always 1.")
        .sample(&[("version", &status.version)], 1);
    page.family("process_start_time_seconds", Kind::Gauge, "When the process was started, since the epoch.")
        .sample(&[], since_epoch(view.started));
    page.family("process_open_fds", Kind::Gauge, "Open descriptors of the process.")
        .sample(&[], status.limits.descriptors.used);
    page.family("process_max_fds", Kind::Gauge, "Limit of open descriptors.")
        .sample(&[], status.limits.descriptors.most);
    page.family("portway_draining", Kind::Gauge, "1: the process is stopping, and not ready.")
        .sample(&[], u8::from(view.draining));
    page.family("portway_listeners", Kind::Gauge, "Sockets that it listens on, TCP and UDP.")
        .sample(&[], status.listeners);
    let help = "Nodes that share the checks of upstreams ([fleet] replicas), this one counted.";
    page.family("portway_fleet_nodes", Kind::Gauge, help).sample(&[], view.nodes);
    for (name, used, help) in [
        ("portway_open_connections", status.limits.connections.used, "Open TCP connections."),
        ("portway_max_connections", status.limits.connections.most, "Limit of TCP connections."),
        (
            "portway_preread_connections",
            status.limits.preread.used,
            "Connections that have sent no whole PROXY header, TLS hello or handshake yet.",
        ),
        ("portway_max_preread_connections", status.limits.preread.most, "Limit of those connections."),
        ("portway_preread_memory_bytes", status.limits.preread_memory.used, "Memory of those connections."),
        ("portway_max_preread_memory_bytes", status.limits.preread_memory.most, "Limit of that memory."),
        ("portway_open_sessions", status.limits.sessions.used, "UDP sessions."),
        ("portway_max_sessions", status.limits.sessions.most, "Limit of UDP sessions."),
        ("portway_open_pipes", status.limits.pipes.used, "Kernel pipes through which bulk data moves."),
        ("portway_max_pipes", status.limits.pipes.most, "Limit of kernel pipes."),
    ] {
        page.family(name, Kind::Gauge, help).sample(&[], used);
    }
    gave_way(page, &snapshot.handle.shared);
    let memory = status.limits.memory;
    let help =
        "Memory that the kernel would not give back: of the control group with the bound, or of the process.";
    page.family("portway_memory_bytes", Kind::Gauge, help).sample(&[], memory.used);
    page.family(
        "portway_max_memory_bytes",
        Kind::Gauge,
        "The bound of the memory; no sample: there is none.",
    );
    if let Some(most) = memory.most {
        page.sample(&[], most);
    }
    page.family(
        "portway_task_restarts",
        Kind::Counter,
        "Tasks that were started again after a fault of Portway.",
    )
    .sample(&[], restarts());
    page.family("portway_log_lines_lost", Kind::Counter, "Lines of the logs that could not be written.")
        .sample(&[], status.log_lines_lost);
    of_file(page, snapshot);
    of_source(page, status.source.as_ref());
    of_named_files(page, snapshot);
}

fn gave_way(page: &mut Page, shared: &Shared) {
    let help =
        "UDP sessions that lost their place to a newcomer; proven: their client had shown that it hears us.";
    let mut family = page.family("portway_sessions_gave_way", Kind::Counter, help);
    for (reason, count) in shared.sessions.gave_way() {
        family = family.sample(&[("reason", reason)], count);
    }
    let help =
        "Connections that gave their place to another before they had an upstream, by what had run out.";
    let mut family = page.family("portway_preread_gave_way", Kind::Counter, help);
    for (reason, count) in shared.preread.gave_way() {
        family = family.sample(&[("reason", reason)], count);
    }
}

/// The files that the routes' file names. As many series as they have certificates in them.
fn of_named_files(page: &mut Page, snapshot: &Snapshot) {
    let files = &snapshot.view.files;
    page.family(
        "portway_file_pending_seconds",
        Kind::Gauge,
        "For how long a certificate, key or list has not been in force as it is on disk; 0: it is.",
    );
    for file in files {
        page.sample(&[("file", &file.name)], pending_seconds(file.pending.as_ref()));
    }
    let end = |page: &mut Page, dated: fn(&NamedFile) -> &[Dated]| {
        for file in files {
            for (index, dated) in dated(file).iter().enumerate() {
                let number = (index + 1).to_string();
                page.sample(&[("file", &file.name), ("number", &number), ("name", &dated.name)], dated.until);
            }
        }
    };
    page.family(
        "portway_certificate_not_after_seconds",
        Kind::Gauge,
        "When a certificate in force ends, since the epoch; the first of a file is the one that peers see.",
    );
    end(page, |file| &file.certificates);
    page.family(
        "portway_revocation_list_next_update_seconds",
        Kind::Gauge,
        "When a revocation list in force is too old, since the epoch.",
    );
    end(page, |file| &file.revocations);
}

fn pending_seconds(pending: Option<&Pending>) -> f64 {
    pending.and_then(|pending| pending.since.elapsed().ok()).unwrap_or_default().as_secs_f64()
}

/// The metrics of the endpoint itself.
pub(super) fn of_endpoint(page: &mut Page, guests: &Guests) {
    let help = "Connections of the admin endpoint that gave their place to a newcomer, by what they did.";
    let mut family = page.family("portway_admin_gave_way", Kind::Counter, help);
    for (reason, count) in guests.gave_way() {
        family = family.sample(&[("reason", reason)], count);
    }
}

fn of_file(page: &mut Page, snapshot: &Snapshot) {
    let view = &snapshot.view;
    page.family("portway_config_generation", Kind::Gauge, "Generation of the running configuration, from 1.")
        .sample(&[], view.generation);
    page.family(
        "portway_config_generation_timestamp_seconds",
        Kind::Gauge,
        "When the running configuration last changed, since the epoch.",
    )
    .sample(&[], since_epoch(view.since));
    let Some(file) = &view.file else { return };
    let history = &file.history;
    page.family(
        "portway_config_reloads",
        Kind::Counter,
        "Edits of the file that were carried out or refused, and those carried out that were rolled back.",
    )
    .sample(&[("outcome", "success")], history.succeeded)
    .sample(&[("outcome", "refused")], history.refused)
    .sample(&[("outcome", "rolled-back")], history.rolled_back);
    let fine = file.pending.is_none() && !matches!(history.last, Judged::Refused | Judged::RolledBack);
    page.family("portway_config_last_reload_success", Kind::Gauge, "1: the file is what runs.")
        .sample(&[], u8::from(fine));
    page.family(
        "portway_config_last_reload_timestamp_seconds",
        Kind::Gauge,
        "When the file was last checked, since the epoch.",
    )
    .sample(&[], since_epoch(history.at));
    page.family(
        "portway_config_pending_seconds",
        Kind::Gauge,
        "For how long the file has not been what runs; 0: it is.",
    )
    .sample(&[], pending_seconds(file.pending.as_ref()));
    page.family(
        "portway_config_stale",
        Kind::Gauge,
        "1: the file was replaced outside of a mount that holds it alone, and edits do not arrive.",
    )
    .sample(&[], u8::from(file.stale));
}

/// The store that the file comes from.
fn of_source(page: &mut Page, source: Option<&Source>) {
    let Some(source) = source else { return };
    let help = "For how long the store has not said that the file is as it has it.";
    page.family("portway_source_age_seconds", Kind::Gauge, help);
    if let Some(age) = source.age {
        page.sample(&[], age);
    }
    for (name, serial, help) in [
        ("portway_source_serial", source.serial, "Serial of the file's signature."),
        ("portway_source_offered_serial", source.offered_serial, "Serial of the store's signature."),
    ] {
        page.family(name, Kind::Gauge, help);
        if let Some(serial) = serial {
            page.sample(&[], serial);
        }
    }
    let help = "Which share of the nodes takes what the store offers.";
    page.family("portway_source_offered_stage_ratio", Kind::Gauge, help);
    if let Some(stage) = source.offered_stage {
        page.sample(&[], stage / 100.0);
    }
    for (name, wrong, help) in [
        ("portway_source_away", source.away.is_some(), "1: the store does not answer."),
        (
            "portway_source_refused",
            source.refused.is_some(),
            "1: this node does not take what the store has.",
        ),
    ] {
        page.family(name, Kind::Gauge, help).sample(&[], u8::from(wrong));
    }
}

fn since_epoch(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0.0, |time| (time.as_secs_f64() * 1000.0).round() / 1000.0)
}
