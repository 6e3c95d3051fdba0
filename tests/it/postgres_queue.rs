//! Claims on queued events of one PostgreSQL database: which events a server gets, and in which order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hookmill::model::event::{Event, EventStatus};
use hookmill::model::ids::EventId;
use hookmill::store::postgres::{DatabaseUrl, PostgresOptions};
use hookmill::store::{
    ClaimRequest, ClaimedEvent, Cluster as _, Commit, Ingested, Postgres, QueueOf, Replace, Replaced, SuspectRoom,
    TaskStore as _,
};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::guests::{command, says};
use crate::harness::{Cluster, Database, Server, Setup, postgres_or_skip, task, until};
use crate::stored::{company, ingested};

fn open(database: &Database<'_>) -> Arc<Postgres> {
    Arc::new(Postgres::open(PostgresOptions::new(DatabaseUrl::parse(&database.url()).unwrap())).unwrap())
}

/// Queues an event of the integration "tasks" of company "a".
async fn queue(store: &Postgres, lane: Option<i64>) -> Event {
    let event = Event { status: EventStatus::Queued, task_ids: Vec::new(), ..ingested("a", |_| {}).event };
    let one = Ingested { event: event.clone(), tasks: Vec::new() };
    store.commit(Commit { lane, ..one.into() }).await.unwrap();
    event
}

/// Room for events that were claimed before without a result.
fn room(with_suspects: bool) -> SuspectRoom {
    SuspectRoom { again: if with_suspects { 32 } else { 0 }, often: with_suspects }
}

async fn claim(store: &Postgres, most: usize, with_suspects: bool) -> Vec<ClaimedEvent> {
    let of = QueueOf { company: company("a"), integration: ingested("a", |_| {}).event.integration };
    store.claim(&[ClaimRequest { of, most, again: 32 }], room(with_suspects)).await.unwrap()
}

fn ids(claimed: &[ClaimedEvent]) -> Vec<EventId> {
    claimed.iter().map(|it| it.claim.id).collect()
}

/// Stores the result of a claimed event; false if the claim has ended.
async fn settle(store: &Postgres, it: &ClaimedEvent) -> bool {
    let Some(read) = store.claimed(&it.claim).await.unwrap() else { return false };
    let ingested = Ingested { event: Event { status: EventStatus::Skipped, ..read.event }, tasks: Vec::new() };
    let replace =
        Replace { ingested, read: read.version, idempotency: None, forget: None, audit: None, updates: Vec::new() };
    store.replace(replace).await.unwrap() == Replaced::Stored
}

/// A number below this one.
fn random(below: u64) -> u64 {
    RandomState::new().hash_one(0) % below
}

/// What two servers have done.
#[derive(Default)]
struct Done {
    /// Events that are being processed, by lane.
    running: Mutex<HashMap<i64, EventId>>,
    settled: Mutex<BTreeMap<i64, Vec<EventId>>>,
}

impl Done {
    /// Processes events of a lane one after another, as a server does. Some are put back, with those behind them.
    async fn process(self: Arc<Self>, store: Arc<Postgres>, lane: i64, mut claimed: UnboundedReceiver<ClaimedEvent>) {
        while let Some(it) = claimed.recv().await {
            if store.claimed(&it.claim).await.unwrap().is_none() {
                continue;
            }
            let before = self.running.lock().unwrap().insert(lane, it.claim.id);
            assert_eq!(before, None, "two servers process events of one lane");
            tokio::time::sleep(Duration::from_millis(random(3))).await;
            self.running.lock().unwrap().remove(&lane);
            if random(8) == 0 {
                store.put_back(&it.claim, Duration::from_millis(random(5))).await.unwrap();
                continue;
            }
            // The lock is not released in between, so that the order of this list is that of the results.
            assert!(settle(&store, &it).await, "the claim has ended");
            self.settled.lock().unwrap().entry(lane).or_default().push(it.claim.id);
        }
    }
}

