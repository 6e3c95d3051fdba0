//! What the fuzzer does. To add an operation, write a function and give it a line in [`ALL`].

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::made::{AnswerOf, COMPANIES, Delivery, INTEGRATIONS, KeyOf, Outcome, PATIENTS, PatchOf};
use crate::model::Is;
use crate::protocol::{Reply, Request, Scans, Write};
use crate::shim::{Calls, EIO};
use crate::world::{Outcomes, World};

/// One kind of operation. `HOOKMILL_MODEL_WITHOUT` leaves some out by their names.
pub struct Operation {
    pub name: &'static str,
    /// How often, compared with the others.
    pub weight: u64,
    /// A fault may be injected into it; without, it does that itself, or has none.
    pub faults: bool,
    pub run: fn(&mut World) -> Outcomes,
}

const fn op(name: &'static str, weight: u64, faults: bool, run: fn(&mut World) -> Outcomes) -> Operation {
    Operation { name, weight, faults, run }
}

pub const ALL: &[Operation] = &[
    op("commit", 20, true, commit),
    op("large", 4, true, large),
    op("large-on-empty", 3, true, large_on_empty),
    op("keyed", 10, true, keyed),
    op("concurrent", 10, true, concurrent),
    op("update", 10, true, update),
    op("delete", 5, true, delete),
    op("settle", 10, true, settle),
    op("replay", 6, true, replay),
    op("key", 2, true, key),
    op("note", 2, true, note),
    op("clock", 6, false, clock),
    op("expire", 5, true, expire),
    op("forget", 4, true, forget),
    op("erase", 3, true, erase),
    op("compact", 3, true, compact),
    op("backup", 3, false, backup),
    op("backup-fault", 1, true, interrupted_backup),
    op("busy", 6, true, busy),
    op("compare", 4, false, |world| world.compare(false)),
    op("reopen", 3, false, reopen),
    op("twice", 1, false, twice),
    op("kill", 3, false, kill),
    op("check", 2, false, check),
    op("heal", 1, false, heal),
    op("damage", 3, false, damage_at_rest),
    op("damage-running", 3, false, damage_while_running),
];

fn commit(world: &mut World) -> Outcomes {
    let count = world.random.from_to(1, 4);
    let deliveries = (0..count).map(|_| small(world)).collect();
    world.write(vec![Write::Commit { deliveries, answer: None }])
}

fn small(world: &mut World) -> Delivery {
    let most = *world.random.choose(&[100, 1000, 1000, 10_000]).unwrap();
    let bytes = world.random.from_to(60, most);
    world.delivery(bytes as u32)
}

/// A group that is larger than a segment; the one that is written to has something in it.
fn large(world: &mut World) -> Outcomes {
    commit(world)?;
    larger_than_a_segment(world)
}

/// The same right after a new segment began. Erasing is what begins one at once.
fn large_on_empty(world: &mut World) -> Outcomes {
    if world.random.percent(70) {
        erase(world)?;
    }
    larger_than_a_segment(world)
}

fn larger_than_a_segment(world: &mut World) -> Outcomes {
    let segment = world.settings.segment_bytes;
    let bytes = world.random.from_to(segment * 3 / 4, segment * 2);
    let mut deliveries = vec![world.delivery(bytes as u32)];
    if world.random.percent(30) {
        deliveries.push(small(world));
    }
    world.write(vec![Write::Commit { deliveries, answer: None }])
}

/// A request with an idempotency key, which may have been used before.
fn keyed(world: &mut World) -> Outcomes {
    let write = with_key(world);
    world.write(vec![write])
}

fn with_key(world: &mut World) -> Write {
    let deliveries = vec![small(world)];
    let window = *world.random.choose(&[None, None, Some(1), Some(72)]).unwrap();
    let answer = AnswerOf { name: world.random.below(12) as u8, window, at_ms: world.now_ms() };
    Write::Commit { deliveries, answer: Some(answer) }
}

/// Many at a time; some with the same key.
fn concurrent(world: &mut World) -> Outcomes {
    let count = world.random.from_to(2, 12);
    let mut writes = Vec::new();
    for _ in 0..count {
        let write = match world.random.below(5) {
            0 => with_key(world),
            1 => Write::Note { entry: world.entry() },
            _ => Write::Commit { deliveries: vec![world.delivery(200)], answer: None },
        };
        writes.push(write);
    }
    if world.random.percent(30)
        && let Some(Write::Commit { answer: Some(answer), .. }) =
            writes.iter().find(|it| matches!(it, Write::Commit { answer: Some(_), .. })).cloned()
    {
        for _ in 0..3 {
            let deliveries = vec![world.delivery(100)];
            writes.push(Write::Commit { deliveries, answer: Some(answer) });
        }
    }
    world.write(writes)
}

