//! Statements that read a list of tasks.
//!
//! A list reads one range of an index for each combination of values that its filter allows: tasks in the order of the list.
//! So it examines as many tasks as a page has, times the number of combinations, however many tasks there are. What no index
//! knows in addition (two of patient, user and type at once) is checked task by task.

use std::collections::HashSet;

use deadpool_postgres::Object;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::text::indexed;
use crate::model::company::CompanyId;
use crate::model::task::{Priority, Status};
use crate::store::query::TaskFilter;

/// Up to this number, the total of a list is exact. Above it, counting would read too much of an index for each page.
pub(super) const EXACT: i64 = 1000;

const STATUSES: [Status; 3] = [Status::Pending, Status::InProgress, Status::Completed];
const PRIORITIES: [Priority; 4] = [Priority::Low, Priority::Medium, Priority::High, Priority::Urgent];

type Value = Box<dyn ToSql + Sync + Send>;

/// A filter as SQL. Its values are values of the statement, and never part of its text.
pub(super) struct TaskQuery {
    /// The sets of values whose combinations are read one by one. Without any, there is one range.
    sets: Vec<String>,
    /// Where the tasks of one range are read, as `t`, in the order of `t.place`.
    from: &'static str,
    conditions: String,
    /// Whether a task may be in several ranges.
    repeats: bool,
    values: Vec<Value>,
}

impl TaskQuery {
    pub(super) fn of(company: &CompanyId, filter: &TaskFilter) -> Self {
        let mut query = Self {
            sets: Vec::new(),
            from: "hookmill.tasks t",
            conditions: "t.company_id = $1 AND t.deleted_at IS NULL".into(),
            repeats: false,
            values: vec![Box::new(company.to_string())],
        };
        let TaskFilter { patient_id, status, priority, assigned_user_id, kind, updated_since } = filter;
        let [patients, users, kinds] = [patient_id, assigned_user_id, kind].map(|it| texts(it));
        let statuses = status.iter().map(|it| *it as i16).collect();
        let priorities = priority.iter().map(|it| *it as i16).collect();
        if let Some(since) = updated_since {
            // The planner decides whether few tasks are that new, or most (`connections.rs`: each list has a plan of its own).
            // Stored times have microseconds: the next one after a time with nanoseconds.
            let micros = since.timestamp_subsec_nanos() % 1000;
            let since =
                if micros == 0 { *since } else { *since + chrono::Duration::nanoseconds(i64::from(1000 - micros)) };
            query.check("t.updated_at >= ?", Box::new(since));
            query.check_any("t.status = ANY(?)", statuses);
            query.check_any("t.priority = ANY(?)", priorities);
            query.check_any("t.patient_id = ANY(?)", patients);
            query.check_any(HAS_USER, users);
            query.check_any("t.kind = ANY(?)", kinds);
            return query;
        }
        if !patients.is_empty() {
            query.each("t.patient_id", "text", patients);
            query.check_any(HAS_USER, users);
            query.check_any("t.kind = ANY(?)", kinds);
        } else if !users.is_empty() {
            query.repeats = users.len() > 1;
            query.from = "hookmill.task_users t";
            query.conditions = "t.company_id = $1".into();
            query.each("t.user_id", "text", users);
            query.check_any(HAS_KIND, kinds);
        } else if !kinds.is_empty() {
            query.each("t.kind", "text", kinds);
        } else if status.is_empty() && priority.is_empty() {
            return query;
        }
        query.each("t.status", "int2", or_all(statuses, STATUSES.map(|it| it as i16)));
        query.each("t.priority", "int2", or_all(priorities, PRIORITIES.map(|it| it as i16)));
        query
    }

