//! Replaces what differs from run to run in the text of an answer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The fields whose value is a fact of the machine or of chance, not of the answer.
const FREE_FIELDS: &[&str] = &["total_bytes: ", "usable_bytes: ", "session_id: ", "partition_size: "];

/// Knows what a node's names and numbers stand for.
pub(super) struct Normal {
    /// Text and what it becomes, longest first.
    fixed: Vec<(String, String)>,
    /// Ids that have a name, and their names.
    named: Vec<(String, String)>,
}

impl Normal {
    /// `fixed`: this node's own values and what they become.
    pub(super) fn new(fixed: Vec<(String, String)>) -> Normal {
        Normal { fixed, named: Vec::new() }
    }

    /// The comparable form of an answer's `Debug` text.
    pub(super) fn text(&self, raw: &str) -> String {
        let mut text = raw.replace(", unknown_tagged_fields: {}", "");
        for (from, to) in &self.fixed {
            text = text.replace(from, to);
        }
        let text = self.ids(&text);
        let text = numbers(&text);
        FREE_FIELDS.iter().fold(text, |text, field| free_field(&text, field))
    }

    /// Gives an id a name, in both its forms.
    pub(super) fn name(&mut self, id: uuid::Uuid, name: &str) {
        for form in [id.to_string(), protocol::base64_id(id)] {
            if !self.named.iter().any(|(known, _)| *known == form) {
                self.named.push((form, format!("<id of {name}>")));
            }
        }
    }

    /// Uuids become their name, or a number in the order of this answer.
    fn ids(&self, text: &str) -> String {
        let mut rest = self.named.iter().fold(text.to_owned(), |text, (id, name)| text.replace(id, name));
        let (mut out, mut seen) = (String::with_capacity(rest.len()), Vec::new());
        while let Some(start) = find_uuid(&rest) {
            let id = rest[start..start + 36].to_owned();
            out.push_str(&rest[..start]);
            rest = rest.split_off(start + 36);
            if id.starts_with("00000000-0000-0000-") {
                out.push_str(&format!("<{}>", id.trim_start_matches(['0', '-'])));
                continue;
            }
            let n = seen.iter().position(|known| *known == id).unwrap_or_else(|| {
                seen.push(id);
                seen.len() - 1
            });
            out.push_str(&format!("<id-{n}>"));
        }
        out + &rest
    }
}

/// Where the first hyphenated uuid begins.
pub(crate) fn find_uuid(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let is_uuid = |window: &[u8]| {
        window.iter().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => *b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
    };
    bytes.windows(36).position(is_uuid)
}

/// Times close to now become `<now>`.
pub(crate) fn numbers(text: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis() as i64;
    let mut out = String::with_capacity(text.len());
    let mut digits = String::new();
    for c in text.chars().chain(std::iter::once('\0')) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        match digits.parse::<i64>() {
            Ok(number) if (number - now).abs() < 86_400_000 => out.push_str("<now>"),
            Ok(number) if (i64::MAX - now - number).abs() < 86_400_000 => out.push_str("<now - the largest>"),
            _ => out.push_str(&digits),
        }
        digits.clear();
        if c != '\0' {
            out.push(c);
        }
    }
    out
}

/// The value of each such field becomes `+`, `0` or `-`.
fn free_field(text: &str, field: &str) -> String {
    let mut parts = text.split(field);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find([',', ' ', '}']).unwrap_or(part.len());
        let sign = match &part[..end] {
            "0" => "0",
            value if value.starts_with('-') => "-",
            _ => "+",
        };
        out.push_str(&format!("{field}{sign}{}", &part[end..]));
    }
    out
}
