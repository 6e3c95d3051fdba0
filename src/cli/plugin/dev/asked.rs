//! What the user asks for while a plugin is watched: lines on stdin, Ctrl-C and SIGTERM.

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::failure::Failure;
use crate::cli::runtime;

/// Number of requests that wait; a program that writes more to stdin waits.
const WAITING: usize = 16;

/// A request of the user.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AskedAction {
    /// End the session.
    End,
    /// Run again.
    Run,
    /// Write the results into the fixtures that differ.
    Update,
    /// Make fixtures of payloads.
    Adopt,
    /// Post this fixture; without a name, the one that was changed last.
    Post(String),
    /// Something else.
    Unknown(String),
}

impl AskedAction {
    fn parse(line: &str) -> Option<Self> {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        Some(match word {
            "" => return None,
            "q" => Self::End,
            "r" => Self::Run,
            "u" => Self::Update,
            "a" => Self::Adopt,
            "p" => Self::Post(rest.trim().to_owned()),
            _ => Self::Unknown(line.to_owned()),
        })
    }
}

/// Returns the requests. The threads that wait for them end with the process.
pub(super) fn asked() -> Result<Receiver<AskedAction>, Failure> {
    let (to, requests) = bounded(WAITING);
    let runtime = runtime()?;
    let ends = to.clone();
    spawn("signals", move || runtime.block_on(end(&ends)))?;
    spawn("keys", move || {
        // The end of stdin does not end the session: it may run without one.
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if AskedAction::parse(&line).is_some_and(|it| to.send(it).is_err()) {
                return;
            }
        }
    })?;
    Ok(requests)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map(drop).map_err(Failure::new)
}

async fn end(to: &Sender<AskedAction>) {
    let Ok(mut terminated) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
    let _gone = to.send(AskedAction::End);
}

#[cfg(test)]
mod tests {
    use super::AskedAction;

    #[test]
    fn a_line_is_a_letter_and_a_name() {
        assert_eq!(AskedAction::parse(" p  created \n"), Some(AskedAction::Post("created".into())));
        assert_eq!(AskedAction::parse("p"), Some(AskedAction::Post(String::new())));
        assert_eq!(AskedAction::parse("q"), Some(AskedAction::End));
        assert_eq!(AskedAction::parse("quit now"), Some(AskedAction::Unknown("quit now".into())));
        assert_eq!(AskedAction::parse("\n"), None);
    }
}