/// A cancellation that is processed before its booking, or at the same time, leaves the booking in the calendar.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_servers_that_claim_at_once_process_each_lane_in_order() {
    const LANES: i64 = 6;
    const EACH: usize = 40;
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let stores = [open(&database), open(&database)];
    let done = Arc::new(Done::default());
    let queueing = async {
        let all = (0..LANES).map(|lane| {
            let store = Arc::clone(&stores[usize::try_from(lane).unwrap() % 2]);
            tokio::spawn(async move {
                let mut queued = Vec::new();
                for _ in 0..EACH {
                    queued.push(queue(&store, Some(lane)).await.id);
                }
                (lane, queued)
            })
        });
        futures_util::future::join_all(all).await.into_iter().map(Result::unwrap).collect::<BTreeMap<_, _>>()
    };
    let claiming: Vec<_> = stores
        .iter()
        .map(|store| {
            let (store, done) = (Arc::clone(store), Arc::clone(&done));
            tokio::spawn(async move {
                let mut lanes = HashMap::new();
                let mut workers = tokio::task::JoinSet::new();
                while done.settled.lock().unwrap().values().map(Vec::len).sum::<usize>()
                    < usize::try_from(LANES).unwrap() * EACH
                {
                    for it in claim(&store, 1 + usize::try_from(random(20)).unwrap(), true).await {
                        let lane = it.lane.unwrap();
                        let to = lanes.entry(lane).or_insert_with(|| {
                            let (to, claimed) = unbounded_channel();
                            workers.spawn(Arc::clone(&done).process(Arc::clone(&store), lane, claimed));
                            to
                        });
                        to.send(it).unwrap();
                    }
                    while let Some(ended) = workers.try_join_next() {
                        ended.unwrap();
                    }
                }
                drop(lanes);
                while let Some(ended) = workers.join_next().await {
                    ended.unwrap();
                }
            })
        })
        .collect();
    let expected = queueing.await;
    for it in claiming {
        tokio::time::timeout(crate::harness::DEADLINE, it).await.expect("all events are settled").unwrap();
    }
    assert_eq!(*done.settled.lock().unwrap(), expected);
    assert_eq!(database.sql("SELECT count(*) FROM hookmill.queue"), "0");
}

/// Events of other lanes would wait for those of a long one, however short they are.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_long_lane_a_server_holds_a_few_and_gets_to_every_other_lane() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let store = open(&database);
    let first = queue(&store, Some(7)).await;
    // As fast as the database can: the copies have ids and places of their own.
    let copies = |count: usize, lane: &str, from: usize| {
        database.sql(&format!(
            "INSERT INTO hookmill.queue (company_id, place, event_id, integration, lane) \
             SELECT company_id, place + {from} + n, gen_random_uuid(), integration, {lane} \
             FROM hookmill.queue, generate_series(1, {count}) n WHERE event_id = '{}'",
            first.id
        ));
    };
    copies(1000, "7", 0);
    copies(200, "hashtextextended((n % 100)::text, 0)", 2000);
    let (mut lanes, mut of_the_long) = (BTreeSet::new(), 0);
    for _ in 0..50 {
        let claimed = claim(&store, 64, false).await;
        of_the_long += claimed.iter().filter(|it| it.lane == Some(7)).count();
        lanes.extend(claimed.iter().filter_map(|it| it.lane));
    }
    assert_eq!(of_the_long, 16);
    assert_eq!(lanes.len(), 101);
}

