//! Which tasks fit a filter: bitmaps in memory, one for each value of each field that can be asked for.
//!
//! A task is a row, numbered in its company by the order of creation, so that newest first is the highest row first,
//! and nothing that is stored later moves what is listed. Each filter has its own sets (`status` and `priority` one
//! bitmap a value; `patient_id`, `assigned_user_id` and `type` one set a value, a short list while it is short);
//! filters together are their intersection, which also gives the total without reading a task. A page then reads
//! its own tasks from sled, and no other. The bitmaps are built when the view is opened, and are nowhere on the disk.
//! Rows are never given twice: a company's next row is one past its highest, or what was stored when tasks were purged.

mod ids;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use roaring::RoaringBitmap;
use uuid::Uuid;

use super::names::Names;
use crate::auth::CompanyId;
use crate::store::{CompanyStats, Page, TaskFilter};
use crate::task::Task;
use ids::Ids;

/// The longest list of rows that is kept as a list.
const FEW: usize = 32;

/// Every company's tasks.
#[derive(Debug)]
pub(super) struct Index {
    companies: HashMap<CompanyId, Company>,
    /// Until they are taken: the idempotency keys that the view has.
    names: Option<Names>,
}

impl Default for Index {
    fn default() -> Self {
        Self { companies: HashMap::new(), names: Some(Names::default()) }
    }
}

/// One company's.
#[derive(Debug, Default)]
pub(super) struct Company {
    ids: Ids,
    /// The row that the next task gets.
    next: u32,
    /// How often tasks that were here were changed or removed.
    changes: u64,
    live: RoaringBitmap,
    status: [RoaringBitmap; 3],
    priority: [RoaringBitmap; 4],
    patient: HashMap<Box<str>, Rows>,
    assignee: HashMap<Box<str>, Rows>,
    kind: HashMap<Box<str>, Rows>,
    /// Soft-deleted, oldest deletion first: milliseconds since 1970, row.
    deleted: BTreeSet<(i64, u32)>,
    bytes: u64,
}

#[derive(Debug)]
enum Rows {
    /// Sorted.
    Few(Vec<u32>),
    Many(RoaringBitmap),
}

/// The rows of a page, and what the whole list comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Highest first.
    pub(super) rows: Vec<u32>,
    pub(super) total: u64,
    pub(super) more: bool,
}

impl Index {
    pub(super) fn company(&self, id: &CompanyId) -> Option<&Company> {
        self.companies.get(id)
    }

    /// The idempotency keys that the view has, for the writer. From now on they are not kept in here.
    pub(super) fn take_names(&mut self) -> Names {
        self.names.take().unwrap_or_default()
    }

    pub(super) fn keeps_names(&self) -> bool {
        self.names.is_some()
    }

    /// Those keys, as long as they are kept in here.
    pub(super) fn names(&mut self) -> Option<&mut Names> {
        self.names.as_mut()
    }

    /// Companies and the next free row of each.
    pub(super) fn next_rows(&self) -> impl Iterator<Item = (&CompanyId, u32)> {
        self.companies.iter().map(|(id, company)| (id, company.next))
    }

    /// Rows below this one have been given, whether or not their tasks are still here.
    pub(super) fn set_next_row(&mut self, company: CompanyId, next: u32) {
        let company = self.companies.entry(company).or_default();
        company.next = company.next.max(next);
    }

    /// Adds a task that was not there.
    pub(super) fn add(&mut self, task: &Task, row: u32, bytes: usize) {
        let company = self.companies.entry(task.company_id.clone()).or_default();
        company.next = company.next.max(row.saturating_add(1));
        company.ids.put(row, task.id.0);
        company.bytes += bytes as u64;
        match task.deleted_at {
            Some(at) => drop(company.deleted.insert((at.timestamp_millis(), row))),
            None => company.add(task, row),
        }
    }

    /// Removes a task as it was added.
    pub(super) fn remove(&mut self, task: &Task, row: u32, bytes: usize) {
        let Some(company) = self.companies.get_mut(&task.company_id) else { return };
        company.ids.remove(row);
        company.changes += 1;
        company.bytes = company.bytes.saturating_sub(bytes as u64);
        match task.deleted_at {
            Some(at) => drop(company.deleted.remove(&(at.timestamp_millis(), row))),
            None => company.remove(task, row),
        }
    }

    /// Tasks that were soft-deleted before this, at most so many.
    pub(super) fn deleted_before(&self, before_ms: i64, most: usize) -> Vec<(CompanyId, Uuid)> {
        let ids = |(id, company): (&CompanyId, &Company)| {
            let id = id.clone();
            let rows: Vec<_> = company.deleted.iter().take_while(|(at, _)| *at < before_ms).take(most).collect();
            rows.into_iter().filter_map(|(_, row)| company.id(*row)).map(|it| (id.clone(), it)).collect::<Vec<_>>()
        };
        self.companies.iter().flat_map(ids).take(most).collect()
    }

    /// Every company, by name.
    pub(super) fn companies(&self) -> Vec<CompanyId> {
        let mut companies: Vec<_> = self.companies.keys().cloned().collect();
        companies.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        companies
    }

    pub(super) fn stats(&self) -> Vec<CompanyStats> {
        // What is left of a company whose tasks were all purged is its next row.
        let with_tasks =
            self.companies.iter().filter(|(_, company)| !company.live.is_empty() || !company.deleted.is_empty());
        let mut companies: Vec<_> = with_tasks
            .map(|(id, company)| CompanyStats {
                company_id: id.to_string(),
                tasks: company.live.len(),
                deleted_tasks: company.deleted.len() as u64,
                task_bytes: company.bytes,
            })
            .collect();
        companies.sort_by(|a, b| a.company_id.cmp(&b.company_id));
        companies
    }
}

