//! What the rounds say: medians, ratios with their interval, the table as text and as JSON, and which bars are met.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::section::{BARS, Bar, Limit, Section};
use crate::server::Side;
use crate::turns::Rounds;

/// Samples of the bootstrap.
const SAMPLES: usize = 1000;

/// A line of the table: a cell on one side.
pub struct Row {
    /// Its section.
    pub section: &'static Section,
    /// What was measured, with the placement.
    pub cell: String,
    /// Who.
    pub side: Side,
    /// The medians, column by column.
    pub values: Vec<f64>,
    /// Ours in relation to this side, where the column is compared.
    pub ratios: Vec<Option<Ratio>>,
}

/// The median of the ratios of rounds that ran side by side.
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    /// The median.
    pub median: f64,
    /// Nine times of ten another run of so many rounds would give a median from here ...
    pub low: f64,
    /// ... to here.
    pub high: f64,
}

/// The middle of some numbers; not a number when there are none.
pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    match numbers.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => numbers[n / 2],
        n => f64::midpoint(numbers[n / 2 - 1], numbers[n / 2]),
    }
}

impl Ratio {
    /// Of `ours` to `other`, round by round.
    pub fn of(ours: &[f64], other: &[f64]) -> Ratio {
        let ratios: Vec<f64> = ours.iter().zip(other).map(|(a, b)| a / b).collect();
        // Any sequence that is spread evenly serves; the same one each time makes reports repeatable.
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut pick = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            ratios[(state % ratios.len() as u64) as usize]
        };
        let mut medians: Vec<f64> =
            (0..SAMPLES).map(|_| median((0..ratios.len()).map(&mut pick).collect())).collect();
        medians.sort_by(f64::total_cmp);
        Ratio { median: median(ratios), low: medians[SAMPLES / 20], high: medians[SAMPLES - SAMPLES / 20] }
    }
}

/// The rows of one cell; the first side is ours.
pub fn rows(section: &'static Section, cell: &str, sides: &[Side], rounds: &Rounds) -> Vec<Row> {
    let column = |side: usize, i: usize| -> Vec<f64> { rounds[side].iter().map(|round| round[i]).collect() };
    let row = |(n, side): (usize, &Side)| {
        let columns = section.columns.iter().enumerate();
        let ratio = |(i, c): (usize, &crate::section::Column)| {
            (n > 0 && c.ratio).then(|| Ratio::of(&column(0, i), &column(n, i)))
        };
        Row {
            section,
            cell: cell.to_owned(),
            side: *side,
            values: section.columns.iter().enumerate().map(|(i, c)| summary(c.least, column(n, i))).collect(),
            ratios: columns.map(ratio).collect(),
        }
    };
    sides.iter().enumerate().map(row).collect()
}

fn summary(least: bool, numbers: Vec<f64>) -> f64 {
    if least { numbers.into_iter().fold(f64::INFINITY, f64::min) } else { median(numbers) }
}

/// The heading of a section.
pub fn heading(section: &Section) -> String {
    let mut line = format!("{:<32} {:<6}", section.name, "");
    for column in section.columns {
        let _ = write!(line, "{:>1$}", column.name, width(column.name));
    }
    line + "   ours / it"
}

/// A row as text.
pub fn line(row: &Row) -> String {
    let cell = if row.side == Side::Ours { row.cell.as_str() } else { "" };
    let mut line = format!("{cell:<32} {:<6}", row.side);
    for (value, column) in row.values.iter().zip(row.section.columns) {
        let width = width(column.name);
        if value.is_nan() {
            let _ = write!(line, "{:>width$}", "-");
        } else {
            let _ = write!(line, "{value:>width$.0$}", column.digits);
        }
    }
    for (ratio, column) in row.ratios.iter().zip(row.section.columns) {
        if let Some(Ratio { median, low, high }) = ratio
            && median.is_finite()
        {
            let unit = column.name;
            let _ = write!(line, "   {unit} {} [{} {}]", times(*median), times(*low), times(*high));
        }
    }
    line
}

/// A ratio with about three digits.
fn times(ratio: f64) -> String {
    let digits = match ratio {
        r if r < 0.1 => 4,
        r if r < 10.0 => 2,
        _ => 0,
    };
    format!("{ratio:.digits$}")
}

fn width(heading: &str) -> usize {
    heading.len().max(6) + 2
}

/// The whole table as text, a section after the other, with the bars.
pub fn text(rows: &[Row]) -> String {
    let mut text = String::new();
    let mut before = "";
    for row in rows {
        if row.section.name != before {
            before = row.section.name;
            let _ = writeln!(text, "{}{}", if text.is_empty() { "" } else { "\n" }, heading(row.section));
        }
        let _ = writeln!(text, "{}", line(row));
    }
    for bar in bars(rows) {
        let _ = writeln!(text, "{bar}");
    }
    text
}

/// A line for each bar whose cell was measured.
pub fn bars(rows: &[Row]) -> Vec<String> {
    let mut lines = Vec::new();
    for Bar(name, column, limit) in BARS {
        let begins = |row: &&Row, name: &str| {
            row.cell.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        for ours in rows.iter().filter(|r| r.side == Side::Ours && begins(r, name)) {
            let Some(i) = ours.section.columns.iter().position(|c| c.name == *column) else { continue };
            let placement = &ours.cell[name.len()..];
            let found = match limit {
                Limit::Most(most) => Some((ours.values[i], *most, String::new())),
                Limit::Times(side, most) => {
                    let other = rows.iter().find(|r| r.side == *side && r.cell == ours.cell);
                    let ratio = other.and_then(|r| r.ratios[i]);
                    ratio.map(|r| (r.median, *most, format!(" of {side}")))
                }
                Limit::TimesCell(cell, most) => {
                    let cell = format!("{cell}{placement}");
                    let other = rows.iter().find(|r| r.side == Side::Ours && r.cell == cell);
                    other.map(|r| (ours.values[i] / r.values[i], *most, format!(" of {cell}")))
                }
            };
            if let Some((value, most, what)) = found {
                let verdict = if value <= most { "met   " } else { "MISSED" };
                // A twelfth needs more digits than two.
                let digits = if most < 0.1 { 4 } else { 2 };
                lines.push(format!(
                    "bar {verdict} {}: {column} {value:.digits$}{what}, at most {most:.digits$}",
                    ours.cell
                ));
            }
        }
    }
    lines
}

/// A row as JSON.
pub fn to_json(row: &Row) -> Value {
    let finite = |value: f64| if value.is_finite() { json!(value) } else { Value::Null };
    let columns = row.section.columns.iter().map(|c| c.name.to_owned());
    let values: serde_json::Map<String, Value> = columns.zip(row.values.iter().map(|v| finite(*v))).collect();
    let mut ratios = serde_json::Map::new();
    for (ratio, column) in row.ratios.iter().zip(row.section.columns) {
        if let Some(Ratio { median, low, high }) = ratio {
            ratios.insert(column.name.to_owned(), json!([finite(*median), finite(*low), finite(*high)]));
        }
    }
    json!({
        "section": row.section.name,
        "cell": row.cell,
        "side": row.side.to_string(),
        "values": values,
        "ours_to_it": ratios,
    })
}