/// An event that makes servers crash would take hundreds of others with it, until all of them are quarantined; or these would
/// be processed one at a time for hours.
#[tokio::test(flavor = "multi_thread")]
async fn interrupted_events_are_claimed_a_few_at_a_time_and_then_singly() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let store = open(&database);
    let mut queued = Vec::new();
    for _ in 0..40 {
        queued.push(queue(&store, None).await.id);
    }
    let lane = [queue(&store, Some(1)).await.id, queue(&store, Some(1)).await.id];
    database.sql("UPDATE hookmill.queue SET attempts = 1");
    assert_eq!(claim(&store, 256, false).await, []);
    let few = claim(&store, 256, true).await;
    assert_eq!(ids(&few), queued[..32]);
    assert!(few.iter().all(|it| it.attempts == 2));
    // Of a lane, only the first one.
    assert_eq!(ids(&claim(&store, 256, true).await), [&queued[32..], &lane[..1]].concat());
    assert_eq!(claim(&store, 256, true).await, []);
    store.leave().await.unwrap();
    database.sql("UPDATE hookmill.queue SET attempts = 2, node = NULL");
    let other = open(&database);
    assert_eq!(ids(&claim(&other, 256, true).await), queued[..1]);
    assert_eq!(ids(&claim(&other, 256, true).await), queued[1..2]);
}

/// Events of an integration that is not found here would wait forever once no server has it.
#[tokio::test(flavor = "multi_thread")]
async fn the_integrations_that_unclaimed_events_wait_for_are_known() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let store = open(&database);
    assert_eq!(store.queued_for().await.unwrap(), []);
    queue(&store, None).await;
    database.sql(
        "INSERT INTO hookmill.queue (company_id, place, event_id, integration, lane, attempts) \
         SELECT v.company, place + v.n, gen_random_uuid(), v.integration, v.lane, v.attempts FROM hookmill.queue, \
         (VALUES (1, 'a', 'tasks', 5, 0), (2, 'a', 'lanes', 5, 0), (3, 'b', 'suspects', 5, 1), (4, 'b', 'tasks', NULL, 0)) \
         v (n, company, integration, lane, attempts)",
    );
    let found: BTreeSet<_> = store.queued_for().await.unwrap().into_iter().collect();
    let found: Vec<_> = found.iter().map(|it| (it.company.as_str(), &*it.integration.0)).collect();
    assert_eq!(found, [("a", "lanes"), ("a", "tasks"), ("b", "suspects"), ("b", "tasks")]);
    claim(&store, 256, true).await;
    assert_eq!(store.queued_for().await.unwrap().len(), 3);
}

/// The events behind it would overtake it, or wait until the server is restarted.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_put_back_keeps_its_lane_waiting_until_its_next_attempt() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let stores = [open(&database), open(&database)];
    let events = [queue(&stores[0], Some(1)).await.id, queue(&stores[0], Some(1)).await.id];
    let claimed = claim(&stores[0], 256, true).await;
    assert_eq!(ids(&claimed), events);
    stores[0].put_back(&claimed[0].claim, Duration::from_secs(3600)).await.unwrap();
    // The one behind it is given back too.
    assert!(!settle(&stores[0], &claimed[1]).await);
    for store in &stores {
        assert_eq!(claim(store, 256, true).await, []);
    }
    assert_eq!(database.sql("SELECT attempts FROM hookmill.queue ORDER BY place"), "1\n0");
    database.sql("UPDATE hookmill.queue SET ready_at = now()");
    let again = claim(&stores[1], 256, true).await;
    assert_eq!((ids(&again), again[0].attempts), (events[..1].to_vec(), 2));
    assert_eq!(claim(&stores[1], 256, true).await, []);
    assert!(settle(&stores[1], &again[0]).await);
    assert_eq!(ids(&claim(&stores[0], 256, true).await), events[1..]);
}

/// A plugin whose deliveries are queued.
const QUEUED: &str = "mode = \"async\"\n[auth]\nscheme = \"api-key\"\n";

