//! Lists of events.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{Duration, SubsecRound as _, Utc};
use hookmill::model::event::{Event, EventStatus, Reason};
use hookmill::model::ids::{EventId, IntegrationName};
use hookmill::store::{EventFilter, Ingested, Replace, Replaced, Store, WHOLE_BYTES, WholeEvents};

use super::again::{alone, event, received};
use super::named;
use crate::stored::{company, ingested};

/// The ids of a list, page by page.
pub async fn listed(store: &dyn Store, of: &str, filter: &EventFilter) -> Vec<EventId> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = store.list_events(&company(of), filter.clone(), after, 7).await.unwrap();
        ids.extend(page.events.iter().map(|it| it.id));
        match page.next {
            Some(next) => after = Some(next),
            None => return ids,
        }
    }
}

pub async fn a_list_has_the_events_that_every_filter_matches(store: Arc<dyn Store>) {
    let start = Utc::now().trunc_subsecs(3) - Duration::days(2);
    let statuses = [EventStatus::Skipped, EventStatus::Quarantined, EventStatus::Rejected, EventStatus::Queued];
    let mut all: Vec<Event> = Vec::new();
    for n in 0..60_usize {
        let mut it = ingested("a", |_| {});
        if n % 5 > 0 {
            (it.event.status, it.event.task_ids) = (statuses[n % 4], Vec::new());
            it.tasks.clear();
        }
        if n % 3 == 0 {
            let reason = ["schema", "plugin"][n % 2];
            let code = format!("code-{}", n % 4);
            it.event.reason = Some(Reason { stage: reason.into(), code, message: "text".into() });
        }
        it.event.integration = IntegrationName(format!("guest-{}", n % 3).into());
        // Over three days, two of them in the same millisecond.
        it.event = received(it.event, start + Duration::hours(n as i64 / 2));
        it.tasks.iter_mut().for_each(|task| task.event_id = it.event.id);
        store.commit(it.clone().into()).await.unwrap();
        all.push(it.event);
    }
    store.commit(alone(&event(EventStatus::Skipped, "{}"))).await.unwrap();
    store.commit(ingested("b", |_| {}).into()).await.unwrap();
    all.push(store.list_events(&company("a"), EventFilter::default(), None, 1).await.unwrap().events.remove(0));
    all.sort_by_key(|it| std::cmp::Reverse(it.id.0));
    let task = all.iter().find_map(|it| it.task_ids.first().copied()).unwrap();
    let part = all[20].id.to_string()[3..].to_owned();
    for bits in 0..128_u32 {
        for several in [false, true] {
            let and = |first: &'static str, more: &'static str| if several { vec![first, more] } else { vec![first] };
            let mut status = vec![EventStatus::Quarantined];
            status.extend(several.then_some(EventStatus::Stored));
            let filter = EventFilter {
                integration: named(bits & 1 > 0, &and("guest-1", "guest-0")),
                status: if bits & 2 > 0 { status } else { Vec::new() },
                reason: named(bits & 4 > 0, &and("schema", "code-1")),
                since: (bits & 8 > 0).then(|| start + Duration::hours(10)),
                until: (bits & 16 > 0).then(|| start + Duration::hours(25)),
                task_id: (bits & 32 > 0).then_some(task),
                id: (bits & 64 > 0).then(|| part.clone()),
                repeats: None,
            };
            let expected: Vec<EventId> = all.iter().filter(|it| filter.fits(*it)).map(|it| it.id).collect();
            assert_eq!(listed(&*store, "a", &filter).await, expected, "{filter:?}");
        }
    }
}

/// A list shows the headers of each event; bodies would make it too large.
pub async fn a_list_has_everything_but_bodies(store: Arc<dyn Store>) {
    let mut it = ingested("a", |_| {});
    it.event.headers = vec![("x-sender".into(), "one".into())];
    it.event.plugin_log = "a line\0 with NUL".into();
    it.event.reason = Some(Reason { stage: "plugin".into(), code: "no\0ne".into(), message: "\\ and \0".into() });
    store.commit(it.clone().into()).await.unwrap();
    assert_eq!(store.event(&company("a"), it.event.id).await.unwrap().as_ref(), Some(&it.event));
    let page = store.list_events(&company("a"), EventFilter::default(), None, 10).await.unwrap();
    assert_eq!(page.events, [Event { body: Bytes::new(), ..it.event }]);
    assert_eq!(page.next, None);
}

/// Otherwise a search in payloads lacks events, or shows them to another company.
pub async fn events_are_read_whole_by_id_and_newest_first(store: Arc<dyn Store>) {
    let start = Utc::now().trunc_subsecs(3) - Duration::days(1);
    let mut all = Vec::new();
    for n in 0..23_usize {
        let mut it = alone(&event(EventStatus::Skipped, &format!("{{\"n\":{n}}}")));
        let event = &mut it.ingested[0].event;
        event.company_id = company(if n % 3 == 0 { "b" } else { "a" });
        *event = received(event.clone(), start + Duration::minutes(i64::try_from(n * 7 % 23).unwrap()));
        all.push(event.clone());
        store.commit(it).await.unwrap();
    }
    all.sort_by_key(|it| std::cmp::Reverse(it.id.0));
    let (mut read, mut before) = (Vec::new(), EventId(uuid::Uuid::max()));
    loop {
        let page = store.events_before(before, 5).await.unwrap();
        assert!(page.events.len() <= 5);
        read.extend(page.events);
        match page.next {
            Some(next) => before = next,
            None => break,
        }
    }
    assert_eq!(read, all, "of all companies, with bodies");
    let ids: Vec<EventId> = all.iter().map(|it| it.id).chain([EventId(uuid::Uuid::now_v7())]).collect();
    let own = store.events_of(&company("b"), ids).await.unwrap();
    let expected: Vec<Event> = all.into_iter().filter(|it| it.company_id == company("b")).collect();
    assert_eq!(own, WholeEvents { events: expected, unread: Vec::new() });
}

