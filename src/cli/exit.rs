//! Exit codes: one table, which `--help` prints and docs/OPERATIONS.md repeats.

use std::fmt::Write as _;
use std::process::ExitCode;

/// How a command ends. A number never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// The command did what it was asked to do.
    Done = 0,
    /// It could not, or it found something that you should look at.
    Failed = 1,
    /// An argument or a setting is wrong.
    Usage = 2,
    /// Another process holds the data directory.
    InUse = 3,
    /// Acknowledged data is lost.
    Damaged = 4,
    /// `store check` found something that can be rebuilt.
    Repairable = 5,
    /// The database has stopped responding (`store::embedded::watchdog`).
    Hung = 70,
    /// The program that read the output has ended: 128 and the number of SIGPIPE.
    ClosedPipe = 141,
}

/// Every status, in the order of `--help`, with what it means to the user.
const MEANINGS: [(ExitStatus, &str); 8] = [
    (ExitStatus::Done, "done"),
    (ExitStatus::Failed, "failed; the message says why"),
    (ExitStatus::Usage, "wrong arguments or settings"),
    (ExitStatus::InUse, "another process holds the data directory"),
    (ExitStatus::Damaged, "stored data is damaged, and something is lost"),
    (ExitStatus::Repairable, "store check: nothing is lost, and the next start or --repair rebuilds the rest"),
    (ExitStatus::Hung, "serve: the database stopped responding; restart the server"),
    (ExitStatus::ClosedPipe, "the program that read the output has ended"),
];

impl ExitStatus {
    /// The number that the shell sees.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}

/// The table as `--help` prints it: one line for each status.
pub(crate) fn help() -> String {
    MEANINGS.iter().fold("Exit codes:".to_owned(), |mut text, (status, meaning)| {
        // Writing to a String cannot fail.
        let _infallible = write!(text, "\n  {:>3}  {meaning}", status.code());
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service manager's unit file is written from the documentation: it must say what the program does.
    #[test]
    fn operations_md_has_the_exit_codes_of_help() {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/OPERATIONS.md"));
        let (_, section) = text.split_once("\n## Exit codes\n").unwrap();
        let documented: Vec<(u8, String)> = section
            .lines()
            .skip_while(|line| !line.starts_with('|'))
            .take_while(|line| line.starts_with('|'))
            .filter_map(|line| {
                let mut cells = line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', ""));
                Some((cells.next()?.parse().ok()?, cells.next()?))
            })
            .collect();
        let printed: Vec<(u8, String)> =
            MEANINGS.iter().map(|(status, meaning)| (status.code(), (*meaning).to_owned())).collect();
        assert_eq!(documented, printed);
    }
}
