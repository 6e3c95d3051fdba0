//! Forms batches of the changes that wait.
//!
//! Batches of the same company wait for each other in the database. So the next one of a company is formed when the
//! one before has been executed and waits for the disk, and not earlier: by then it has everything that has come in meanwhile,
//! and the database need not wait for it either. Batches of other companies do not wait.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::attempt::write;
use super::sent::{News, SentSignal};
use super::waiting::WaitingMutation;
use crate::store::postgres::shared::SharedDatabase;

/// Maximum number of batches that are written at the same time.
const BATCHES: usize = 4;
/// Maximum number of changes of a batch, and of their bytes.
const CHANGES: usize = 512;
const BYTES: usize = 8 << 20;
/// Maximum number of changes that are taken from callers before they are written. The others wait where they are.
const TAKEN: usize = 4096;

/// The changes that wait, and what is being written.
pub(super) struct Batches {
    shared: Arc<SharedDatabase>,
    waiting: VecDeque<WaitingMutation>,
    /// Companies of batches whose statements are not all sent yet.
    busy: HashSet<String>,
    running: usize,
    ended: mpsc::UnboundedSender<News>,
    news: mpsc::UnboundedReceiver<News>,
}

impl Batches {
    pub(super) fn new(shared: Arc<SharedDatabase>) -> Self {
        let (ended, news) = mpsc::unbounded_channel();
        Self { shared, waiting: VecDeque::new(), busy: HashSet::new(), running: 0, ended, news }
    }

    /// Forms and writes batches, until no caller can send changes any more and all are written.
    pub(super) async fn form(mut self, mut receive: mpsc::Receiver<WaitingMutation>) {
        let (mut open, mut taken) = (true, Vec::new());
        while open || self.running > 0 || !self.waiting.is_empty() {
            tokio::select! {
                count = receive.recv_many(&mut taken, TAKEN), if open && self.waiting.len() < TAKEN => {
                    open = count > 0;
                    self.waiting.extend(taken.drain(..));
                }
                Some(news) = self.news.recv() => self.note(news),
            }
            while let Ok(news) = self.news.try_recv() {
                self.note(news);
            }
            while self.running < BATCHES {
                let Some((batch, companies)) = self.next() else { break };
                self.start(batch, companies);
            }
        }
    }

    fn note(&mut self, news: News) {
        match news {
            News::Sent(companies) => companies.iter().for_each(|it| drop(self.busy.take(it))),
            News::Whole => self.running -= 1,
        }
    }

    /// Takes the next batch: the changes whose companies are not busy. A change that must wait makes later ones of its
    /// companies wait too.
    fn next(&mut self) -> Option<(Vec<WaitingMutation>, HashSet<String>)> {
        let (mut batch, mut left, mut bytes) = (Vec::new(), VecDeque::new(), 0);
        let (mut companies, mut blocked) = (HashSet::new(), HashSet::new());
        while let Some(request) = self.waiting.pop_front() {
            if batch.len() >= CHANGES || bytes >= BYTES {
                left.push_back(request);
                break;
            }
            let mut own: Vec<&str> = Vec::new();
            request.change.companies(&mut |it| own.push(it));
            if own.iter().any(|it| self.busy.contains(*it) || blocked.contains(*it)) {
                blocked.extend(own.into_iter().map(str::to_owned));
                left.push_back(request);
                continue;
            }
            for company in own {
                if !companies.contains(company) {
                    companies.insert(company.to_owned());
                }
            }
            bytes += request.change.size();
            batch.push(request);
        }
        left.append(&mut self.waiting);
        self.waiting = left;
        (!batch.is_empty()).then_some((batch, companies))
    }

    fn start(&mut self, batch: Vec<WaitingMutation>, companies: HashSet<String>) {
        self.running += 1;
        let told = SentSignal::new(companies.iter().cloned().collect(), self.ended.clone());
        self.busy.extend(companies);
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move { write(&shared, batch, &told).await });
    }
}
