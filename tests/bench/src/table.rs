//! All results, and how they are shown: one table (Markdown that reads well in a terminal), or JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::measure::Values;
use crate::program::Program;
use crate::rows::{Beside, Goal, Metric, Row};
use crate::stats::Summary;

/// A peer that could not be compared.
pub struct Missing {
    /// Its column.
    pub name: String,
    /// Why.
    pub why: String,
}

/// Everything that was measured.
pub struct Results {
    /// The rows that were asked for.
    pub rows: Vec<Row>,
    /// The programs that are here.
    pub programs: Vec<Program>,
    /// Those that are not.
    pub missing: Vec<Missing>,
    /// One entry per round, by row and program.
    pub values: BTreeMap<(usize, usize), Vec<Values>>,
}

/// The best peer in one line of the table.
#[derive(Clone, Debug, PartialEq)]
struct Best {
    name: String,
    median: f64,
}

/// One program of ours against the best peer and the goal.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Verdict {
    /// To the best peer; `None`: there is none, or it used nothing.
    ratio: Option<f64>,
    /// Whether the goal is reached; `None`: there is none, or nothing to compare with.
    met: Option<bool>,
}

fn judge(goal: Goal, median: f64, best: Option<&Best>) -> Verdict {
    let ratio = best.filter(|best| best.median > 0.0).map(|best| median / best.median);
    let relative = goal.ratio.and_then(|limit| Some(ratio? <= limit));
    let absolute = goal.absolute.map(|limit| median <= limit);
    let met = match (relative, absolute) {
        (Some(a), Some(b)) => Some(a && b),
        // Half of a goal reached is no goal reached, but half of it missed is a goal missed.
        (None, Some(b)) if goal.ratio.is_some() && b => None,
        (one, other) => one.or(other),
    };
    Verdict { ratio, met }
}

fn goal_text(goal: Goal, digits: usize) -> String {
    let ratio = goal.ratio.map(|limit| format!("≤ {limit:.2} ×"));
    let absolute = goal.absolute.map(|limit| {
        // A limit below the digits shown means none at all.
        let none = limit < 0.5 * 10_f64.powi(-(digits as i32)) + f64::EPSILON;
        if none { "0".to_owned() } else { format!("≤ {limit}") }
    });
    let parts: Vec<String> = absolute.into_iter().chain(ratio).collect();
    parts.join(", ")
}

impl Results {
    /// The rounds of one cell, where it was measured.
    fn rounds(&self, row: usize, program: usize, metric: &Metric) -> Vec<f64> {
        let rounds = self.values.get(&(row, program)).map_or(&[][..], Vec::as_slice);
        rounds.iter().filter_map(|values| values.get(metric.key).copied()).collect()
    }

    fn best_peer(&self, row: usize, metric: &Metric) -> Option<Best> {
        let peers = self.programs.iter().enumerate().filter(|(_, program)| program.is_peer());
        let medians = peers.filter_map(|(at, program)| {
            let median = Summary::of(&self.rounds(row, at, metric))?.median;
            Some(Best { name: program.name.clone(), median })
        });
        let sign = if metric.more { -1.0 } else { 1.0 };
        medians.min_by(|a, b| (sign * a.median).total_cmp(&(sign * b.median)))
    }

    /// The table, and below it what was compared and what is missing.
    pub fn text(&self) -> String {
        let ours: Vec<usize> =
            (0..self.programs.len()).filter(|at| self.programs[*at].is_portway()).collect();
        let mut header = vec!["row".to_owned(), String::new()];
        header.extend(self.programs.iter().map(|program| program.name.clone()));
        header.extend(self.missing.iter().map(|missing| missing.name.clone()));
        header.extend(ours.iter().map(|at| format!("{} ÷ best peer", self.programs[*at].name)));
        header.push("goal".to_owned());

        let mut lines = vec![header];
        for (at, row) in self.rows.iter().enumerate() {
            for (number, metric) in row.metrics.iter().enumerate() {
                let title = if number == 0 { row.title.clone() } else { String::new() };
                lines.push(self.line(at, metric, title, &ours));
            }
        }
        let mut text = format!("\n{}\n", markdown(&lines));
        for program in self.programs.iter().filter(|program| !program.version.is_empty()) {
            text.push_str(&format!("{}: {}\n", program.name, program.version));
        }
        for missing in &self.missing {
            text.push_str(&format!("MISSING: {}: {}\n", missing.name, missing.why));
        }
        text.push_str(&self.doubts());
        text
    }

    /// What a reader should know of the measurement itself.
    fn doubts(&self) -> String {
        let mut text = String::new();
        for (at, row) in self.rows.iter().enumerate() {
            let runs =
                (0..self.programs.len()).filter_map(|program| self.values.get(&(at, program))).flatten();
            let late: Vec<f64> = runs.filter_map(|values| values.get("load_late_p99_us").copied()).collect();
            if let Some(late) = Summary::of(&late) {
                let (name, median, max) = (row.name, late.median, late.max);
                text.push_str(&format!(
                    "{name}: the load itself sent late by {median:.0} µs (median of p99; at most {max:.0}).\n"
                ));
                if !self.is_decided(at) {
                    text.push_str(&format!(
                        "{name}: the rounds of Portway and the best peer overlap: undecided.\n"
                    ));
                }
            }
        }
        let lost: f64 = self.values.values().flatten().filter_map(|values| values.get("lost_threads")).sum();
        if lost > 0.0 {
            text.push_str(&format!(
                "{lost} threads ended while they were measured: their CPU time is missing.\n"
            ));
        }
        text
    }

