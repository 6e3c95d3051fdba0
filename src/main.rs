//! args → config → run

use std::process::ExitCode;

/// Requests allocate on one thread and free on another, which the C library's allocator is slow at (docs/decisions/0018).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    hookmill::cli::run(&hookmill::cli::Args::parsed())
}
