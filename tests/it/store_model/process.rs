//! The fuzzer's side of the process with the store.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use super::child::{MARK, log_file};
use super::protocol::{Reply, Request};
use crate::own_process::in_this_binary;
use crate::shim::Shim;

/// Longer than anything takes: closing a store may take a minute where sled hangs.
const DEADLINE: Duration = Duration::from_secs(240);

pub struct Process {
    child: Child,
    input: ChildStdin,
    replies: Receiver<Reply>,
}

/// Why there is no reply.
#[derive(Debug)]
pub enum Gone {
    Ended(ExitStatus),
    Hangs,
}

impl Process {
    /// Starts this very binary once more, as `main.rs` provides for.
    pub fn start(dir: &Path, shim: &Shim) -> Self {
        let log = File::options().create(true).append(true).open(log_file(dir)).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        let test = in_this_binary(super::MODULE, super::CHILD);
        command.args(["--exact", &test, "--nocapture", "--test-threads=1"]).env(super::CHILD_VARIABLE, "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        shim.preload(&mut command);
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let (said, replies) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some(reply) = line.strip_prefix(MARK).and_then(|it| serde_json::from_str(it).ok())
                    && said.send(reply).is_err()
                {
                    return;
                }
            }
        });
        let mut process = Self { child, input, replies };
        process.reply().unwrap();
        process
    }

    pub fn ask(&mut self, request: &Request) -> Result<Reply, Gone> {
        // One that has ended does not read it.
        let _ended = writeln!(self.input, "{}", serde_json::to_string(request).unwrap());
        self.reply()
    }

    fn reply(&mut self) -> Result<Reply, Gone> {
        match self.replies.recv_timeout(DEADLINE) {
            Ok(reply) => Ok(reply),
            Err(RecvTimeoutError::Timeout) => Err(Gone::Hangs),
            Err(RecvTimeoutError::Disconnected) => Err(Gone::Ended(self.child.wait().unwrap())),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _already_ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
