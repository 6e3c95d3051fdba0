//! Faults that are done on purpose at one place: a view that cannot be written, a bit that flips.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::made::Outcome;
use super::operations::commit;
use super::protocol::{Reply, Request, Scans, Write};
use super::world::{Outcomes, World};
use crate::shim::{Calls, EIO};

/// sled cannot write: the view is rebuilt while the store serves.
pub fn heal(world: &mut World) -> Outcomes {
    if world.has_fired() {
        world.reopen()?;
    }
    fail_sled(world)?;
    if let Some(reply @ Reply::Failed(_)) = world.ask(&Request::Ready { patience_ms: 60_000 })? {
        return Err(format!("the view is not rebuilt: {reply:?}"));
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
pub fn damage_at_rest(world: &mut World) -> Outcomes {
    world.reopen()?;
    world.close()?;
    // Without it, what has expired is shown until the next sweep; that is logged.
    let fits = |it: &Path| it.file_name().is_none_or(|it| it != "horizon");
    let Some(flipped) = flip(world, &fits) else { return world.open() };
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
                    // Reading damaged data fails. What can be read must be right.
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
pub fn damage_while_running(world: &mut World) -> Outcomes {
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
    // Reading may fail, because the journal is damaged. What is read must be right.
    let export_is_left_out = super::is_left_out("export-damaged");
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