impl Company {
    pub(super) fn id(&self, row: u32) -> Option<Uuid> {
        self.ids.get(row)
    }

    /// Rows and ids from this row on, in the order in which the tasks were stored.
    pub(super) fn ids_from(&self, row: u32) -> impl Iterator<Item = (u32, Uuid)> {
        self.ids.from(row)
    }

    /// Moves with every change and removal of a task that was here; new tasks do not move it.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// The rows of one page.
    pub(super) fn find(&self, filter: &TaskFilter, page: Page) -> Found {
        let rows = match self.matching(filter) {
            Matching::Bitmap(rows) => return cut(&rows, page),
            Matching::List(rows) => rows,
        };
        cut(&rows.into_iter().collect(), page)
    }

    fn matching(&self, filter: &TaskFilter) -> Matching<'_> {
        let mut bitmaps: Vec<&RoaringBitmap> = Vec::new();
        let mut lists: Vec<&[u32]> = Vec::new();
        bitmaps.extend(filter.status.map(|it| &self.status[it as usize]));
        bitmaps.extend(filter.priority.map(|it| &self.priority[it as usize]));
        let named = [
            (&self.patient, &filter.patient_id),
            (&self.assignee, &filter.assigned_user_id),
            (&self.kind, &filter.kind),
        ];
        for (sets, name) in named {
            let Some(name) = name else { continue };
            match sets.get(name.as_str()) {
                None => return Matching::List(Vec::new()),
                Some(Rows::Few(rows)) => lists.push(rows),
                Some(Rows::Many(rows)) => bitmaps.push(rows),
            }
        }
        if let Some((first, others)) = lists.split_first() {
            let fits = |row: &u32| {
                others.iter().all(|it| it.binary_search(row).is_ok()) && bitmaps.iter().all(|it| it.contains(*row))
            };
            return Matching::List(first.iter().copied().filter(fits).collect());
        }
        bitmaps.sort_by_key(|it| it.len());
        match bitmaps.as_slice() {
            [] => Matching::Bitmap(Cow::Borrowed(&self.live)),
            [one] => Matching::Bitmap(Cow::Borrowed(one)),
            [first, second, rest @ ..] => {
                let mut rows = *first & *second;
                rest.iter().for_each(|it| rows &= *it);
                Matching::Bitmap(Cow::Owned(rows))
            }
        }
    }

    fn add(&mut self, task: &Task, row: u32) {
        self.live.insert(row);
        self.status[task.status as usize].insert(row);
        self.priority[task.priority as usize].insert(row);
        put(&mut self.patient, task.patient_id.as_deref(), row);
        put(&mut self.kind, task.kind.as_deref(), row);
        task.assigned_user_ids.iter().for_each(|it| put(&mut self.assignee, Some(it), row));
    }

    fn remove(&mut self, task: &Task, row: u32) {
        self.live.remove(row);
        self.status[task.status as usize].remove(row);
        self.priority[task.priority as usize].remove(row);
        take(&mut self.patient, task.patient_id.as_deref(), row);
        take(&mut self.kind, task.kind.as_deref(), row);
        task.assigned_user_ids.iter().for_each(|it| take(&mut self.assignee, Some(it), row));
    }
}

enum Matching<'a> {
    Bitmap(Cow<'a, RoaringBitmap>),
    List(Vec<u32>),
}

fn cut(rows: &RoaringBitmap, page: Page) -> Found {
    let total = rows.len();
    // How many of the lowest rows are left for this page and those after it.
    let (left, limit) = match page {
        Page::Number { page, limit } => (total.saturating_sub((page - 1).saturating_mul(limit as u64)), limit),
        Page::After { cursor, limit } => match u32::try_from(cursor.0) {
            Ok(0) => (0, limit),
            Ok(row) => (rows.rank(row - 1), limit),
            Err(_) => (total, limit),
        },
    };
    let highest = u32::try_from(left).ok().and_then(|it| it.checked_sub(1)).and_then(|it| rows.select(it));
    let rows = highest.map_or_else(Vec::new, |highest| rows.range(..=highest).rev().take(limit).collect());
    Found { more: left > rows.len() as u64, rows, total }
}

fn put(sets: &mut HashMap<Box<str>, Rows>, name: Option<&str>, row: u32) {
    let Some(name) = name else { return };
    match sets.get_mut(name) {
        None => drop(sets.insert(name.into(), Rows::Few(vec![row]))),
        Some(Rows::Many(rows)) => drop(rows.insert(row)),
        Some(set @ Rows::Few(_)) => set.insert(row),
    }
}

fn take(sets: &mut HashMap<Box<str>, Rows>, name: Option<&str>, row: u32) {
    let Some(name) = name else { return };
    let empty = match sets.get_mut(name) {
        None => false,
        Some(Rows::Many(rows)) => {
            rows.remove(row);
            rows.is_empty()
        }
        Some(Rows::Few(rows)) => {
            if let Ok(at) = rows.binary_search(&row) {
                rows.remove(at);
            }
            rows.is_empty()
        }
    };
    if empty {
        sets.remove(name);
    }
}

impl Rows {
    fn insert(&mut self, row: u32) {
        let Self::Few(rows) = self else { return };
        if let Err(at) = rows.binary_search(&row) {
            rows.insert(at, row);
        }
        if rows.len() > FEW {
            *self = Self::Many(rows.iter().copied().collect());
        }
    }
}