/// A task that is there, mostly with the version that it has.
fn changed_task(world: &mut World, patch: Option<PatchOf>) -> Outcomes {
    let mut live: Vec<_> = world.model.tasks.values().filter(|it| it.deleted_at.is_none()).collect();
    live.sort_by_key(|it| it.id);
    let Some(task) = world.random.choose(&live).copied() else { return Ok(()) };
    let company = crate::made::company_number(&task.company_id);
    let (task, version) = (task.id.0, task.version);
    let version = if world.random.percent(10) { version + 1 } else { version };
    let at_ms = world.now_ms();
    world.write(vec![Write::Update { company, task, version, patch, at_ms }])
}

fn update(world: &mut World) -> Outcomes {
    let patch = PatchOf { n: world.number(), bytes: world.random.from_to(1, 3000) as u32 };
    changed_task(world, Some(patch))
}

fn delete(world: &mut World) -> Outcomes {
    changed_task(world, None)
}

/// What an event has come to that waited.
fn settle(world: &mut World) -> Outcomes {
    again(world, true)
}

/// An event that did not wait goes through its line again.
fn replay(world: &mut World) -> Outcomes {
    again(world, false)
}

fn again(world: &mut World, waiting: bool) -> Outcomes {
    match some_again(world, waiting) {
        Some(delivery) => world.write(vec![Write::Again { delivery }]),
        None => Ok(()),
    }
}

/// What an event comes to that is stored again; one that waits, or one that made nothing.
fn some_again(world: &mut World, waiting: bool) -> Option<Delivery> {
    let fits = |id, delivery: &Delivery| {
        if waiting { world.model.waits(id) } else { !matches!(delivery.outcome, Outcome::Tasks(_) | Outcome::Queued) }
    };
    let known = world.model.events.iter().filter(|(id, it)| fits(*id, &it.delivery) && !it.may_be_gone);
    let deliveries: Vec<Delivery> = known.map(|(_, it)| it.delivery.clone()).collect();
    let mut delivery = world.random.choose(&deliveries)?.clone();
    // A doubt about it has to be settled first: it may have been stored already.
    let erased = world.model.events[&delivery.event_id().0].erased;
    if !world.model.doubts.is_empty() || matches!(erased, Is::Maybe | Is::Unsure) {
        return None;
    }
    delivery.attempt += 1;
    delivery.outcome = match world.random.below(4) {
        0 => Outcome::Skipped,
        1 => Outcome::Quarantined,
        _ => Outcome::Tasks(world.random.from_to(1, 3) as u8),
    };
    Some(delivery)
}

fn key(world: &mut World) -> Outcomes {
    let key = KeyOf { name: world.random.below(4) as u8, revision: world.number() as u32 };
    let entry = world.entry();
    world.write(vec![Write::Key { key, entry }])
}

fn note(world: &mut World) -> Outcomes {
    let entry = world.entry();
    world.write(vec![Write::Note { entry }])
}

fn clock(world: &mut World) -> Outcomes {
    let hours = *world.random.choose(&[1, 7, 30, 60]).unwrap();
    world.tell(format!("{hours} hours pass"));
    world.pass(hours);
    Ok(())
}

/// Asks for something that changes no more than the model allows; an error has to be a fault's.
fn ask(world: &mut World, what: String, request: &Request) -> Result<Option<Reply>, String> {
    world.tell(what.clone());
    world.counts.operations += 1;
    match world.ask(request)? {
        Some(reply @ Reply::Failed(_)) => {
            world.tolerate(&what, &reply)?;
            world.tell(format!("{what} failed: {reply:?}"));
            Ok(None)
        }
        other => Ok(other),
    }
}

fn expire(world: &mut World) -> Outcomes {
    let now_ms = world.now_ms();
    world.model.expire(now_ms, world.settings.events);
    ask(world, "expire".into(), &Request::Expire { now_ms }).map(drop)
}