/// Otherwise a few large bodies fill the server's memory, or events are left out of searches in payloads because of their size.
pub async fn large_events_are_read_a_few_at_a_time_and_none_is_left_out(store: Arc<dyn Store>) {
    let start = Utc::now().trunc_subsecs(3) - Duration::days(1);
    let mut all = Vec::new();
    for n in 0..10_usize {
        // One alone is larger than the limit.
        let length = if n == 5 { WHOLE_BYTES + 1 } else { WHOLE_BYTES / 3 };
        let mut it = alone(&event(EventStatus::Skipped, &format!("\"{n}{}\"", "x".repeat(length))));
        let event = &mut it.ingested[0].event;
        event.company_id = company(if n % 4 == 0 { "b" } else { "a" });
        *event = received(event.clone(), start + Duration::minutes(i64::try_from(n).unwrap()));
        all.push(event.clone());
        store.commit(it).await.unwrap();
    }
    all.reverse();
    let few = |events: &[Event]| {
        let sizes: Vec<usize> = events.iter().map(|it| it.body.len()).collect();
        sizes.split_last().is_none_or(|(_, newer)| newer.iter().sum::<usize>() < WHOLE_BYTES)
    };
    let (mut read, mut before) = (Vec::new(), EventId(uuid::Uuid::max()));
    loop {
        let page = store.events_before(before, 64).await.unwrap();
        assert!(few(&page.events), "{} events at a time", page.events.len());
        read.extend(page.events);
        match page.next {
            Some(next) => before = next,
            None => break,
        }
    }
    assert!(read == all, "all of them, newest first");

    let (gone, own) = (EventId(uuid::Uuid::now_v7()), |it: &&Event| it.company_id == company("a"));
    let mut rest: Vec<EventId> = all.iter().map(|it| it.id).chain([gone]).collect();
    let mut read = Vec::new();
    while !rest.is_empty() {
        let page = store.events_of(&company("a"), rest).await.unwrap();
        assert!(few(&page.events), "{} events at a time", page.events.len());
        read.extend(page.events);
        rest = page.unread;
    }
    let expected: Vec<Event> = all.iter().filter(own).cloned().collect();
    assert!(read == expected, "all of the company's, newest first, and none twice");
}

/// Otherwise the page of an event lacks its duplicates, or an admin sees those of another company.
pub async fn the_duplicates_of_an_event_are_listed(store: Arc<dyn Store>) {
    let start = Utc::now().trunc_subsecs(3) - Duration::days(1);
    let at = |minutes| start + Duration::minutes(minutes);
    let firsts: Vec<Event> = (0..2).map(|n| received(event(EventStatus::Stored, "{}"), at(n))).collect();
    let mut expected = Vec::new();
    for n in 0..12 {
        let (first, code) = (firsts[n % 2].id, if n % 3 == 0 { "duplicate_differs" } else { "duplicate" });
        let mut it = alone(&event(EventStatus::Duplicate, "{}"));
        let event = &mut it.ingested[0].event;
        event.company_id = company(if n % 4 == 0 { "b" } else { "a" });
        let message = format!("repetition of event {first}; it got the same response");
        event.reason = Some(Reason { stage: "dedupe".into(), code: code.into(), message });
        *event = received(event.clone(), at(10 + i64::try_from(n).unwrap()));
        if n % 2 == 0 && n % 4 != 0 {
            expected.push(event.id);
        }
        store.commit(it).await.unwrap();
    }
    expected.reverse();
    let repeats = Some(firsts[0].id);
    let of = EventFilter { repeats, ..EventFilter::default() };
    assert_eq!(listed(&*store, "a", &of).await, expected);
    let page = store.list_events(&company("a"), of.clone(), None, 2).await.unwrap();
    assert_eq!(page.events.iter().map(|it| it.id).collect::<Vec<_>>(), expected[..2]);
    assert_eq!(page.next, Some(expected[1]));
    let narrow = EventFilter { reason: vec!["duplicate_differs".into()], until: Some(at(17)), ..of.clone() };
    assert_eq!(listed(&*store, "a", &narrow).await, [expected[1]]);

    // A duplicate with another body that is replayed becomes an event of its own.
    let versioned = store.versioned(&company("a"), expected[0]).await.unwrap().unwrap();
    let own = Event { status: EventStatus::Skipped, reason: None, ..versioned.event };
    let ingested = Ingested { event: own, tasks: Vec::new() };
    let (read, updates) = (versioned.version, Vec::new());
    let replace = Replace { ingested, read, idempotency: None, forget: None, audit: None, updates };
    assert_eq!(store.replace(replace).await.unwrap(), Replaced::Stored);
    assert_eq!(listed(&*store, "a", &of).await, expected[1..]);
}
