//! The table.

use std::time::Duration;

use super::{faults, pairs, row};
use crate::machine::Machine;
use crate::proc;

/// Prints each scenario as it is done.
pub struct Report;

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// The smallest that `permille` of a thousand do not exceed.
fn percentile(times: &[Duration], permille: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    let rank = (permille * times.len()).div_ceil(1_000);
    times.get(rank.max(1) - 1).copied().unwrap_or_default()
}

fn spread(times: &[Duration]) -> String {
    let [half, most, worst] = [500, 990, 1_000].map(|permille| millis(percentile(times, permille)));
    format!("{half} / {most} / {worst} ({} trips)", times.len())
}

fn line(what: &str, goal: &str, value: &str) {
    println!("| {what} | {goal} | {value} |");
}

fn load() -> String {
    let busy: f64 = proc::number("/proc/loadavg").unwrap_or_default();
    format!("{busy:.1}")
}

impl Report {
    pub fn begin(machine: &Machine, limit: u64) -> Report {
        println!(
            "{}; {limit} descriptors a process; load average before {:.1}\n",
            machine.text(),
            machine.busy
        );
        println!("| figure | goal | measured |\n|---|---|---|");
        Report
    }

    /// Returns whether it is clean.
    pub fn pairs(&self, outcome: &pairs::Outcome) -> bool {
        let pairs::Outcome { mix, answer, proof, .. } = outcome;
        let kinds = format!(
            "{} pairs: {} bulk, {} half-closed, {} held back, {} asking every {}, the rest idle",
            mix.all,
            mix.bulk,
            mix.half_closed,
            mix.held,
            mix.asking,
            millis(mix.every)
        );
        line("**one upgrade**", "", &format!("{kinds}; load average after {}", load()));
        line("pairs that ended in order", &mix.all.to_string(), &proof.ended.to_string());
        let bytes =
            format!("{} / {} / {}, of {} MiB", proof.lost, proof.doubled, proof.wrong, proof.moved >> 20);
        line("bytes lost / doubled / ends with a wrong one", "0 / 0 / 0", &bytes);
        line("ends reset / failed", "0 / 0", &format!("{} / {}", proof.reset, proof.failed));
        line("bytes in queues and pipes", "", &format!("{} MiB", outcome.under_way >> 20));
        line("round trips before: p50 / p99 / worst", "", &spread(&outcome.before));
        line("round trips during: p50 / p99 / worst", "– / 10 ms / 50 ms", &spread(&outcome.during));
        let pause = answer.body["pause"].as_f64().unwrap_or_default() * 1e3;
        line("pause, as the answer says", "", &format!("{pause:.1} ms"));
        line("from the order to its answer", "1 s", &millis(answer.took));
        line("until the old process had ended", "", &millis(outcome.left_after));
        let told = format!("{} / {}", answer.body["moved"], answer.body["draining"]);
        line("`moved` / `draining`", &format!("{} / 0", mix.all), &told);
        proof.is_clean(mix.all)
    }

    pub fn row(&self, outcome: &row::Outcome) -> bool {
        let row::Outcome { row: Some(row), kept, pss, .. } = outcome else { return false };
        let what = format!(
            "{} upgrades, {} new connections a second, {} kept through all; load average after {}",
            row.upgrades,
            row.rate,
            row.kept,
            load()
        );
        line("**a row**", "", &what);
        let served = format!("{} of {}", outcome.served, outcome.visitors);
        line("new connections served whole", "all", &served);
        let faults =
            format!("{} / {} / {} / {}", outcome.refused, outcome.reset, outcome.wrong, outcome.failed);
        line("refused / reset / wrong / failed", "0 / 0 / 0 / 0", &faults);
        line("a visit: p50 / p99 / worst", "", &spread(&outcome.visits));
        line("the load itself was late by at most", "", &millis(outcome.late));
        line("an upgrade: p50 / p99 / worst", "", &spread(&outcome.upgrades).replace("trips", "upgrades"));
        line("drained in an old process, in all", "", &outcome.drained.to_string());
        let ended = format!("{}, {} / {}", kept.ended, kept.lost, kept.doubled);
        line("kept connections that ended in order, bytes lost / doubled", "all, 0 / 0", &ended);
        line("processes left", "1", &outcome.processes.to_string());
        let (before, after) = (outcome.before.values().sum::<usize>(), outcome.after.values().sum::<usize>());
        line("descriptors before / after", "equal", &format!("{before} / {after}"));
        if before != after {
            println!("\n{:?}\n{:?}\n", outcome.before, outcome.after);
        }
        let mut sorted = pss.clone();
        sorted.sort_unstable();
        let (first, last) = (pss.first().copied(), pss.last().copied());
        let pss = format!(
            "{} / {} / {} / {} KiB",
            first.unwrap_or_default(),
            pss.get(1).copied().unwrap_or_default(),
            sorted.get(sorted.len() / 2).copied().unwrap_or_default(),
            last.unwrap_or_default()
        );
        line("Pss: first process / second / median / last", "flat", &pss);
        outcome.served as u64 == outcome.visitors
            && outcome.processes == 1
            && after <= before
            && kept.is_clean(row.kept)
    }

    pub fn faults(&self, outcome: &faults::Outcome) -> bool {
        let what = format!(
            "{} idle pairs in all, an upgrade has {} steps; load average after {}",
            outcome.idle,
            outcome.packets,
            load()
        );
        line("**faults**", "", &what);
        line("orders refused / carried out", "all / 0", &format!("{} / {}", outcome.refused, outcome.late));
        let lost = &outcome.lost;
        line("idle pairs alive after all", &outcome.idle.to_string(), &lost.ended.to_string());
        let bytes = format!("{} / {} / {}", lost.lost, lost.doubled, lost.wrong);
        line("their bytes lost / doubled / wrong", "0 / 0 / 0", &bytes);
        let asking = format!("{} / {} / {}", outcome.asking, outcome.asking_reset, outcome.asking_wrong);
        line("pairs that were asking: all / of these reset / wrong", "– / – / 0", &asking);
        line("the old process serves on, alone", "yes", if outcome.stayed { "yes" } else { "no" });
        let fds = format!("{} / {}", outcome.fds_before, outcome.fds_after);
        line("its descriptors before / after", "equal", &fds);
        line("longest from an order to its refusal", "", &millis(outcome.longest));
        outcome.late == 0
            && lost.is_clean(outcome.idle)
            && outcome.asking_wrong == 0
            && outcome.stayed
            && outcome.fds_after <= outcome.fds_before
    }
}
