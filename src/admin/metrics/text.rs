//! The two text forms of Prometheus: its own (version 0.0.4) and OpenMetrics 1.0. They differ only in what a counter's
//! family is called, and in how the page ends.

use std::fmt::{Display, Write};

use crate::state::Distribution;

/// A form of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Prometheus,
    OpenMetrics,
}

impl Form {
    /// What `Accept` asks for: OpenMetrics, if it is named and wanted at least as much as the other.
    pub fn preferred(accept: &str) -> Form {
        let wanted = |kind: &str| {
            let named = accept.split(',').filter(|part| part.trim().starts_with(kind));
            named.map(quality).fold(0.0, f64::max)
        };
        let open = wanted("application/openmetrics-text");
        match open > 0.0 && open >= wanted("text/plain") {
            true => Form::OpenMetrics,
            false => Form::Prometheus,
        }
    }

    pub fn kind(self) -> &'static str {
        match self {
            Form::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Form::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The `q` of one part of `Accept`.
fn quality(part: &str) -> f64 {
    let given = part.split(';').find_map(|parameter| parameter.trim().strip_prefix("q="));
    given.map_or(1.0, |q| q.trim().parse().unwrap_or(0.0))
}

/// What a family counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A page that is being written.
pub(super) struct Page {
    text: String,
    form: Form,
    /// The name of the family that is being written. Each of its samples begins with it.
    name: &'static str,
    kind: Kind,
}

impl Page {
    pub fn new(form: Form) -> Page {
        Page { text: String::with_capacity(16 * 1024), form, name: "", kind: Kind::Gauge }
    }

    /// Begins a family; `name` of a counter without its `_total`. All its samples follow.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> &mut Page {
        (self.name, self.kind) = (name, kind);
        let (word, suffix) = match (kind, self.form) {
            (Kind::Counter, Form::Prometheus) => ("counter", "_total"),
            (Kind::Counter, Form::OpenMetrics) => ("counter", ""),
            (Kind::Gauge, _) => ("gauge", ""),
            (Kind::Histogram, _) => ("histogram", ""),
        };
        // Writing to a string cannot fail.
        let _ = write!(self.text, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {word}\n");
        self
    }

    /// One sample, with the labels of its series.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Page {
        let suffix = if self.kind == Kind::Counter { "_total" } else { "" };
        self.line(suffix, labels, &value);
        self
    }

    /// A histogram: how many were at or below each bound, how many there were, and their sum.
    pub fn histogram(&mut self, labels: &[(&str, &str)], of: &Distribution) {
        for (bound, count) in &of.below {
            // Floats, in both forms: 1 is written 1.0.
            let bound = format!("{bound:?}");
            self.line("_bucket", &[labels, &[("le", bound.as_str())]].concat(), count);
        }
        self.line("_bucket", &[labels, &[("le", "+Inf")]].concat(), &of.count);
        self.line("_sum", labels, &of.sum);
        self.line("_count", labels, &of.count);
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: &dyn Display) {
        let text = &mut self.text;
        text.push_str(self.name);
        text.push_str(suffix);
        for (i, (label, value)) in labels.iter().enumerate() {
            text.push_str(if i == 0 { "{" } else { "," });
            text.push_str(label);
            text.push_str("=\"");
            for c in value.chars() {
                match c {
                    '\\' => text.push_str("\\\\"),
                    '"' => text.push_str("\\\""),
                    '\n' => text.push_str("\\n"),
                    c => text.push(c),
                }
            }
            text.push('"');
        }
        if !labels.is_empty() {
            text.push('}');
        }
        // Writing to a string cannot fail.
        let _ = writeln!(text, " {value}");
    }

    pub fn finish(mut self) -> String {
        if self.form == Form::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scraper_says_which_form_it_wants() {
        // What Prometheus 2 and 3 send.
        let two = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                   text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Form::preferred(two), Form::OpenMetrics);
        for plain in
            ["", "*/*", "text/plain", "text/html,*/*;q=0.8", "application/openmetrics-text;q=0,text/plain"]
        {
            assert_eq!(Form::preferred(plain), Form::Prometheus, "{plain}");
        }
    }

    #[test]
    fn labels_are_escaped_and_counters_are_named_as_each_form_wants() {
        let written = |form| {
            let mut page = Page::new(form);
            page.family("a", Kind::Counter, "What.").sample(&[("route", "q\"\\\n")], 1);
            page.finish()
        };
        let sample = "a_total{route=\"q\\\"\\\\\\n\"} 1\n";
        assert_eq!(
            written(Form::Prometheus),
            format!("# HELP a_total What.\n# TYPE a_total counter\n{sample}")
        );
        assert_eq!(written(Form::OpenMetrics), format!("# HELP a What.\n# TYPE a counter\n{sample}# EOF\n"));
    }
}