    /// Reads one range for each of these values.
    fn each<T: ToSql + Sync + Send + 'static>(&mut self, column: &str, kind: &str, values: Vec<T>) {
        self.values.push(Box::new(values));
        let (at, set) = (self.values.len(), self.sets.len());
        self.sets.push(format!("unnest(${at}::{kind}[]) s{set} (v)"));
        self.conditions += &format!(" AND {column} = s{set}.v");
    }

    /// Adds a condition, in which `?` is the placeholder of the value.
    fn check(&mut self, condition: &str, value: Value) {
        self.values.push(value);
        self.conditions += " AND ";
        self.conditions += &condition.replace('?', &format!("${}", self.values.len()));
    }

    /// Adds a condition on these values, if there are any.
    fn check_any<T: ToSql + Sync + Send + 'static>(&mut self, condition: &str, values: Vec<T>) {
        if !values.is_empty() {
            self.check(condition, Box::new(values));
        }
    }

    /// Returns a statement that reads the places of at most `most` tasks of each range.
    fn places(&self, condition: &str, most: &str) -> String {
        let Self { sets, from, conditions, repeats, .. } = self;
        let range =
            format!("SELECT t.place FROM {from} WHERE {conditions}{condition} ORDER BY t.place DESC LIMIT {most}");
        if sets.is_empty() {
            return range;
        }
        let distinct = if *repeats { "DISTINCT " } else { "" };
        format!("SELECT {distinct}r.place FROM {} CROSS JOIN LATERAL ({range}) r", sets.join(", "))
    }

    /// Returns the rows of a page, newest first: place and document.
    pub(super) async fn page(&self, client: &Object, below: i64, offset: i64, limit: i64) -> Result<Vec<Row>, Error> {
        let at = self.values.len();
        let (below_at, limit_at, offset_at) = (at + 1, at + 2, at + 3);
        let places =
            self.places(&format!(" AND t.place < ${below_at}"), &format!("(${limit_at}::int8 + ${offset_at}::int8)"));
        let text = format!(
            "SELECT p.place, t.document FROM (SELECT place FROM ({places}) i ORDER BY place DESC \
             LIMIT ${limit_at} OFFSET ${offset_at}) p \
             CROSS JOIN LATERAL (SELECT document FROM hookmill.tasks t WHERE t.company_id = $1 AND t.place = p.place \
             AND t.deleted_at IS NULL OFFSET 0) t ORDER BY p.place DESC"
        );
        let statement = client.prepare_cached(&text).await?;
        let own: [&(dyn ToSql + Sync); 3] = [&below, &limit, &offset];
        let all: Vec<&(dyn ToSql + Sync)> = self.values().chain(own).collect();
        client.query(&statement, &all).await
    }

    /// Counts what matches, up to one more than [`EXACT`].
    pub(super) async fn total(&self, client: &Object) -> Result<i64, Error> {
        let most = EXACT + 1;
        let places = self.places("", &most.to_string());
        let text = format!("SELECT count(*) FROM (SELECT 1 FROM ({places}) i LIMIT {most}) AS matching");
        let statement = client.prepare_cached(&text).await?;
        let all: Vec<&(dyn ToSql + Sync)> = self.values().collect();
        Ok(client.query_one(&statement, &all).await?.get(0))
    }

    fn values(&self) -> impl Iterator<Item = &(dyn ToSql + Sync)> {
        self.values.iter().map(|it| &**it as &(dyn ToSql + Sync))
    }
}

// Subqueries with a limit are run for each task, whatever the planner expects.
const HAS_USER: &str = "(SELECT true FROM hookmill.task_users u WHERE u.company_id = $1 AND u.user_id = ANY(?) \
     AND u.status = t.status AND u.priority = t.priority AND u.place = t.place LIMIT 1)";
const HAS_KIND: &str = "(SELECT k.kind = ANY(?) FROM hookmill.tasks k WHERE k.company_id = $1 AND k.place = t.place \
     AND k.deleted_at IS NULL LIMIT 1)";

/// Returns these values, or all there are if no value is named.
fn or_all<const N: usize>(named: Vec<i16>, all: [i16; N]) -> Vec<i16> {
    let mut values = if named.is_empty() { all.to_vec() } else { named };
    values.sort_unstable();
    values.dedup();
    values
}

/// Returns the texts as they are in indexes, each once.
fn texts(all: &[String]) -> Vec<String> {
    let mut seen = HashSet::new();
    all.iter().filter(|it| seen.insert(*it)).map(|it| indexed(it).into_owned()).collect()
}