fn forget(world: &mut World) -> Outcomes {
    let (integration, days) = (world.random.below(INTEGRATIONS.into()) as u8, 1);
    let now_ms = world.now_ms();
    let request = Request::Forget { integration, days, now_ms };
    let done = ask(world, format!("forget integration {integration}"), &request)?.is_some();
    world.model.forget(integration, days, now_ms, done);
    Ok(())
}

fn erase(world: &mut World) -> Outcomes {
    let (company, patient) = (world.random.below(COMPANIES.into()) as u8, world.random.below(PATIENTS.into()) as u8);
    let request = Request::Erase { company, patient, now_ms: world.now_ms() };
    let before = world.model.of_patient(company, patient);
    match ask(world, format!("erase patient {patient} of company {company}"), &request)? {
        Some(Reply::ErasedEvents(ids)) => world.model.erase(company, patient, Some(&ids), &before),
        _ => world.model.erase(company, patient, None, &before),
    }
}

fn compact(world: &mut World) -> Outcomes {
    ask(world, "compact".into(), &Request::Compact).map(drop)
}

/// A backup has everything, and so has what is restored from it.
fn backup(world: &mut World) -> Outcomes {
    let name = format!("backup-{}", world.number());
    let to = world.files().join(&name);
    match ask(world, name, &Request::Backup { to: to.clone() })? {
        // Event indexes are not copied.
        Some(Reply::Report { damages, .. }) if damages.is_empty() => {}
        Some(other) => return Err(format!("the backup is damaged: {other:?}")),
        None => return Ok(()),
    }
    if world.random.percent(50) {
        let restored = to.with_extension("restored");
        match ask(world, "restore".into(), &Request::Restore { from: to.clone(), to: restored.clone() })? {
            Some(Reply::Report { .. }) => world.compare_copy(&restored)?,
            other => return Err(format!("a backup cannot be restored: {other:?}")),
        }
        std::fs::remove_dir_all(&restored).unwrap();
    } else {
        world.compare_copy(&to)?;
    }
    std::fs::remove_dir_all(&to).unwrap();
    Ok(())
}

/// A backup in which something goes wrong may fail; the store goes on.
fn interrupted_backup(world: &mut World) -> Outcomes {
    let name = format!("backup-{}", world.number());
    let to = world.files().join(&name);
    ask(world, name, &Request::Backup { to: to.clone() })?;
    if world.runs() {
        let _there_may_be_none = std::fs::remove_dir_all(&to);
    }
    Ok(())
}

/// Something that takes long, while others write and read.
fn busy(world: &mut World) -> Outcomes {
    let (company, patient) = (world.random.below(COMPANIES.into()) as u8, world.random.below(PATIENTS.into()) as u8);
    let (integration, days, now_ms) = (world.random.below(INTEGRATIONS.into()) as u8, 1, world.now_ms());
    let to = world.files().join(format!("backup-{}", world.number()));
    let upkeep = match world.random.below(5) {
        0 => Request::Compact,
        1 => Request::Backup { to: to.clone() },
        2 => Request::Expire { now_ms },
        3 => Request::Forget { integration, days, now_ms },
        _ => Request::Erase { company, patient, now_ms },
    };
    let count = world.random.from_to(3, 20);
    let mut writes: Vec<Write> =
        (0..count).map(|_| Write::Commit { deliveries: vec![world.delivery(300)], answer: None }).collect();
    writes.extend(some_again(world, true).map(|delivery| Write::Again { delivery }));
    world.tell(format!("busy: {upkeep:?} and {} writes", writes.len()));
    world.counts.operations += 1 + writes.len() as u64;
    let (before, its) = (world.model.clone(), world.model.of_patient(company, patient));
    world.model.loosen();
    let reply = world.ask(&Request::Busy { upkeep: Box::new(upkeep.clone()), writes: writes.clone() })?;
    let (done, replies) = match reply {
        Some(Reply::Each(all)) => match <[Reply; 3]>::try_from(all) {
            Ok([done, Reply::Each(replies), read]) => {
                if read != Reply::Done {
                    world.tolerate(&format!("reading during {upkeep:?}"), &read)?;
                }
                (done, Some(replies))
            }
            other => return Err(format!("busy was answered {other:?}")),
        },
        _ => (Reply::Failed("the process has ended".into()), None),
    };
    if matches!(done, Reply::Failed(_)) && world.runs() {
        world.tolerate(&format!("{upkeep:?}"), &done)?;
    }
    let finished = !matches!(done, Reply::Failed(_));
    let erasing = if matches!(upkeep, Request::Erase { .. }) { its.as_slice() } else { &[] };
    match replies {
        Some(replies) => world.judge(writes.clone(), replies, erasing)?,
        None => world.model.doubts.extend(writes.clone()),
    }
    match (upkeep, done) {
        (Request::Expire { .. }, _) => world.model.expire(now_ms, world.settings.events),
        (Request::Forget { .. }, _) => world.model.forget(integration, days, now_ms, finished),
        (Request::Erase { .. }, Reply::ErasedEvents(ids)) => world.model.erase(company, patient, Some(&ids), &its)?,
        (Request::Erase { .. }, _) => world.model.erase(company, patient, None, &its)?,
        // It has everything that was there before, and any of what came meanwhile.
        (Request::Backup { .. }, Reply::Report { damages, .. }) if damages.is_empty() => {
            let mut may_have = before;
            may_have.doubts.extend(writes);
            world.compare_copy_with(&to, may_have)?;
        }
        (Request::Backup { .. }, Reply::Report { damages, .. }) => {
            return Err(format!("the backup is damaged: {damages:?}"));
        }
        _ => {}
    }
    let _there_may_be_none = std::fs::remove_dir_all(&to);
    Ok(())
}

