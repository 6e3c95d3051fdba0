//! All that the command line prints, in one place: texts of senders, plugins and folders are escaped here.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the one place that prints")]

use std::fmt::{Arguments, Display};

use serde_json::Value;

use crate::text::{Printable, PrintableJson};

/// Prints a line to stdout, as `println!` does, with everything in it escaped that a terminal or a reader could take for
/// something else.
macro_rules! say {
    () => { $crate::cli::print::line(format_args!("")) };
    ($($arguments:tt)*) => { $crate::cli::print::line(format_args!($($arguments)*)) };
}

/// The same to stderr.
macro_rules! tell {
    ($($arguments:tt)*) => { $crate::cli::print::told(format_args!($($arguments)*)) };
}

pub(in crate::cli) use {say, tell};

/// A line to stdout.
pub(in crate::cli) fn line(arguments: Arguments<'_>) {
    println!("{}", Printable(&arguments.to_string()));
}

/// A line to stdout that begins with one of our own words, in its own style.
pub(in crate::cli) fn styled(word: impl Display, arguments: Arguments<'_>) {
    println!("{word}{}", Printable(&arguments.to_string()));
}

/// A line to stderr. What has several lines is one message: from the second line on, they are indented.
pub(in crate::cli) fn told(arguments: Arguments<'_>) {
    let text = arguments.to_string();
    for (index, line) in text.trim_end().split('\n').enumerate() {
        eprintln!("{}{}", if index == 0 { "" } else { "  " }, Printable(line));
    }
}

/// A text of several lines to stdout, each of them indented: none can pass for a line of ours.
pub(in crate::cli) fn indented(text: &str) {
    text.trim_end().split('\n').for_each(|it| println!("  {}", Printable(it)));
}

/// A JSON value in one line, for scripts.
pub(in crate::cli) fn json(value: &Value) {
    println!("{}", PrintableJson(&value.to_string()));
}

/// A JSON value in many lines, for people.
pub(in crate::cli) fn pretty(value: &Value) {
    println!("{}", PrintableJson(&format!("{value:#}")));
}
