//! The index of tasks: in-memory bitmaps, one for each value of each field that can be filtered by.
//!
//! A task is a row, numbered within its company in the order of creation. The newest task has the highest row, and
//! tasks stored later do not shift earlier rows. Each filter has its own sets (`status` and `priority`: one bitmap
//! per value; `patient_id`, `assigned_user_id` and `type`: one set per value, which is a list while it is short).
//! The sets of a filter's values are united, and the filters intersected, which also gives the total without reading
//! a task. A page then reads only its own tasks from sled. The bitmaps are built when the read view is opened, and are
//! not stored. Rows are never reused: a company's next row is one above its highest row, or the row that was stored
//! when tasks were purged.

mod change_order;
mod ids;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use roaring::{MultiOps as _, RoaringBitmap};
use uuid::Uuid;

use super::change::Purged;
use super::last_change::LastChange;
use super::names::AnswerNames;
use crate::model::company::CompanyId;
use crate::model::ids::TaskId;
use crate::model::task::Task;
use crate::store::query::{PageRequest, TaskFilter};
use crate::store::stats::CompanyStats;
use change_order::ChangeOrder;
use ids::TaskIds;

/// Maximum length of a row set that is stored as a list.
const FEW: usize = 32;

/// The tasks of all companies.
#[derive(Debug)]
pub(super) struct Index {
    companies: HashMap<CompanyId, Company>,
    /// The idempotency keys of the read view, until they are taken.
    names: Option<AnswerNames>,
}

impl Default for Index {
    fn default() -> Self {
        Self { companies: HashMap::new(), names: Some(AnswerNames::default()) }
    }
}

/// The tasks of one company.
#[derive(Debug, Default)]
pub(super) struct Company {
    ids: TaskIds,
    /// Row of the next task.
    next: u32,
    /// Number of times that existing tasks were changed or removed.
    changes: u64,
    order: ChangeOrder,
    live: RoaringBitmap,
    status: [RoaringBitmap; 3],
    priority: [RoaringBitmap; 4],
    patient: HashMap<Box<str>, Rows>,
    assignee: HashMap<Box<str>, Rows>,
    kind: HashMap<Box<str>, Rows>,
    /// Soft-deleted tasks, oldest deletion first: milliseconds since 1970, and the place in the order of changes.
    deleted: BTreeSet<(i64, LastChange)>,
    bytes: u64,
}

#[derive(Debug)]
enum Rows {
    /// A sorted list.
    Few(Vec<u32>),
    Many(RoaringBitmap),
}

/// The rows of a page, and the total.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PageRows {
    /// The rows, highest first.
    pub(super) rows: Vec<u32>,
    pub(super) total: u64,
    pub(super) more: bool,
}

impl Index {
    pub(super) fn company(&self, id: &CompanyId) -> Option<&Company> {
        self.companies.get(id)
    }

    /// Takes the idempotency keys of the read view, for the writer. The index no longer tracks them afterwards.
    pub(super) fn take_names(&mut self) -> AnswerNames {
        self.names.take().unwrap_or_default()
    }

    pub(super) fn keeps_names(&self) -> bool {
        self.names.is_some()
    }

    /// Returns the idempotency keys while the index still tracks them.
    pub(super) fn names(&mut self) -> Option<&mut AnswerNames> {
        self.names.as_mut()
    }

    /// Returns the companies and the next free row of each.
    pub(super) fn next_rows(&self) -> impl Iterator<Item = (&CompanyId, u32)> {
        self.companies.iter().map(|(id, company)| (id, company.next))
    }

    /// Sets the next free row of a company. Lower rows have been used, whether or not their tasks still exist.
    pub(super) fn set_next_row(&mut self, company: CompanyId, next: u32) {
        let company = self.companies.entry(company).or_default();
        company.next = company.next.max(next);
    }

    /// Notes the last change of a company's purged tasks.
    pub(super) fn set_purged(&mut self, company: CompanyId, last: LastChange) {
        self.companies.entry(company).or_default().order.purge(last);
    }

