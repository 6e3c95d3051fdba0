//! Writes, and what they are answered.

use uuid::Uuid;

use super::super::protocol::{Reply, Request, Write};
use super::{Outcomes, World};

impl World {
    /// Writes at the same time, and checks each answer.
    pub fn write(&mut self, writes: Vec<Write>) -> Outcomes {
        let what: Vec<String> = writes.iter().map(short).collect();
        self.tell(format!("write {}", what.join(", ")));
        self.counts.operations += writes.len() as u64;
        if writes.len() > 1 {
            self.model.loosen();
        }
        let replies = match self.ask(&Request::Writes(writes.clone()))? {
            Some(Reply::Each(replies)) => replies,
            None => {
                self.model.doubts.extend(writes);
                return Ok(());
            }
            Some(other) => return Err(format!("writes were answered {other:?}")),
        };
        self.judge(writes, replies, &[])
    }

    /// Compares answers with the model, and notes what they say. An event that is one of `erasing` may be erased before
    /// it is stored again, or after that.
    pub fn judge(&mut self, writes: Vec<Write>, replies: Vec<Reply>, erasing: &[Uuid]) -> Outcomes {
        // Of several with the same key, the one that was stored gives the others their answer.
        let mut pairs: Vec<_> = writes.into_iter().zip(replies).collect();
        pairs.sort_by_key(|(_, reply)| matches!(reply, Reply::Repeated(_)));
        for (write, reply) in pairs {
            if let Reply::Failed(_) = &reply {
                self.tolerate(&short(&write), &reply)?;
                self.tell(format!("{} failed: {reply:?}", short(&write)));
                self.model.doubts.push(write);
                continue;
            }
            let raced = match &write {
                Write::Again { delivery } => erasing.contains(&delivery.event_id().0),
                Write::Commit { deliveries, .. } => deliveries.iter().any(|it| erasing.contains(&it.event_id().0)),
                _ => false,
            };
            let expected = self.model.answer_to(&write);
            if reply != expected && !(raced && reply == Reply::Erased) {
                return Err(format!("{} was answered {reply:?}, and should be {expected:?}", short(&write)));
            }
            match reply {
                Reply::Erased if raced => self.model.late(&write),
                Reply::Stored | Reply::Updated(_) | Reply::Erased => self.model.apply(&write),
                _ => {}
            }
        }
        Ok(())
    }
}

fn short(write: &Write) -> String {
    match write {
        Write::Commit { deliveries, answer } => {
            let each: Vec<String> =
                deliveries.iter().map(|it| format!("{}:{:?} {} B", it.n, it.outcome, it.body_bytes)).collect();
            let key = answer.as_ref().map_or(String::new(), |it| format!(" with key {}/{:?}", it.name, it.window));
            format!("commit [{}]{key}", each.join(", "))
        }
        Write::Again { delivery } => format!("again {}:{:?}", delivery.n, delivery.outcome),
        Write::Update { task, version, patch: Some(_), .. } => format!("update {task} v{version}"),
        Write::Update { task, version, patch: None, .. } => format!("delete {task} v{version}"),
        Write::Key { key, .. } => format!("API key {} r{}", key.name, key.revision),
        Write::Note { entry } => format!("note {}", entry.n),
    }
}
