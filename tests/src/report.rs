//! Results of a test program without libtest, printed as libtest prints them.

use std::time::Instant;

/// Counts what passed and failed and prints a line for each test.
pub struct Report {
    filters: Vec<String>,
    started: Instant,
    passed: usize,
    failures: Vec<(String, String)>,
    filtered: usize,
}

impl Report {
    /// Reads name filters from the command line, as libtest does; options are passed over.
    pub fn from_args() -> Report {
        let filters = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
        println!();
        Report { filters, started: Instant::now(), passed: 0, failures: Vec::new(), filtered: 0 }
    }

    /// Whether only the names of the tests are asked for.
    pub fn only_lists() -> bool {
        std::env::args().any(|a| a == "--list")
    }

    /// Whether the filters let this test run; counts it when they do not.
    pub fn wants(&mut self, name: &str) -> bool {
        let wanted = self.filters.is_empty() || self.filters.iter().any(|f| name.contains(f.as_str()));
        self.filtered += usize::from(!wanted);
        wanted
    }

    /// Notes and prints one result.
    pub fn add(&mut self, name: &str, result: Result<(), String>) {
        match result {
            Ok(()) => {
                self.passed += 1;
                println!("test {name} ... ok");
            }
            Err(why) => {
                println!("test {name} ... FAILED");
                self.failures.push((name.to_owned(), why));
            }
        }
    }

    /// Runs a test that may panic or give an error, unless the filters leave it out.
    pub fn catch(&mut self, name: &str, test: impl FnOnce() -> Result<(), String>) {
        if self.wants(name) {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(test));
            let said = |panic: Box<dyn std::any::Any + Send>| match panic.downcast::<String>() {
                Ok(text) => *text,
                Err(_) => "panicked".to_owned(),
            };
            self.add(name, result.unwrap_or_else(|panic| Err(said(panic))));
        }
    }

    /// Prints the failures and the closing line; the process should end with this code.
    pub fn finish(self) -> std::process::ExitCode {
        if !self.failures.is_empty() {
            println!("\nfailures:\n");
        }
        for (name, why) in &self.failures {
            println!("---- {name} ----\n{why}\n");
        }
        let verdict = if self.failures.is_empty() { "ok" } else { "FAILED" };
        println!(
            "\ntest result: {verdict}. {} passed; {} failed; 0 ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
            self.passed,
            self.failures.len(),
            self.filtered,
            self.started.elapsed().as_secs_f64()
        );
        if self.failures.is_empty() {
            std::process::ExitCode::SUCCESS
        } else {
            std::process::ExitCode::FAILURE
        }
    }
}
