//! The differences from Apache Kafka that are wanted: the tables of `tests/compat/README.md`, which give the reasons.

use crate::node::Target;
use crate::setup;

/// Of one table, the beginnings of what may differ, and whether something did.
pub struct Wanted(Vec<(String, bool)>);

impl Wanted {
    /// The first cells of the table below this heading; nothing about Apache Kafka itself may differ.
    pub fn below(heading: &str, target: Target) -> Wanted {
        if target == Target::Apache {
            return Wanted(Vec::new());
        }
        let path = setup::root().join("tests/compat/README.md");
        let text = std::fs::read_to_string(path).expect("the list can be read");
        let section = text.lines().skip_while(|line| *line != heading).skip(1);
        let cell = |line: &str| Some((line.strip_prefix("| `")?.split_once("` |")?.0.to_owned(), false));
        let entries: Vec<_> = section.take_while(|line| !line.starts_with('#')).filter_map(cell).collect();
        assert!(!entries.is_empty(), "no table below {heading:?}");
        Wanted(entries)
    }

    /// Whether what has this label may differ.
    pub fn covers(&mut self, label: &str) -> bool {
        match self.0.iter_mut().find(|(beginning, _)| label.starts_with(beginning.as_str())) {
            Some((_, met)) => {
                *met = true;
                true
            }
            None => false,
        }
    }

    /// Fails if one that is listed covered nothing.
    pub fn assert_met(&self) {
        let stale: Vec<&String> = self.0.iter().filter(|(_, met)| !met).map(|(label, _)| label).collect();
        assert!(stale.is_empty(), "differences that are listed but are none: {stale:?}");
    }
}
