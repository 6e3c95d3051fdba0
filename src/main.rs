//! args → config → run

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    hookmill::cli::run(&hookmill::cli::Args::parse())
}
