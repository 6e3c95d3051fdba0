-- Version 1. docs/POSTGRES.md describes the tables.
--
-- Every key and index of tables with companies' data begins with company_id. Texts that it compares have the
-- collation "C": they are ids and names, and their order means nothing.

-- An admin may have created it, for a user who may not.
DO $$ BEGIN IF to_regnamespace('hookmill') IS NULL THEN CREATE SCHEMA hookmill; END IF; END $$;

-- The version of this schema. One row.
CREATE TABLE hookmill.schema_version (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  version integer NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO hookmill.schema_version (version) VALUES (0);

-- What holds for the whole database. One row.
CREATE TABLE hookmill.installation (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  -- Which history the numbers of changes belong to, and the cluster, timeline and table in which it began: a restored copy
  -- begins another one, so that cursors of the change feed expire.
  lineage bigint NOT NULL,
  cluster text NOT NULL,
  -- Events with a lower id have expired, even if their partition is still there.
  events_from uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
  -- Increases with each change of keys and plugins, so that nodes notice it.
  keys_version bigint NOT NULL DEFAULT 0,
  plugins_version bigint NOT NULL DEFAULT 0
);

-- One number for each transaction that writes. A number is drawn while the rows of its companies are locked, so within a
-- company the order of numbers is the order in which changes became visible.
CREATE SEQUENCE hookmill.changes;

-- Every write locks the rows of its companies first, in the order of their ids. A lock makes no new version of a row.
CREATE TABLE hookmill.companies (
  company_id text COLLATE "C" PRIMARY KEY,
  -- The last change of tasks that were purged.
  purged bigint NOT NULL DEFAULT 0
);

CREATE TABLE hookmill.tasks (
  company_id text COLLATE "C" NOT NULL,
  id uuid NOT NULL,
  -- Place in lists: the order in which tasks were stored.
  place bigint NOT NULL,
  -- Place in the change feed: the last change.
  change bigint NOT NULL,
  version bigint NOT NULL,
  status smallint NOT NULL,
  priority smallint NOT NULL,
  -- A long text is here as its SHA-256.
  patient_id text COLLATE "C",
  kind text COLLATE "C",
  updated_at timestamptz NOT NULL,
  deleted_at timestamptz,
  -- The task as JSON.
  document text NOT NULL,
  -- The task as it was created, once it has been changed.
  original text,
  PRIMARY KEY (company_id, id)
);
CREATE UNIQUE INDEX tasks_by_place ON hookmill.tasks (company_id, place) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX tasks_by_change ON hookmill.tasks (company_id, change);
-- Lists are read from one range of an index for each combination of the values that a filter may have. There are few
-- statuses and priorities, so they are part of each index.
CREATE INDEX tasks_by_status ON hookmill.tasks (company_id, status, priority, place) WHERE deleted_at IS NULL;
CREATE INDEX tasks_by_patient ON hookmill.tasks (company_id, patient_id, status, priority, place)
  WHERE deleted_at IS NULL AND patient_id IS NOT NULL;
CREATE INDEX tasks_by_kind ON hookmill.tasks (company_id, kind, status, priority, place)
  WHERE deleted_at IS NULL AND kind IS NOT NULL;
CREATE INDEX tasks_by_update ON hookmill.tasks (company_id, updated_at) WHERE deleted_at IS NULL;
CREATE INDEX tasks_deleted ON hookmill.tasks (company_id, deleted_at) WHERE deleted_at IS NOT NULL;

-- The users that a task is assigned to, with its status and priority. Without rows for deleted tasks.
CREATE TABLE hookmill.task_users (
  company_id text COLLATE "C" NOT NULL,
  -- A long text is here as its SHA-256.
  user_id text COLLATE "C" NOT NULL,
  status smallint NOT NULL,
  priority smallint NOT NULL,
  place bigint NOT NULL,
  PRIMARY KEY (company_id, user_id, status, priority, place)
);

-- Events, without what was sent. A partition has the events of one day: their ids begin with the time of receipt
-- (RFC 9562, version 7). The server creates and drops partitions.
CREATE TABLE hookmill.events (
  company_id text COLLATE "C" NOT NULL,
  id uuid NOT NULL,
  -- The change that wrote this state.
  version bigint NOT NULL,
  integration text COLLATE "C" NOT NULL,
  status smallint NOT NULL,
  stage text COLLATE "C",
  code text COLLATE "C",
  erased boolean NOT NULL,
  -- The event as JSON.
  document text NOT NULL,
  -- Of a duplicate, the event that it repeats.
  repeats uuid,
  PRIMARY KEY (company_id, id)
) PARTITION BY RANGE (id);
CREATE INDEX events_repeating ON hookmill.events (company_id, repeats, id) WHERE repeats IS NOT NULL;

-- What was sent. A row is written once, and deleted if its content is erased.
CREATE TABLE hookmill.event_bodies (
  company_id text COLLATE "C" NOT NULL,
  id uuid NOT NULL,
  -- Content type, headers and trace as JSON.
  sent text NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (company_id, id)
) PARTITION BY RANGE (id);

-- Queued events.
CREATE TABLE hookmill.queue (
  company_id text COLLATE "C" NOT NULL,
  place bigint NOT NULL,
  event_id uuid NOT NULL,
  integration text COLLATE "C" NOT NULL,
  -- Events of an integration with the same lane are processed one after another; without a lane, in any order.
  lane bigint,
  -- Not claimed before this time.
  ready_at timestamptz NOT NULL DEFAULT now(),
  -- Number of claims that did not end with a result.
  attempts integer NOT NULL DEFAULT 0,
  -- Fencing token: increases with each claim. A result with an earlier token is rejected.
  token bigint NOT NULL DEFAULT 0,
  -- The node that has claimed it; the claim ends with the node's lease.
  node uuid,
  PRIMARY KEY (company_id, place)
);
-- Each event that waits is in one of these three: without a lane, with one, or claimed before without a result.
CREATE INDEX queue_free ON hookmill.queue (company_id, integration, place)
  WHERE node IS NULL AND lane IS NULL AND attempts = 0;
CREATE INDEX queue_free_lanes ON hookmill.queue (company_id, integration, place) INCLUDE (lane)
  WHERE node IS NULL AND lane IS NOT NULL AND attempts = 0;
CREATE INDEX queue_suspects ON hookmill.queue (company_id, integration, place) WHERE node IS NULL AND attempts > 0;
CREATE INDEX queue_by_lane ON hookmill.queue (company_id, integration, lane, place) WHERE lane IS NOT NULL;
CREATE UNIQUE INDEX queue_by_event ON hookmill.queue (company_id, event_id);
CREATE INDEX queue_claimed ON hookmill.queue (company_id, place) WHERE node IS NOT NULL;

-- Running servers.
CREATE TABLE hookmill.nodes (
  id uuid PRIMARY KEY,
  name text NOT NULL,
  role text NOT NULL,
  version text NOT NULL,
  schema_version integer NOT NULL,
  started_at timestamptz NOT NULL DEFAULT now(),
  -- Claims of this node are valid until then.
  leased_until timestamptz NOT NULL,
  -- Its plugins as JSON: where it loads them from; those that are live, with versions and digests; why others are refused.
  plugins text NOT NULL DEFAULT '{}'
);

-- Published versions of plugins. A row is never changed.
CREATE TABLE hookmill.plugin_bundles (
  name text COLLATE "C" NOT NULL,
  version text COLLATE "C" NOT NULL,
  -- The company in plugin.toml.
  company_id text COLLATE "C" NOT NULL,
  -- SHA-256 of the bundle, in hexadecimal.
  digest text COLLATE "C" NOT NULL,
  publisher text NOT NULL,
  published_at timestamptz NOT NULL,
  -- The files of the plugin's folder.
  bundle bytea NOT NULL,
  PRIMARY KEY (name, version)
);
ALTER TABLE hookmill.plugin_bundles ALTER COLUMN bundle SET STORAGE EXTERNAL;

-- The version of each plugin that nodes run.
CREATE TABLE hookmill.plugin_active (
  name text COLLATE "C" PRIMARY KEY,
  version text COLLATE "C" NOT NULL,
  -- The version before, for a rollback.
  previous text COLLATE "C",
  activated_at timestamptz NOT NULL,
  activated_by text NOT NULL,
  -- plugins_version of this activation.
  activation bigint NOT NULL,
  FOREIGN KEY (name, version) REFERENCES hookmill.plugin_bundles (name, version)
);

-- Who runs periodic work, such as removing expired data.
CREATE TABLE hookmill.leases (
  name text PRIMARY KEY,
  node uuid NOT NULL,
  leased_until timestamptz NOT NULL
);

-- First responses to idempotency keys (kind 0) and deliveries (kind 1).
CREATE TABLE hookmill.answers (
  company_id text COLLATE "C" NOT NULL,
  kind smallint NOT NULL,
  name bytea NOT NULL,
  fingerprint bytea NOT NULL,
  at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  refused boolean NOT NULL,
  event_id uuid,
  head bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (company_id, kind, name)
);
CREATE INDEX answers_by_expiry ON hookmill.answers (company_id, expires_at);

-- API keys of all companies; nodes hold them in memory.
CREATE TABLE hookmill.api_keys (
  company_id text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  hash bytea NOT NULL,
  document text NOT NULL,
  PRIMARY KEY (company_id, id)
);

-- Who is logged in to the console, by the SHA-256 of the session's token. A holder is a key's id, or the operator.
CREATE TABLE hookmill.console_sessions (
  token bytea PRIMARY KEY,
  holder text NOT NULL,
  is_link boolean NOT NULL,
  began_at timestamptz NOT NULL,
  seen_at timestamptz NOT NULL
);

-- Replays of many events. A company has one that runs, and the newest that have ended.
CREATE TABLE hookmill.replay_jobs (
  company_id text COLLATE "C" NOT NULL,
  id uuid NOT NULL,
  running boolean NOT NULL DEFAULT true,
  -- When its node last wrote it, about once a second. One that runs and was not written for store.lease_ms was interrupted.
  heard_at timestamptz NOT NULL DEFAULT now(),
  -- Who has asked to stop it: a key's id, or the operator.
  stop_asked_by text,
  -- State and counts as JSON.
  document text NOT NULL,
  PRIMARY KEY (company_id, id)
);
CREATE UNIQUE INDEX replay_jobs_running ON hookmill.replay_jobs (company_id) WHERE running;

-- The audit log. The company is '' where the server as a whole was concerned.
CREATE TABLE hookmill.audit (
  company_id text COLLATE "C" NOT NULL,
  id uuid NOT NULL,
  document text NOT NULL,
  PRIMARY KEY (company_id, id)
);

-- Patients whose data were erased in the last days: content that was received earlier and is stored later is erased too.
CREATE TABLE hookmill.erasures (
  company_id text COLLATE "C" NOT NULL,
  -- The patient's id as indexes of tasks have it, and in full.
  patient text COLLATE "C" NOT NULL,
  patient_id text NOT NULL,
  leading_zeros boolean NOT NULL,
  -- Content received up to this time is erased.
  at timestamptz NOT NULL,
  begun_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (company_id, patient, leading_zeros)
);

-- Up to which event each integration's content past its keep_days has been erased.
CREATE TABLE hookmill.forgotten (
  integration text COLLATE "C" PRIMARY KEY,
  up_to uuid NOT NULL
);