    /// Adds a task that is not in the index.
    pub(super) fn add(&mut self, task: &Task, change: LastChange, bytes: usize) {
        let row = change.row;
        let company = self.companies.entry(task.company_id.clone()).or_default();
        company.next = company.next.max(row.saturating_add(1));
        company.ids.put(row, task.id.0, nanos(task.updated_at));
        company.order.add(change);
        company.bytes += bytes as u64;
        match task.deleted_at {
            Some(at) => drop(company.deleted.insert((at.timestamp_millis(), change))),
            None => company.add(task, row),
        }
    }

    /// Removes a task; the arguments must be those of [`Self::add`].
    pub(super) fn remove(&mut self, task: &Task, change: LastChange, bytes: usize) {
        let row = change.row;
        let Some(company) = self.companies.get_mut(&task.company_id) else { return };
        company.ids.remove(row);
        company.order.remove(change);
        company.changes += 1;
        company.bytes = company.bytes.saturating_sub(bytes as u64);
        match task.deleted_at {
            Some(at) => drop(company.deleted.remove(&(at.timestamp_millis(), change))),
            None => company.remove(task, row),
        }
    }

    /// Returns tasks that were soft-deleted before this time, at most `most`.
    pub(super) fn deleted_before(&self, before_ms: i64, most: usize) -> Vec<Purged> {
        let of = |(id, company): (&CompanyId, &Company)| {
            let ended = company.deleted.iter().take_while(|(at, _)| *at < before_ms).take(most);
            let purged = ended.filter_map(|(_, last_change)| {
                let task = TaskId(company.id(last_change.row)?);
                Some(Purged { company: id.clone(), id: task, last_change: *last_change })
            });
            purged.collect::<Vec<_>>()
        };
        self.companies.iter().flat_map(of).take(most).collect()
    }

    /// Returns all companies, sorted by id.
    pub(super) fn companies(&self) -> Vec<CompanyId> {
        let mut companies: Vec<_> = self.companies.keys().cloned().collect();
        companies.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        companies
    }

