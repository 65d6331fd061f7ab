//! The table as a picture: for each cell a group of bars, one for each side, on a scale of powers of ten.

use std::fmt::Write as _;

use crate::report::Row;
use crate::server::Side;

const LABELS: f64 = 250.0;
const BARS: f64 = 560.0;
const WIDTH: f64 = LABELS + BARS + 110.0;
const LINE: f64 = 13.0;
const GAP: f64 = 7.0;

/// The rows as SVG; what a section's bars show is its drawn column.
pub fn svg(title: &str, rows: &[Row]) -> String {
    let mut body = String::new();
    let mut y = 50.0;
    for section in rows.chunk_by(|a, b| a.section.name == b.section.name) {
        draw_section(section, &mut y, &mut body);
    }
    let mut legend = String::new();
    for (i, side) in [Side::Ours, Side::Floor, Side::Kafka].into_iter().enumerate() {
        let x = LABELS + 90.0 * i as f64;
        let _ = write!(
            legend,
            "<rect x='{x}' y='28' width='12' height='10' fill='{}'/><text x='{}' y='37'>{side}</text>",
            colour(side),
            x + 17.0
        );
    }
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{y}' font-family='sans-serif' \
         font-size='11'><rect width='100%' height='100%' fill='white'/>\
         <text x='10' y='18' font-size='14'>{}</text>{legend}{body}</svg>\n",
        escape(title)
    )
}

fn draw_section(rows: &[Row], y: &mut f64, body: &mut String) {
    let drawn = rows[0].section.drawn;
    let values = rows.iter().map(|r| r.values[drawn]).filter(|v| *v > 0.0);
    let (low, high) = values.fold((f64::INFINITY, 0.0_f64), |(low, high), v| (low.min(v), high.max(v)));
    // From a power of ten well below the smallest to the one above the largest.
    let from = (low / 2.0).log10().floor();
    let to = (high.log10().floor() + 1.0).max(from + 1.0);
    let place = |value: f64| ((value.log10() - from) / (to - from)).clamp(0.0, 1.0) * BARS;
    *y += 22.0;
    let section = rows[0].section;
    let heading = format!("{}: {}", section.name, section.columns[drawn].name);
    let _ = write!(body, "<text x='10' y='{}' font-size='13' font-weight='bold'>{heading}</text>", *y);
    *y += 8.0;
    let top = *y;
    for row in rows {
        if row.side == Side::Ours {
            *y += GAP;
            let _ = write!(body, "<text x='10' y='{}'>{}</text>", *y + 10.0, escape(&row.cell));
        }
        let value = row.values[drawn];
        if value > 0.0 {
            let length = place(value).max(1.0);
            let _ = write!(
                body,
                "<rect x='{LABELS}' y='{}' width='{length:.1}' height='{}' fill='{}'/>\
                 <text x='{:.1}' y='{}'>{value:.*}</text>",
                *y,
                LINE - 2.0,
                colour(row.side),
                LABELS + length + 5.0,
                *y + 10.0,
                section.columns[drawn].digits,
            );
        }
        *y += LINE;
    }
    for power in from as i32..=to as i32 {
        let x = LABELS + place(10_f64.powi(power));
        let _ = write!(
            body,
            "<line x1='{x:.1}' x2='{x:.1}' y1='{top}' y2='{}' stroke='#bbb' stroke-dasharray='2 3'/>\
             <text x='{x:.1}' y='{}' fill='#777' text-anchor='middle'>{}</text>",
            *y,
            *y + 12.0,
            10_f64.powi(power)
        );
    }
    *y += 22.0;
}

fn colour(side: Side) -> &'static str {
    match side {
        Side::Ours => "#1f77b4",
        Side::Floor => "#999999",
        Side::Kafka => "#d6604d",
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