fn reopen(world: &mut World) -> Outcomes {
    world.reopen()
}

/// What one store left behind in the process must not disturb the next.
fn twice(world: &mut World) -> Outcomes {
    for _ in 0..2 {
        world.tell("close and open at once".into());
        world.close()?;
        world.open()?;
    }
    world.compare(true)
}

fn kill(world: &mut World) -> Outcomes {
    world.tell("kill".into());
    world.counts.operations += 1;
    world.kill();
    Ok(())
}

/// What a clean end leaves behind is in order.
fn check(world: &mut World) -> Outcomes {
    let disturbed = world.has_fired();
    world.close()?;
    let mut report = ask(world, "check".into(), &Request::Check { dir: world.data() })?;
    if let Some(Reply::Report { repairable, .. }) = &mut report
        && crate::without().iter().any(|it| it == "closed-lock")
    {
        repairable.retain(|it| !it.contains("could not acquire lock") && !it.contains(".events"));
    }
    match report {
        Some(Reply::Report { damages, repairable }) if damages.is_empty() && (repairable.is_empty() || disturbed) => {}
        other => return Err(format!("the check of a closed store says {other:?}")),
    }
    world.open()?;
    world.compare(true)
}

/// sled cannot write: the view is built anew while the store serves.
fn heal(world: &mut World) -> Outcomes {
    if world.has_fired() {
        world.reopen()?;
    }
    fail_sled(world)?;
    if let Some(reply @ Reply::Failed(_)) = world.ask(&Request::Ready { patience_ms: 60_000 })? {
        return Err(format!("the view is not built anew: {reply:?}"));
    }
    world.compare(false)
}

/// Has sled's next write fail. It writes when it has some megabytes.
fn fail_sled(world: &mut World) -> Outcomes {
    commit(world)?;
    let fired = world.shim.fired();
    world.tell("sled's file cannot be written".into());
    world.shim.only("/db");
    world.shim.fail_after(1, Calls::WRITES, EIO);
    for _ in 0..12 {
        if world.shim.fired() > fired || !world.runs() {
            break;
        }
        let mut delivery = world.delivery(100);
        (delivery.task_bytes, delivery.outcome) = (700_000, Outcome::Tasks(1));
        world.write(vec![Write::Commit { deliveries: vec![delivery], answer: None }])?;
    }
    world.disarm();
    Ok(())
}

/// A byte of a file, which is given back as it was.
struct Flipped {
    path: PathBuf,
    offset: u64,
    flipped: u8,
    mask: u8,
}

impl Flipped {
    fn new(path: &Path, offset: u64, mask: u8) -> Self {
        let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        byte[0] ^= mask;
        file.write_all_at(&byte, offset).unwrap();
        Self { path: path.to_owned(), offset, flipped: byte[0], mask }
    }

    /// Where it was not overwritten meanwhile.
    fn flip_back(&self) {
        let Ok(file) = std::fs::File::options().read(true).write(true).open(&self.path) else { return };
        let mut byte = [0];
        if file.read_exact_at(&mut byte, self.offset).is_ok() && byte[0] == self.flipped {
            file.write_all_at(&[byte[0] ^ self.mask], self.offset).unwrap();
        }
    }
}

