//! The program that libFuzzer drives. `MINIKAFKA_FUZZ_TARGET` names the target; arguments are libFuzzer's.
//! `list` as the only argument prints name and longest input of each target.
#![no_main]

use std::sync::LazyLock;

use minikafka_fuzz::{TARGETS, Target, check, target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("MINIKAFKA_FUZZ_TARGET").unwrap_or_default();
    target(&name).unwrap_or_else(|| panic!("MINIKAFKA_FUZZ_TARGET={name:?} names no target"))
});

libfuzzer_sys::fuzz_target!(
    init: {
        if std::env::args().nth(1).as_deref() == Some("list") {
            for target in TARGETS {
                println!("{} {}", target.name, target.max_len);
            }
            std::process::exit(0);
        }
        LazyLock::force(&TARGET);
    },
    |input: &[u8]| check(&TARGET, input)
);