    pub(super) fn stats(&self) -> Vec<CompanyStats> {
        // A company whose tasks were all purged still has its next row.
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

    /// Returns rows and ids from this row on, in the order in which the tasks were stored.
    pub(super) fn ids_from(&self, row: u32) -> impl Iterator<Item = (u32, Uuid)> {
        self.ids.from(row)
    }

    /// Returns the ids of all tasks that were created at this time or later, and others.
    pub(super) fn ids_since(&self, since: DateTime<Utc>) -> impl Iterator<Item = Uuid> {
        self.ids.since(nanos(since))
    }

    /// Returns the company's tasks in the order of their last changes.
    pub(super) fn order(&self) -> &ChangeOrder {
        &self.order
    }

    /// Returns a counter that increases with every change and removal of an existing task, but not with new tasks.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Returns the rows of one page.
    pub(super) fn find(&self, filter: &TaskFilter, page: PageRequest) -> PageRows {
        let rows = matching(self.groups(filter)).unwrap_or(Cow::Borrowed(&self.live));
        match filter.updated_since.map(nanos) {
            None => cut(&rows, page),
            Some(since) if rows.len() <= FEW as u64 => {
                cut(&rows.iter().filter(|row| self.ids.is_updated_since(*row, since)).collect(), page)
            }
            Some(since) => cut(&(self.ids.updated_since(since) & &*rows), page),
        }
    }

    /// For each filter that lists values, the sets of rows that have one of them.
    fn groups(&self, filter: &TaskFilter) -> Vec<Vec<Set<'_>>> {
        let statuses = filter.status.iter().map(|it| Set::Bitmap(&self.status[*it as usize])).collect();
        let priorities = filter.priority.iter().map(|it| Set::Bitmap(&self.priority[*it as usize])).collect();
        let named = |sets, names: &[String]| names.iter().map(|it| Set::named(sets, it)).collect();
        let lists = [&filter.patient_id, &filter.assigned_user_id, &filter.kind];
        let sets = [&self.patient, &self.assignee, &self.kind];
        let mut groups: Vec<Vec<Set<'_>>> = vec![statuses, priorities];
        groups.extend(std::iter::zip(sets, lists).map(|(sets, names)| named(sets, names)));
        groups.retain(|it| !it.is_empty());
        groups
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

/// The rows of one value.
#[derive(Clone, Copy)]
enum Set<'a> {
    /// Sorted.
    List(&'a [u32]),
    Bitmap(&'a RoaringBitmap),
}

impl<'a> Set<'a> {
    fn named(sets: &'a HashMap<Box<str>, Rows>, name: &str) -> Self {
        match sets.get(name) {
            None => Self::List(&[]),
            Some(Rows::Few(rows)) => Self::List(rows),
            Some(Rows::Many(rows)) => Self::Bitmap(rows),
        }
    }

    fn has(self, row: u32) -> bool {
        match self {
            Self::List(rows) => rows.binary_search(&row).is_ok(),
            Self::Bitmap(rows) => rows.contains(row),
        }
    }
}

/// The rows that are in one set of every group; none if there is no group.
fn matching<'a>(mut groups: Vec<Vec<Set<'a>>>) -> Option<Cow<'a, RoaringBitmap>> {
    // A group of short lists is looked up row by row in the others, without building their unions.
    let all_short = |group: &Vec<Set<'_>>| group.iter().all(|it| matches!(it, Set::List(_)));
    if let Some(at) = groups.iter().position(all_short) {
        let short = groups.swap_remove(at);
        let rows = short.iter().flat_map(|it| if let Set::List(rows) = it { *rows } else { &[] }).copied();
        let fits = |row: &u32| groups.iter().all(|group| group.iter().any(|it| it.has(*row)));
        return Some(Cow::Owned(rows.filter(fits).collect()));
    }
    let mut unions: Vec<_> = groups.iter().map(|it| union(it)).collect();
    unions.sort_by_key(|it| it.len());
    unions.into_iter().reduce(|mut rows, other| {
        *rows.to_mut() &= &*other;
        rows
    })
}

fn union<'a>(group: &[Set<'a>]) -> Cow<'a, RoaringBitmap> {
    if let [Set::Bitmap(rows)] = group {
        return Cow::Borrowed(rows);
    }
    let mut rows = group.iter().filter_map(|it| if let Set::Bitmap(rows) = it { Some(*rows) } else { None }).union();
    group.iter().for_each(|it| {
        if let Set::List(list) = it {
            rows.extend(list.iter().copied())
        }
    });
    Cow::Owned(rows)
}

/// Converts a time to nanoseconds since 1970; times before the year 1678 and after 2262 become the least and the greatest
/// number.
fn nanos(at: DateTime<Utc>) -> i64 {
    let beyond = if at.timestamp() < 0 { i64::MIN } else { i64::MAX };
    at.timestamp_nanos_opt().unwrap_or(beyond)
}

fn cut(rows: &RoaringBitmap, page: PageRequest) -> PageRows {
    let total = rows.len();
    // How many of the lowest rows remain for this page and the following ones.
    let (left, limit) = match page {
        PageRequest::Number { page, limit } => (total.saturating_sub((page - 1).saturating_mul(limit as u64)), limit),
        PageRequest::After { cursor, limit } => match u32::try_from(cursor.0) {
            Ok(0) => (0, limit),
            Ok(row) => (rows.rank(row - 1), limit),
            Err(_) => (total, limit),
        },
    };
    let highest = u32::try_from(left).ok().and_then(|it| it.checked_sub(1)).and_then(|it| rows.select(it));
    let rows = highest.map_or_else(Vec::new, |highest| rows.range(..=highest).rev().take(limit).collect());
    PageRows { more: left > rows.len() as u64, rows, total }
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

#[cfg(test)]
mod tests;
