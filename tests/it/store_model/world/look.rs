//! Looking at everything in a store, and comparing it with the model.

use std::path::Path;

use super::super::is_left_out;
use super::super::made::AnswerOf;
use super::super::model::Model;
use super::super::process::Process;
use super::super::protocol::{Dump, Reply, Request, Scans};
use super::{Outcomes, World};

/// How long a view that is being rebuilt is waited for.
const PATIENCE_MS: u64 = 120_000;

/// What a store has; the keys whose answers were asked for, and as of when.
pub type Looked = (Box<Dump>, Vec<AnswerOf>, i64);

impl World {
    /// Looks at everything in the store; nothing where that fails.
    pub fn dump_if_readable(&mut self, scans: Scans, patience_ms: u64) -> Result<Option<Looked>, String> {
        self.looked(scans, patience_ms).map(Result::ok)
    }

    fn dump(&mut self) -> Result<Option<Looked>, String> {
        let scans = if self.has_fired() { Scans::More } else { Scans::Exact };
        match self.looked(scans, PATIENCE_MS)? {
            Ok(looked) => Ok(Some(looked)),
            Err(None) => Ok(None),
            Err(Some(reply)) => self.tolerate("reading everything", &reply).map(|()| None),
        }
    }

    fn looked(&mut self, scans: Scans, patience_ms: u64) -> Result<Result<Looked, Option<Reply>>, String> {
        let (answers, now_ms) = (self.model.keys_used(), self.now_ms());
        let (gone, feed) = (self.model.gone(), self.model.feed());
        let request = Request::Dump { scans, answers: answers.clone(), now_ms, gone, feed, patience_ms };
        Ok(match self.ask(&request)? {
            Some(Reply::Dump(dump)) => Ok((dump, answers, now_ms)),
            other => Err(other),
        })
    }

    /// Compares everything with the model.
    pub fn compare(&mut self, reopened: bool) -> Outcomes {
        self.tell("compare".into());
        self.counts.operations += 1;
        self.counts.compared += 1;
        if let Some((dump, answers, now_ms)) = self.dump()? {
            self.model.compare(&dump, &answers, now_ms, reopened)?;
        }
        Ok(())
    }

    /// Compares the store in another directory with the model.
    pub fn compare_copy(&mut self, dir: &Path) -> Outcomes {
        self.compare_copy_with(dir, self.model.clone())
    }

    pub fn compare_copy_with(&mut self, dir: &Path, mut model: Model) -> Outcomes {
        let mut process = Process::start(self.dir.path(), &self.clock);
        model.lost_power |= is_left_out("expired-in-backup");
        let (answers, now_ms) = (model.keys_used(), self.now_ms());
        let open = Request::Open { dir: dir.to_owned(), settings: self.settings.clone() };
        match process.ask(&open) {
            Ok(Reply::Done) => {}
            other => return Err(format!("{} does not open: {other:?}", dir.display())),
        }
        let request = Request::Dump {
            scans: Scans::Exact,
            answers: answers.clone(),
            now_ms,
            gone: model.gone(),
            feed: model.feed(),
            patience_ms: PATIENCE_MS,
        };
        match process.ask(&request) {
            Ok(Reply::Dump(dump)) => {
                let compared = model.compare(&dump, &answers, now_ms, true);
                compared.map_err(|e| format!("{}: {e}", dir.file_name().unwrap_or_default().display()))
            }
            other => Err(format!("{} cannot be read: {other:?}", dir.display())),
        }
    }
}
