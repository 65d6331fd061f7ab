//! Commands of Apache Kafka's own tools, and what they print, as text that can be compared.
//!
//! A script (`testdata/commands-4.1.2.txt`) holds the commands and what they printed when Apache Kafka was asked. Its
//! lines:
//!
//! | line | meaning |
//! |---|---|
//! | `$ tool words` | runs a tool with `--bootstrap-server` and these words; `'` quotes |
//! | `$ ~tool words` | the same; its output has no order, so its lines are sorted |
//! | `$ !tool words` | the same, without `--bootstrap-server` |
//! | `  text` | a line that the command above printed |
//! | `= 1` | its exit code, if it is not 0 |
//! | `< text` | a line of input for the next command |
//! | `@file name: text` | adds a line to a file in the directory of the script |
//! | `@join group topic`, `@leave` | a member joins a classic group and gets partition 0; the group is left |
//! | `# text` | a remark |
//!
//! In words and files `{broker}`, `{controller}`, `{data}` and `{dir}` stand for this run's addresses and directories.
//! What differs from run to run - ids, ports, times, sizes - is replaced by what it is ([`normal`]). Which differences
//! are wanted is in `tests/compat/README.md`.

mod bench;
mod member;
mod normal;
mod script;

pub use bench::run;
pub use script::{Answer, Line, Script};