fn files_of(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_of(&path, found);
        } else if path.metadata().unwrap().len() > 0 {
            found.push(path);
        }
    }
    found.sort();
}

/// How many bytes of a file are in use, about: what follows is zeros.
fn used(path: &Path) -> u64 {
    let bytes = std::fs::read(path).unwrap();
    bytes.iter().rposition(|it| *it != 0).map_or(0, |it| it as u64 + 1)
}

fn flip(world: &mut World, fits: &dyn Fn(&Path) -> bool) -> Option<Flipped> {
    let mut files = Vec::new();
    files_of(&world.data(), &mut files);
    files.retain(|it| fits(it));
    let path = world.random.choose(&files)?.clone();
    let used = used(&path);
    if used == 0 {
        return None;
    }
    let (offset, bit) = (world.random.below(used), world.random.below(8));
    let name = path.strip_prefix(world.data()).unwrap().display();
    world.tell(format!("flip bit {bit} of byte {offset} of {name}"));
    world.counts.damages += 1;
    world.counts.operations += 1;
    Some(Flipped::new(&path, offset, 1 << bit))
}

/// A start refuses and says where, or all is there.
fn damage_at_rest(world: &mut World) -> Outcomes {
    world.reopen()?;
    world.close()?;
    let Some(flipped) = flip(world, &|_| true) else { return world.open() };
    let refused = match world.ask(&Request::Open { dir: world.data(), settings: world.settings.clone() })? {
        Some(Reply::Failed(cause)) => Some(cause),
        Some(Reply::Done) => None,
        other => return Err(format!("opening was answered {other:?}")),
    };
    match refused {
        Some(cause) => {
            let name = flipped.path.file_name().unwrap().to_string_lossy().into_owned();
            if !cause.contains(&name) {
                return Err(format!("the start was refused, and {name} is not named: {cause}"));
            }
            world.tell(format!("the start was refused: {cause}"));
            flipped.flip_back();
            world.open()?;
        }
        None => {
            let name = flipped.path.file_name().unwrap().to_string_lossy().into_owned();
            match world.ask(&Request::Verify)? {
                Some(Reply::Report { damages, .. }) if damages.is_empty() => world.compare(true)?,
                Some(Reply::Report { damages, .. }) if damages.iter().any(|it| it.contains(&name)) => {
                    // Reading what is damaged fails. What can be read has to be right.
                    if let Some((dump, answers, now_ms)) = world.dump_if_readable(Scans::Neither, 3000)? {
                        world.model.compare(&dump, &answers, now_ms, false)?;
                    }
                }
                other => return Err(format!("verifying {name} was answered {other:?}")),
            }
            // Two faults are more than is promised.
            world.close()?;
            flipped.flip_back();
            world.open()?;
        }
    }
    world.compare(true)
}

/// A byte of the journal changes while the store serves, and then something is made from the journal: that fails, and
/// says so, or has everything. What is served never becomes less.
fn damage_while_running(world: &mut World) -> Outcomes {
    world.reopen()?;
    if !world.runs() || world.has_fired() {
        return Ok(());
    }
    let Some(flipped) = flip(world, &|it| it.extension().is_some_and(|it| it == "journal")) else { return Ok(()) };
    let how = world.random.below(3);
    if how == 2 {
        fail_sled(world)?;
    } else {
        world.tell("compact".into());
        let compacted = world.ask(&Request::Compact)?;
        world.tell(format!("compacting was answered {compacted:?}"));
    }
    let ready = world.ask(&Request::Ready { patience_ms: 3000 })?;
    world.tell(format!("ready: {ready:?}"));
    // Reading may fail, since the journal is damaged. What is read has to be right.
    let export_is_left_out = crate::without().iter().any(|it| it == "export-damaged");
    let scans = if export_is_left_out { Scans::Neither } else { Scans::Export };
    let read = world.dump_if_readable(scans, 3000)?;
    if let Some((dump, answers, now_ms)) = read {
        let compared = world.model.compare(&dump, &answers, now_ms, false);
        compared.map_err(|e| format!("with a damaged journal, and ready ({ready:?}): {e}"))?;
    }
    // Closed by force, if it waits for a view that cannot be built.
    world.kill();
    flipped.flip_back();
    world.open()?;
    world.compare(true)
}
