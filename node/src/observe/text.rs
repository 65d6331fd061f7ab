//! The text format of Prometheus, version 0.0.4.
//!
//! Invariants: the samples of a family follow each other behind its HELP and TYPE; no sample is there twice if the
//! caller gives no labels twice.

use std::fmt::{Display, Write};

/// What a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows while the process lives.
    Counter,
    /// A value of this moment.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
    /// Sum and count, without quantiles.
    Summary,
}

/// The answer to a scrape, as it grows.
#[derive(Debug, Default)]
pub(super) struct Text(String);

/// A family that takes samples.
pub(super) struct Family<'a> {
    text: &'a mut String,
    name: &'a str,
}

/// Name and value of a label.
pub(super) type Label<'a> = (&'a str, &'a str);

impl Text {
    /// Begins a family.
    pub(super) fn family<'a>(&'a mut self, name: &'a str, kind: Kind, help: &str) -> Family<'a> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
        };
        push(&mut self.0, format_args!("# HELP {name} "));
        for c in help.chars() {
            match c {
                '\\' => self.0.push_str("\\\\"),
                '\n' => self.0.push_str("\\n"),
                c => self.0.push(c),
            }
        }
        push(&mut self.0, format_args!("\n# TYPE {name} {kind}\n"));
        Family { text: &mut self.0, name }
    }

    /// A gauge of one sample without labels.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, Kind::Gauge, help).sample(&[], value);
    }

    /// Likewise a counter.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, Kind::Counter, help).sample(&[], value);
    }

    /// The whole text.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// Adds a sample.
    pub(super) fn sample(&mut self, labels: &[Label<'_>], value: impl Display) {
        self.suffixed("", labels, value);
    }

    /// Adds the sum and the count of a summary.
    pub(super) fn summary(&mut self, labels: &[Label<'_>], sum: impl Display, count: u64) {
        self.suffixed("_sum", labels, sum);
        self.suffixed("_count", labels, count);
    }

    /// Adds a histogram: `counts` by bucket, each of its own, with one more than there are bounds.
    pub(super) fn histogram(&mut self, labels: &[Label<'_>], bounds: &[f64], counts: &[u64], sum: f64) {
        let mut cumulated = 0;
        let ends = bounds.iter().map(|bound| bound.to_string()).chain(["+Inf".to_owned()]);
        for (end, count) in ends.zip(counts) {
            cumulated += count;
            let labels: Vec<Label<'_>> = labels.iter().copied().chain([("le", &*end)]).collect();
            self.suffixed("_bucket", &labels, cumulated);
        }
        self.summary(labels, sum, cumulated);
    }

    fn suffixed(&mut self, suffix: &str, labels: &[Label<'_>], value: impl Display) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        for (at, (name, value)) in labels.iter().enumerate() {
            self.text.push(if at == 0 { '{' } else { ',' });
            self.text.push_str(name);
            self.text.push_str("=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        push(self.text, format_args!(" {value}\n"));
    }
}

fn push(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_as_the_format_wants_them() {
        let mut text = Text::default();
        text.gauge("up", "Back\\slash\nand newline.", 1);
        let mut family = text.family("a_total", Kind::Counter, "A.");
        family.sample(&[("topic", "we\"ird\\na\nme"), ("x", "")], 2.5);
        let mut family = text.family("t", Kind::Histogram, "T.");
        family.histogram(&[("api", "Fetch")], &[0.5, 10.0], &[1, 0, 2], 7.25);
        let expected = "# HELP up Back\\\\slash\\nand newline.\n# TYPE up gauge\nup 1\n\
            # HELP a_total A.\n# TYPE a_total counter\na_total{topic=\"we\\\"ird\\\\na\\nme\",x=\"\"} 2.5\n\
            # HELP t T.\n# TYPE t histogram\nt_bucket{api=\"Fetch\",le=\"0.5\"} 1\n\
            t_bucket{api=\"Fetch\",le=\"10\"} 1\nt_bucket{api=\"Fetch\",le=\"+Inf\"} 3\n\
            t_sum{api=\"Fetch\"} 7.25\nt_count{api=\"Fetch\"} 3\n";
        assert_eq!(text.finish(), expected);
    }
}
