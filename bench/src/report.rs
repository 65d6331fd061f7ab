//! What the rounds say: medians, ratios with their interval, the lines of the table.

use std::time::Duration;

use crate::cell::Cell;
use crate::placement::Placement;
use crate::rounds::{Measured, Round};

/// The heading of the table.
pub const HEADING: &str = "cell                           side   MB/s  kreq/s   s/GB  us/req  min us  ns/rec  cpu ratio [interval]   speed  ctx/req  sys/req  futex  RSS MiB  others";

/// The middle of some numbers.
pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    match numbers.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => numbers[n / 2],
        n => (numbers[n / 2 - 1] + numbers[n / 2]) / 2.0,
    }
}

fn each(rounds: &[Round], number: impl Fn(&Round) -> f64) -> Vec<f64> {
    rounds.iter().map(number).collect()
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// Processor microseconds of a request.
pub fn cpu_per_request(round: &Round) -> f64 {
    seconds(round.usage.cpu) * 1e6 / round.requests as f64
}

/// The ratios of ours to another side, round by round.
pub fn ratios(ours: &Measured, other: &Measured, number: impl Fn(&Round) -> f64) -> Vec<f64> {
    ours.rounds.iter().zip(&other.rounds).map(|(a, b)| number(a) / number(b)).collect()
}

/// The lines of one cell: one for each side.
pub fn lines(cell: &Cell, placement: Placement, measured: &[Measured]) -> Vec<String> {
    let ours = &measured[0];
    let mut lines = Vec::new();
    for (i, side) in measured.iter().enumerate() {
        let median_of = |number: &dyn Fn(&Round) -> f64| median(each(&side.rounds, number));
        let rate = |r: &Round| r.requests as f64 / seconds(r.wall);
        let name = if i == 0 { format!("{cell}-{}", placement.name()) } else { String::new() };
        let versus = if i == 0 {
            " ".repeat(30)
        } else {
            let mut ratios = ratios(ours, side, cpu_per_request);
            ratios.sort_by(f64::total_cmp);
            let speed = median(self::ratios(ours, side, rate));
            let (low, high) = (ratios.first().copied(), ratios.last().copied());
            let interval = format!("[{:.2} {:.2}]", low.unwrap_or(f64::NAN), high.unwrap_or(f64::NAN));
            format!("{:>9.2} {interval:<12}{:>7.2}x", median(ratios), speed)
        };
        let (all, futex) = side.syscalls.unwrap_or((f64::NAN, f64::NAN));
        let least = each(&side.rounds, cpu_per_request).into_iter().fold(f64::INFINITY, f64::min);
        lines.push(format!(
            "{name:<30} {:<5} {:>6.0} {:>7.1} {:>6.3} {:>7.2} {least:>7.2} {:>7.0}  {versus} {:>7.2} {all:>8.2} {futex:>6.2} {:>8.1} {:>7.2}",
            side.side,
            median_of(&|r| r.bytes as f64 / 1e6 / seconds(r.wall)),
            median_of(&|r| rate(r) / 1e3),
            median_of(&|r| seconds(r.usage.cpu) * 1e9 / r.bytes as f64),
            median_of(&cpu_per_request),
            median_of(&|r| seconds(r.usage.cpu) * 1e9 / r.records as f64),
            median_of(&|r| (r.usage.voluntary + r.usage.involuntary) as f64 / r.requests as f64),
            side.resident_kib.0 as f64 / 1024.0,
            median_of(&|r| r.others),
        ));
    }
    lines
}