/// Gives a plugin folder to another company.
fn give(setup: &Setup, name: &str, company: &str) {
    let file = setup.plugins.join(name).join("plugin.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("company-1", company)).unwrap();
}

fn event(server: &Server, id: &str) -> Value {
    server.get(&format!("/v1/events/{id}")).expect(200).json()
}

/// A plugin that hangs would stop the deliveries of all other companies.
#[test]
fn a_long_lane_of_a_slow_plugin_does_not_delay_another_integration() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let looping = command("(func (export \"_start\") (loop (br 0)))");
    let limits = "[limits]\ntime_ms = 60000\nconcurrency = 1\nqueue = 65536\n";
    let slow = format!("order_by = \"/group\"\n{QUEUED}{limits}");
    let setup =
        Setup::new().plugin("slow", &slow, &looping).plugin("fine", QUEUED, &says(&task().to_string())).on(&database);
    give(&setup, "fine", "company-2");
    let server = setup.start();
    let reply = server.post("/v1/hooks/slow", &json!({"group": "x"})).expect(202);
    let copy = |count: usize, from: usize, lane: &str| {
        let id = format!("(left(id::text, 24) || lpad(to_hex({from} + n), 12, '0'))::uuid");
        let copies =
            format!("FROM hookmill.TABLE, generate_series(1, {count}) n WHERE id = '{}'", reply.header("x-event-id"));
        database.sql(&format!(
            "INSERT INTO hookmill.event_bodies SELECT company_id, {id}, sent, body {}; \
             INSERT INTO hookmill.events SELECT company_id, {id}, version, integration, status, stage, code, erased, \
             replace(document, id::text, {id}::text) {}; \
             INSERT INTO hookmill.queue (company_id, place, event_id, integration, lane) \
             SELECT company_id, place + {from} + n, {id}, integration, {lane} {}",
            copies.replace("TABLE", "event_bodies"),
            copies.replace("TABLE", "events"),
            copies.replace("hookmill.TABLE", "(SELECT *, event_id AS id FROM hookmill.queue) q"),
        ));
    };
    copy(3000, 0, "lane");
    copy(3000, 5000, "n % 40");
    until("the slow one has all that it gets", || {
        database.sql("SELECT count(*) FROM hookmill.queue WHERE node IS NOT NULL") == "256"
    });
    let key = setup.key("company-2", &["hooks:write", "tasks:read"]);
    let headers = [("x-api-key", &*key), ("content-type", "application/json")];
    server.send_as("POST", "/v1/hooks/fine", &headers, b"{}").expect(202);
    until("the other company's delivery has its result", || {
        let reply = server.send_as("GET", "/v1/tasks", &[("x-api-key", &key)], b"").expect(200).json();
        reply["pagination"]["total"] == 1
    });
}

/// The result would be tried forever, and the lane would wait for it.
#[test]
fn an_event_whose_result_the_database_refuses_is_quarantined_with_its_content() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let setup = Setup::new().plugin("guest", QUEUED, &says(&task().to_string())).on(&database);
    let server = setup.start();
    database.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'too long' USING ERRCODE = '22001'; END $$; \
         CREATE TRIGGER refuse BEFORE INSERT ON hookmill.tasks FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    let reply = server.post("/v1/hooks/guest", &json!({"n": 1})).expect(202);
    let id = reply.header("x-event-id");
    until("it is quarantined", || event(&server, id)["status"] == "quarantined");
    let event = event(&server, id);
    assert_eq!(event["reason"]["code"], "unstorable", "{event}");
    assert_eq!(database.sql("SELECT count(*) FROM hookmill.queue"), "0");
    assert_eq!(database.sql("SELECT convert_from(body, 'UTF8') FROM hookmill.event_bodies"), "{\"n\":1}");
    database.sql("DROP TRIGGER refuse ON hookmill.tasks");
    server.post(&format!("/v1/events/{id}/replay"), &json!({})).expect(200);
}