    fn line(&self, row: usize, metric: &Metric, title: String, ours: &[usize]) -> Vec<String> {
        let mut line = vec![title, metric.label.to_owned()];
        for program in 0..self.programs.len() {
            line.push(cell(&self.rounds(row, program, metric), metric.digits));
        }
        line.extend(self.missing.iter().map(|_| "missing".to_owned()));
        let best = self.best_peer(row, metric);
        for program in ours {
            let Some(own) = Summary::of(&self.rounds(row, *program, metric)) else {
                line.push(String::new());
                continue;
            };
            let verdict = judge(metric.goal, own.median, best.as_ref());
            let ratio =
                verdict.ratio.zip(best.as_ref()).map(|(ratio, best)| format!("{ratio:.2} {}", best.name));
            let met = verdict.met.map(|met| if met { "reached" } else { "MISSED" }.to_owned());
            let beside =
                metric.beside.iter().filter_map(|beside| self.beside(row, metric, (own.median, beside)));
            line.push(ratio.into_iter().chain(met).chain(beside).collect::<Vec<_>>().join(", "));
        }
        let beside = metric.beside.iter().map(|beside| format!("≤ {:.2} × {}", beside.ratio, beside.name));
        let goals = [goal_text(metric.goal, metric.digits)].into_iter().filter(|text| !text.is_empty());
        line.push(goals.chain(beside).collect::<Vec<_>>().join(", "));
        line
    }

    /// One program of ours beside one that the goal names, if that was measured.
    fn beside(&self, row: usize, metric: &Metric, (own, beside): (f64, &Beside)) -> Option<String> {
        let at = self.programs.iter().position(|program| program.name == beside.name)?;
        let other = Summary::of(&self.rounds(row, at, metric))?.median;
        let ratio = own / other;
        let met = if ratio <= beside.ratio { "reached" } else { "MISSED" };
        Some(format!("{ratio:.2} {} {met}", beside.name))
    }

    /// Whether a row of times tells who is faster: the middle halves of the rounds of ours and of the best peer do not
    /// overlap. `true` too where there is nothing to tell.
    pub fn is_decided(&self, row: usize) -> bool {
        let Some(metric) = self.rows[row].metrics.iter().find(|metric| metric.goal.ratio.is_some()) else {
            return true;
        };
        let Some(best) = self.best_peer(row, metric) else { return true };
        let halves = |program: usize| middle_half(&self.rounds(row, program, metric));
        let peer = self.programs.iter().position(|program| program.name == best.name).and_then(halves);
        let ours = (0..self.programs.len()).filter(|at| self.programs[*at].is_portway());
        ours.filter_map(halves).all(|(low, high)| peer.is_none_or(|(least, most)| high < least || most < low))
    }

    /// The same with every round.
    pub fn json(&self) -> Value {
        let mut lines = Vec::new();
        for (at, row) in self.rows.iter().enumerate() {
            for metric in row.metrics {
                let best = self.best_peer(at, metric);
                let mut programs = serde_json::Map::new();
                for (number, program) in self.programs.iter().enumerate() {
                    let rounds = self.rounds(at, number, metric);
                    let Some(summary) = Summary::of(&rounds) else { continue };
                    let verdict = judge(metric.goal, summary.median, best.as_ref());
                    programs.insert(program.name.clone(), json!({
                        "median": summary.median, "min": summary.min, "max": summary.max, "rounds": rounds,
                        "to_best_peer": verdict.ratio, "goal_met": program.is_portway().then_some(verdict.met),
                    }));
                }
                lines.push(json!({
                    "row": row.name, "title": row.title, "metric": metric.key, "label": metric.label,
                    "more_is_better": metric.more, "best_peer": best.map(|best| best.name),
                    "goal_ratio": metric.goal.ratio, "goal_absolute": metric.goal.absolute, "programs": programs,
                }));
            }
        }
        json!({
            "lines": lines,
            "programs": self.programs.iter().map(|program| {
                json!({ "name": program.name, "version": program.version, "set_up": format!("{:?}", program.kind) })
            }).collect::<Vec<_>>(),
            "missing": self.missing.iter().map(|missing| {
                json!({ "name": missing.name, "why": missing.why })
            }).collect::<Vec<_>>(),
            "runs": self.values.iter().map(|((row, program), rounds)| {
                json!({
                    "row": self.rows[*row].name, "work": format!("{:?}", self.rows[*row].work),
                    "program": self.programs[*program].name, "rounds": rounds,
                })
            }).collect::<Vec<_>>(),
        })
    }
}

/// The first and the third quartile.
fn middle_half(rounds: &[f64]) -> Option<(f64, f64)> {
    let mut sorted = rounds.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let at = |part: usize| sorted.get((sorted.len().checked_sub(1)? * part + 2) / 4).copied();
    Some((at(1)?, at(3)?))
}

fn cell(rounds: &[f64], digits: usize) -> String {
    let Some(summary) = Summary::of(rounds) else { return "–".to_owned() };
    match rounds.len() {
        1 => format!("{:.digits$}", summary.median),
        _ => format!("{:.digits$} ({:.digits$}–{:.digits$})", summary.median, summary.min, summary.max),
    }
}

/// Lines of cells, the first being the header, as Markdown whose columns are as wide as their widest cell.
pub fn markdown(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines
            .iter()
            .filter_map(|line| line.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
            .max(3)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (cell, width) in line.iter().zip(&widths) {
            text.push_str(&format!("| {cell:<width$} "));
        }
        text.push_str("|\n");
        if number == 0 {
            for width in &widths {
                text.push_str(&format!("|{}", "-".repeat(width + 2)));
            }
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
mod tests;
