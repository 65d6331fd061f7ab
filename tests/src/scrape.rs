//! A scrape of a node's metrics: the HTTP request by hand, and a strict reader of the text format 0.0.4.
//!
//! The reader panics where a text is not as the format wants it, with the line.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// An answer by HTTP.
#[derive(Debug, Clone)]
pub struct HttpAnswer {
    /// Such as 200.
    pub status: u16,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

/// Sends bytes as they are and reads to the end.
pub fn exchange(address: &str, request: &[u8]) -> io::Result<HttpAnswer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(request)?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    parse_answer(&text).ok_or_else(|| io::Error::other(format!("no HTTP answer: {text:?}")))
}

/// GET of a path.
pub fn get(address: &str, path: &str) -> io::Result<HttpAnswer> {
    exchange(address, format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes())
}

fn parse_answer(text: &str) -> Option<HttpAnswer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines.map(|line| line.split_once(": ").map(|(n, v)| (n.to_lowercase(), v.to_owned())));
    Some(HttpAnswer { status, headers: headers.collect::<Option<_>>()?, body: body.to_owned() })
}

/// One sample's name and labels, sorted.
type Key = (String, BTreeMap<String, String>);

/// A text that was read.
#[derive(Debug, Default)]
pub struct Scrape {
    samples: BTreeMap<Key, f64>,
    /// Type by family.
    types: BTreeMap<String, String>,
}

impl Scrape {
    /// Asks a node.
    pub fn of(address: &str) -> Scrape {
        let answer = get(address, "/metrics").expect("the node answers");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        Scrape::parse(&answer.body)
    }

    /// Reads a text; panics where it is wrong.
    pub fn parse(text: &str) -> Scrape {
        assert!(text.ends_with('\n'), "the last line must end");
        let mut scrape = Scrape::default();
        let mut helped = BTreeSet::new();
        let mut family = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, _) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                assert!(is_name(name) && helped.insert(name.to_owned()), "{line}");
                name.clone_into(&mut family);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                assert_eq!(name, family, "TYPE follows HELP");
                assert!(["counter", "gauge", "histogram", "summary"].contains(&kind), "{line}");
                assert!(scrape.types.insert(family.clone(), kind.to_owned()).is_none(), "twice: {line}");
            } else {
                scrape.add(line, &family);
            }
        }
        scrape.check_histograms();
        scrape
    }

    fn add(&mut self, line: &str, family: &str) {
        let (key, value) = parse_sample(line).unwrap_or_else(|| panic!("no sample: {line}"));
        let kind = self.types.get(family).unwrap_or_else(|| panic!("without a TYPE: {line}"));
        let suffixes: &[&str] = match kind.as_str() {
            "histogram" => &["_bucket", "_sum", "_count"],
            "summary" => &["_sum", "_count"],
            _ => &[""],
        };
        let suffix = key.0.strip_prefix(family).unwrap_or_else(|| panic!("of another family: {line}"));
        assert!(suffixes.contains(&suffix), "of another family: {line}");
        assert!(!(kind == "counter" && value < 0.0), "{line}");
        assert!(self.samples.insert(key, value).is_none(), "twice: {line}");
    }

    fn check_histograms(&self) {
        for family in self.types.iter().filter(|(_, kind)| *kind == "histogram").map(|(name, _)| name) {
            let bucket = format!("{family}_bucket");
            let mut series: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
            for ((_, labels), value) in self.samples.iter().filter(|((name, _), _)| *name == bucket) {
                let mut labels = labels.clone();
                let end = labels.remove("le").expect("a bucket has an end");
                let end = if end == "+Inf" { f64::INFINITY } else { end.parse().expect("a number") };
                series.entry(labels).or_default().push((end, *value));
            }
            for (labels, mut buckets) in series {
                buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
                assert!(buckets.is_sorted_by(|a, b| a.1 <= b.1), "{family} {labels:?}: {buckets:?}");
                let (end, all) = buckets[buckets.len() - 1];
                assert!(end.is_infinite(), "{family} {labels:?} has no last bucket");
                assert_eq!(Some(&all), self.samples.get(&(format!("{family}_count"), labels.clone())));
                assert!(self.samples.contains_key(&(format!("{family}_sum"), labels)));
            }
        }
    }

    /// The value of a sample; `None` if there is none.
    pub fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        self.samples.get(&(name.to_owned(), labels)).copied()
    }

    /// The value of a sample that must be there.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).unwrap_or_else(|| panic!("{name} {labels:?} is missing"))
    }

    /// Names and labels of the samples that have this label.
    pub fn labelled(&self, label: &str, value: &str) -> Vec<&str> {
        let has = |labels: &BTreeMap<String, String>| labels.get(label).is_some_and(|v| v == value);
        self.samples.keys().filter(|(_, labels)| has(labels)).map(|(name, _)| name.as_str()).collect()
    }

    /// The sum of a name's samples.
    pub fn sum(&self, name: &str) -> f64 {
        self.samples.iter().filter(|((n, _), _)| n == name).map(|(_, value)| value).sum()
    }

    /// The type of a family.
    pub fn kind(&self, family: &str) -> Option<&str> {
        self.types.get(family).map(String::as_str)
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

fn parse_sample(line: &str) -> Option<(Key, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = parse_quoted(after)?;
            let is_good = is_name(label) && !label.contains(':') && !label.starts_with("__");
            if !is_good || labels.insert(label.to_owned(), value).is_some() {
                return None;
            }
            match after.strip_prefix(',') {
                Some(next) => rest = next,
                None => {
                    rest = after.strip_prefix('}')?;
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ')?;
    let is_plain = !value.is_empty() && value.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
    let value = value.parse::<f64>().ok().filter(|_| is_plain)?;
    is_name(name).then(|| ((name.to_owned(), labels), value))
}

/// Reads up to the closing quote; gives what follows it.
fn parse_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                '\\' => '\\',
                '"' => '"',
                'n' => '\n',
                _ => return None,
            }),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reader_is_strict() {
        let good = "# HELP a A.\n# TYPE a gauge\na{b=\"x\\\"\\\\\\n\",c=\"\"} 1.5\na 2\n";
        assert_eq!(Scrape::parse(good).value("a", &[("b", "x\"\\\n"), ("c", "")]), 1.5);
        let head = "# HELP a A.\n# TYPE a gauge\n";
        for bad in [
            "a 1\n".to_owned(),
            format!("{head}a 1"),
            format!("{head}a  1\n"),
            format!("{head}a 1 1\n"),
            format!("{head}a NaN\n"),
            format!("{head}a{{b=\"1\",}} 1\n"),
            format!("{head}a{{b=1}} 1\n"),
            format!("{head}a{{b=\"\\t\"}} 1\n"),
            format!("{head}a 1\na 1\n"),
            format!("{head}a_total 1\n"),
            format!("{head}{head}"),
            format!("{head}# HELP b B.\n# TYPE b gauge\nb 1\na 1\n"),
            "# HELP a A.\n# TYPE a histogram\na_bucket{le=\"1\"} 1\na_sum 1\na_count 1\n".to_owned(),
        ] {
            assert!(std::panic::catch_unwind(|| Scrape::parse(&bad)).is_err(), "{bad}");
        }
    }
}
