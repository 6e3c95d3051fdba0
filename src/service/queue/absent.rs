//! Integrations with queued events that no server has.
//!
//! A plugin that is being replaced, or a server that is starting, is away for a moment. So an integration is absent only after
//! this server has seen for a while that no server has it, and no server has begun or ended in that time.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::model::ids::IntegrationName;
use crate::service::cluster::{ReportedPlugin, ReportedPlugins};
use crate::store::{Node, QueueOf};

/// How long no server must have had an integration before its queued events are given up.
const ABSENT: Duration = Duration::from_secs(60);

/// The integrations that are live on some server that processes queued events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LiveSomewhere {
    /// Leases of these servers.
    servers: BTreeSet<Uuid>,
    live: BTreeSet<QueueOf>,
    /// Those that a server has and has refused, for example because a secret is missing: they may become live again.
    refused: BTreeSet<IntegrationName>,
    /// Whether one of them is starting, or its report cannot be read: it may have others too.
    is_incomplete: bool,
}

impl LiveSomewhere {
    pub(super) fn of(nodes: &[Node]) -> Self {
        let mut all = Self { is_incomplete: !nodes.iter().any(|it| it.is_this), ..Self::default() };
        for node in nodes.iter().filter(|it| !["web", "command"].contains(&it.role.as_str())) {
            all.servers.insert(node.id);
            let Some(plugins) = ReportedPlugins::by(node) else {
                all.is_incomplete = true;
                continue;
            };
            all.is_incomplete |= plugins.starting;
            let of = |(name, it): (String, ReportedPlugin)| QueueOf {
                company: it.company_id,
                integration: IntegrationName(name.into()),
            };
            all.live.extend(plugins.live.into_iter().map(of));
            all.refused.extend(plugins.refused.into_keys().map(|it| IntegrationName(it.into())));
        }
        all
    }

    /// Returns whether some company has an integration with this name.
    pub(super) fn has_name(&self, name: &IntegrationName) -> bool {
        self.live.iter().any(|it| it.integration == *name)
    }
}

/// Since when integrations are absent.
#[derive(Debug, Default)]
pub(super) struct Absences {
    servers: BTreeSet<Uuid>,
    since: HashMap<QueueOf, Instant>,
}

impl Absences {
    /// Notes what is queued and which servers there are. Returns the integrations that have been absent for long enough.
    pub(super) fn look(&mut self, now: Instant, queued: Vec<QueueOf>, live: &LiveSomewhere) -> Vec<QueueOf> {
        if live.is_incomplete || live.servers != self.servers {
            self.forget();
        }
        if live.is_incomplete {
            return Vec::new();
        }
        self.servers.clone_from(&live.servers);
        let absent = queued.into_iter().filter(|it| !live.live.contains(it) && !live.refused.contains(&it.integration));
        self.since = absent.map(|it| (it.clone(), self.since.get(&it).copied().unwrap_or(now))).collect();
        let long = self.since.iter().filter(|it| now.saturating_duration_since(*it.1) >= ABSENT);
        long.map(|it| it.0.clone()).collect()
    }

