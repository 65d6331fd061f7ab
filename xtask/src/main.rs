//! Project tasks: `cargo xtask tidy|test`.
fn main() {}
