//! The process that keeps a PostgreSQL cluster.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A running `postgres.sh`. It stops the server when this value, or the process, is gone.
pub(super) struct Keeper {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Keeper {
    pub(super) fn of(mut command: Command) -> Self {
        // In a group of its own, so that Ctrl-C does not end it before it has stopped the server.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).current_dir("/");
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    #[track_caller]
    pub(super) fn ask(&mut self, command: &str) -> String {
        writeln!(self.input.as_ref().unwrap(), "{command}").unwrap();
        self.reply()
    }

    /// The next line, or a panic with the server's log.
    #[track_caller]
    pub(super) fn reply(&mut self) -> String {
        let mut said = String::new();
        loop {
            let start = said.len();
            let length = self.output.read_line(&mut said).unwrap();
            match said[start..].trim() {
                "failed" => panic!("PostgreSQL does not start: {said}"),
                line if length == 0 => panic!("PostgreSQL's keeper has ended: {said}{line}"),
                line if start == 0 && (line == "ok" || line.starts_with('/')) => return line.to_owned(),
                _ => {}
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.input = None;
        let _reaped = self.child.wait();
    }
}