    /// Begins to count again.
    pub(super) fn forget(&mut self) {
        self.since.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use uuid::Uuid;

    use super::{Absences, LiveSomewhere};
    use crate::model::company::CompanyId;
    use crate::model::ids::IntegrationName;
    use crate::store::{Node, QueueOf};

    fn queue(company: &str, integration: &str) -> QueueOf {
        let company = CompanyId::parse(company).unwrap();
        QueueOf { company, integration: IntegrationName(integration.into()) }
    }

    /// A server that reports these live integrations of company-1.
    fn node(id: u128, live: &[&str], more: &str) -> Node {
        let plugin = |it: &&str| {
            format!(r#""{it}": {{"version": "1", "module_sha256": "", "digest": "", "company_id": "company-1"}}"#)
        };
        let live: Vec<String> = live.iter().map(plugin).collect();
        let starting = more.contains("starting");
        let plugins = format!(
            r#"{{"source": "folder", "starting": {starting}, "activation": 0, "live": {{{}}}, "refused": {{}}}}"#,
            live.join(", ")
        );
        let role = if more.contains("web") { "web" } else { "all" }.to_owned();
        let (name, version) = (String::new(), String::new());
        Node { id: Uuid::from_u128(id), name, role, version, is_this: id == 1, plugins }
    }

    /// Looks every five seconds, and returns after how many seconds the integration "a" of company-1 is given up.
    fn seconds(nodes: impl Fn(u64) -> Vec<Node>) -> Option<u64> {
        let (mut absences, begin) = (Absences::default(), Instant::now());
        (0..40).map(|it| it * 5).find(|at| {
            let live = LiveSomewhere::of(&nodes(*at));
            let now = begin + Duration::from_secs(*at);
            !absences.look(now, vec![queue("company-1", "a")], &live).is_empty()
        })
    }

    /// The events of a plugin that nobody has any more would wait forever.
    #[test]
    fn an_integration_that_no_server_has_is_given_up_after_a_minute() {
        assert_eq!(seconds(|_| vec![node(1, &["b"], "")]), Some(60));
        // A web server does not process queued events.
        assert_eq!(seconds(|_| vec![node(1, &[], ""), node(2, &["a"], "web starting")]), Some(60));
        assert_eq!(seconds(|_| vec![node(1, &[], ""), node(2, &["a"], "")]), None);
        // One that is refused may be repaired.
        let refuses = |it: Node| Node {
            plugins: it.plugins.replace(r#""refused": {}"#, r#""refused": {"a": {"reason": ""}}"#),
            ..it
        };
        assert_eq!(seconds(|_| vec![refuses(node(1, &[], ""))]), None);
    }

    /// A backlog would be quarantined because its server restarts, or because its plugin is replaced.
    #[test]
    fn a_moment_of_absence_is_forgotten() {
        let away = |at: u64| vec![node(1, if at == 30 { &["a"] } else { &[] }, "")];
        assert_eq!(seconds(away), Some(95));
        let starts = |at: u64| vec![node(1, &[], ""), node(2, &[], if at <= 50 { "starting" } else { "" })];
        assert_eq!(seconds(starts), Some(115));
        let ends = |at: u64| if at < 55 { vec![node(1, &[], ""), node(2, &[], "")] } else { vec![node(1, &[], "")] };
        assert_eq!(seconds(ends), Some(115));
        let another_lease = |at: u64| vec![node(1, &[], ""), node(if at < 55 { 2 } else { 3 }, &[], "")];
        assert_eq!(seconds(another_lease), Some(115));
    }

    /// What a server has is not known if its report cannot be read, or if this server's own lease has ended.
    #[test]
    fn nothing_is_given_up_while_a_report_is_missing() {
        let unreadable = || Node { plugins: "{}".into(), ..node(2, &[], "") };
        assert_eq!(seconds(|_| vec![node(1, &[], ""), unreadable()]), None);
        assert_eq!(seconds(|_| vec![node(2, &[], "")]), None);
        // JSON may contain this, and PostgreSQL's jsonb may not.
        assert_eq!(seconds(|_| vec![node(1, &["b\\u0000"], "")]), Some(60));
    }

    /// If another company has the name now, only a server that has its integration may give the events up.
    #[test]
    fn an_integration_of_another_company_does_not_count() {
        let live = LiveSomewhere::of(&[node(1, &["a"], "")]);
        let (mut absences, begin) = (Absences::default(), Instant::now());
        let mut look = |at| absences.look(begin + Duration::from_secs(at), vec![queue("company-2", "a")], &live);
        assert_eq!(look(0), []);
        assert_eq!(look(60), [queue("company-2", "a")]);
        assert!(live.has_name(&IntegrationName("a".into())) && !live.has_name(&IntegrationName("b".into())));
    }
}
