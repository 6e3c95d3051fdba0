//! The thread that counts what was stored before anybody asked.

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use uuid::Uuid;

use super::{TallyState, parse};
use crate::model::event::EventStatus;
use crate::store::embedded::event_record;
use crate::store::embedded::shared::SharedStore;
use crate::store::id_time::{first_id, received_ms};
use crate::store::timeline::TimelineWindow;

/// Number of events that are read at a time.
const CHUNK: usize = 2048;
/// Pause between chunks: requests need the disk too.
const PAUSE: Duration = Duration::from_micros(500);

/// Starts the thread. It ends when all windows are complete, or with the store.
pub(super) fn start(shared: &Arc<SharedStore>) -> std::io::Result<JoinHandle<()>> {
    let weak = Arc::downgrade(shared);
    std::thread::Builder::new().name("store-tally".into()).spawn(move || run(&weak))
}

fn run(shared: &Weak<SharedStore>) {
    // A group that the writer has begun without counting is written before the lock is free, and is read here.
    let Some(asked) = shared.upgrade() else { return };
    *asked.tally.begin_group() = true;
    drop(asked);
    let now = crate::model::time::now();
    let lowest = TimelineWindow::ALL.into_iter().map(|it| first_id(it.begins(now))).min().unwrap_or_default();
    let mut before = Uuid::max();
    while let Some(it) = shared.upgrade().filter(|it| !it.closing()) {
        match chunk(&it, before, lowest) {
            Ok(Some(next)) => before = next,
            Ok(None) => return it.tally.state().complete(),
            Err(error) => {
                return tracing::warn!(cause = %error, "stored events cannot be counted; the console's charts are incomplete");
            }
        }
        drop(it);
        std::thread::sleep(PAUSE);
    }
}

/// Counts some events; returns the lowest id among them, or none at the end.
fn chunk(shared: &SharedStore, before: Uuid, lowest: Uuid) -> std::io::Result<Option<Uuid>> {
    let (mut seen, mut last) = (0, None);
    shared.segments.events_before(before, |id, key, value| {
        if id < lowest || shared.is_expired(id) {
            last = None;
            return false;
        }
        (seen, last) = (seen + 1, Some(id));
        if let (Some((company, _)), Some((integration, status))) = (parse(key), event_record::kind_of(value)) {
            shared.tally.state().found(company, id, integration, status);
        }
        seen < CHUNK
    })?;
    Ok(last.filter(|_| seen == CHUNK))
}

impl TallyState {
    /// Counts a stored event as it was before the writer registered it.
    fn found(&mut self, company: &str, id: Uuid, integration: &str, status: EventStatus) {
        self.reached = Some(id);
        let status = match self.registered.get(&id) {
            None => status,
            Some(Some(was)) => *was,
            Some(None) => return,
        };
        self.counts.add(company, received_ms(id), integration, status, 1);
    }

    fn complete(&mut self) {
        (self.is_complete, self.registered) = (true, Default::default());
    }
}
