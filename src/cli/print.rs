//! All output of the command line. Texts of senders, plugins and folders are escaped here.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the one place that prints")]
use std::fmt::{Arguments, Display};

use serde_json::Value;

use crate::system::text::{Printable, PrintableJson};

/// Prints a line to stdout like `println!`, with everything escaped that a terminal or a reader could misinterpret.
macro_rules! say {
    () => { $crate::cli::print::line(format_args!("")) };
    ($($arguments:tt)*) => { $crate::cli::print::line(format_args!($($arguments)*)) };
}

/// Prints a message to stderr, escaped in the same way.
macro_rules! tell {
    ($($arguments:tt)*) => { $crate::cli::print::told(format_args!($($arguments)*)) };
}

pub(in crate::cli) use {say, tell};

/// Prints a line to stdout.
pub(in crate::cli) fn line(arguments: Arguments<'_>) {
    println!("{}", Printable(&arguments.to_string()));
}

/// Prints a line to stdout that begins with one of our own words, in its own style.
pub(in crate::cli) fn styled(word: impl Display, arguments: Arguments<'_>) {
    println!("{word}{}", Printable(&arguments.to_string()));
}

/// Prints a message to stderr. All lines after the first are indented, because they belong to the same message.
pub(in crate::cli) fn told(arguments: Arguments<'_>) {
    let text = arguments.to_string();
    for (index, line) in text.trim_end().split('\n').enumerate() {
        eprintln!("{}{}", if index == 0 { "" } else { "  " }, Printable(line));
    }
}

/// Prints a text to stdout with each line indented, so that none looks like one of our own lines.
pub(in crate::cli) fn indented(text: &str) {
    text.trim_end().split('\n').for_each(|it| println!("  {}", Printable(it)));
}

/// Prints a JSON value in one line, for scripts.
pub(in crate::cli) fn json(value: &Value) {
    println!("{}", PrintableJson(&value.to_string()));
}

/// Prints a JSON value in several lines, for people.
pub(in crate::cli) fn pretty(value: &Value) {
    println!("{}", PrintableJson(&format!("{value:#}")));
}