/// It would be claimed forever, and no other interrupted event with it.
#[test]
fn an_event_that_was_interrupted_five_times_is_quarantined_even_if_that_fails_at_first() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let mut setup = Setup::new().plugin("guest", QUEUED, &says(&task().to_string())).on(&database);
    setup.extra = vec!["--role".into(), "web".into()];
    let web = setup.start();
    let id = web.post("/v1/hooks/guest", &json!({})).expect(202).header("x-event-id").to_owned();
    database.sql("UPDATE hookmill.queue SET attempts = 5");
    // It passes by itself, in the view of a server.
    database.sql(
        "CREATE FUNCTION busy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'busy' USING ERRCODE = '53400'; END $$; \
         CREATE TRIGGER busy BEFORE UPDATE ON hookmill.events FOR EACH ROW EXECUTE FUNCTION busy()",
    );
    setup.extra[1] = "worker".into();
    let worker = setup.another().start();
    until("it was tried", || worker.log_so_far().contains("a queued event is retried"));
    database.sql("DROP TRIGGER busy ON hookmill.events");
    until("it is quarantined", || event(&web, &id)["status"] == "quarantined");
    assert_eq!(event(&web, &id)["reason"]["code"], "interrupted");
}

/// Five outages of the database would quarantine a good event that no server has begun to process.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_outage_of_the_database_is_no_attempt() {
    let cluster = postgres_or_skip!(Cluster::start_private(false));
    let database = cluster.database();
    let lease = Duration::from_secs(1);
    let options = PostgresOptions::new(DatabaseUrl::parse(&database.url()).unwrap());
    let store = Arc::new(Postgres::open(PostgresOptions { lease, ..options }).unwrap());
    let event = queue(&store, None).await;
    let before = claim(&store, 1, true).await;
    assert_eq!((ids(&before), before[0].attempts), (vec![event.id], 1));
    let leases = || database.sql("SELECT count(*) FROM hookmill.nodes WHERE leased_until > now()");
    cluster.stop_immediately();
    // The lease ends, and renewals fail meanwhile. Nothing can be asked in this time.
    tokio::time::sleep(lease * 3).await;
    cluster.restart();
    until("the server has another lease", || cluster.try_psql(&database.url(), "SELECT 1").is_ok() && leases() == "1");
    let mut again = Vec::new();
    for _ in 0..100 {
        // The store may not have noticed yet that the database works.
        let of = QueueOf { company: company("a"), integration: event.integration.clone() };
        again = store.claim(&[ClaimRequest { of, most: 1, again: 1 }], room(true)).await.unwrap_or_default();
        if !again.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!((ids(&again), again[0].attempts), (vec![event.id], 1));
    assert!(!settle(&store, &before[0]).await, "the claim from before has ended");
    assert!(settle(&store, &again[0]).await);
}

/// A claim that is taken away from a server that is alive lets an event behind it be processed first.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_claim_that_was_made_while_claims_of_the_dead_are_freed_is_kept() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let _store = open(&database);
    let row =
        |company: &str| format!("('{company}', {}, gen_random_uuid(), 'tasks', gen_random_uuid(), 1, 1)", 1_u64 << 50);
    // Freeing the first one takes a while.
    database.sql(&format!(
        "INSERT INTO hookmill.companies VALUES ('a'), ('b');
         CREATE FUNCTION hookmill.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF OLD.company_id = 'a' THEN PERFORM pg_sleep(1.5); END IF; RETURN NEW; END $$;
         CREATE TRIGGER slow BEFORE UPDATE ON hookmill.queue FOR EACH ROW EXECUTE FUNCTION hookmill.slow();
         INSERT INTO hookmill.queue (company_id, place, event_id, integration, node, attempts, token) VALUES {}, {}",
        row("a"),
        row("b")
    ));
    let sleeping =
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
    until("claims of the dead are being freed", || database.sql(sleeping) == "1");
    // The second one is freed by another server, and claimed by a third one.
    database.sql(
        "UPDATE hookmill.queue SET node = (SELECT id FROM hookmill.nodes LIMIT 1), token = 3 WHERE company_id = 'b'",
    );
    let of = |company| {
        database.sql(&format!("SELECT node IS NULL, token FROM hookmill.queue WHERE company_id = '{company}'"))
    };
    until("the first one is free", || of("a") == "t|2");
    assert_eq!(of("b"), "f|3");
}
