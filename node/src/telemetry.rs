//! Log lines on standard output, in UTC: as Kafka's, `[2026-01-01 00:00:00,000] INFO message (target)`, or one JSON
//! object each, with the fields of the event beside `timestamp`, `level`, `target` and `message`.
//!
//! The words that programs wait for are lines at level INFO. Levels are fixed at the start: what is off costs a look at
//! one byte.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::subscriber::set_global_default;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

use crate::cli::{LogFormat, LogOptions};

/// Installs the subscriber of the process.
pub(crate) fn init(options: &LogOptions) {
    let levels = options.log_level.clone();
    let levels = levels.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let registry = tracing_subscriber::registry().with(levels);
    let lines = tracing_subscriber::fmt::layer();
    // Fails only if a subscriber is there, which then does the work.
    let _ = match options.log_format {
        LogFormat::Text => set_global_default(registry.with(lines.event_format(KafkaLines))),
        LogFormat::Json => set_global_default(registry.with(lines.json().flatten_event(true))),
    };
}

struct KafkaLines;

impl<S, N> FormatEvent<S, N> for KafkaLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        write_time(&mut out, now.as_secs(), now.subsec_millis())?;
        write!(out, " {} ", event.metadata().level())?;
        ctx.format_fields(out.by_ref(), event)?;
        writeln!(out, " ({})", event.metadata().target())
    }
}

/// `[year-month-day hour:minute:second,millisecond]` of a time since 1970.
fn write_time(out: &mut impl fmt::Write, seconds: u64, millis: u32) -> fmt::Result {
    let (day, second) = (seconds / 86_400, seconds % 86_400);
    // Days to date by eras of 400 years that begin on 1 March (Howard Hinnant, "chrono-compatible low-level
    // date algorithms").
    let shifted = day + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    write!(out, "[{year:04}-{month:02}-{date:02} {hour:02}:{minute:02}:{second:02},{millis:03}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, expected) in [
            (0, "[1970-01-01 00:00:00,007]"),
            (951_782_399, "[2000-02-28 23:59:59,007]"),
            (951_782_400, "[2000-02-29 00:00:00,007]"),
            (1_767_225_600, "[2026-01-01 00:00:00,007]"),
            (4_107_542_400, "[2100-03-01 00:00:00,007]"),
        ] {
            let mut text = String::new();
            write_time(&mut text, seconds, 7).unwrap();
            assert_eq!(text, expected);
        }
    }
}
