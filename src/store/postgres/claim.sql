-- Claims queued events for pairs of a company and an integration, each with a limit. Everything is read from ranges of indexes
-- that begin at the place below which nothing waits, so its cost depends on what it claims and not on what is queued.
--
-- $1 that place, $2 this node, $3 and $4 the pairs, $5 their limits, $6 how many events to claim that were interrupted once
-- before, and $10 how many of each pair, $11 whether to claim one that was interrupted more often, $7 to $9 the lanes to look at,
-- apart from those of the events that have waited longest.
--
-- The order within a lane: an event is claimed only if each one before it is held by this node, or locked by this statement and
-- claimed with it. What another node claims, frees or settles at the same moment is either locked (and skipped), or was changed
-- since this statement's snapshot (and its newest state is checked when it is locked). In both cases it is not locked here, and
-- what is behind it is not claimed. Events that come later have higher places, and what this node holds only this node gives
-- back, which it does not do during a claim.
WITH RECURSIVE pairs AS MATERIALIZED (
  SELECT p.* FROM unnest($3::text[], $4::text[], $5::int8[], $10::int8[]) AS p (company_id, integration, most, again) CROSS JOIN LATERAL (
    SELECT 1 FROM hookmill.queue q WHERE q.company_id = p.company_id AND q.place >= $1 LIMIT 1
  ) queued
), loose AS MATERIALIZED (
  -- Events without a lane.
  SELECT q.company_id, q.integration, q.place, p.most FROM pairs p CROSS JOIN LATERAL (
    SELECT q.company_id, q.integration, q.place FROM hookmill.queue q
    WHERE q.company_id = p.company_id AND q.integration = p.integration AND q.place >= $1
    AND q.node IS NULL AND q.lane IS NULL AND q.attempts = 0 AND q.ready_at <= now()
    ORDER BY q.place LIMIT p.most FOR UPDATE SKIP LOCKED
  ) q
), lanes AS MATERIALIZED (
  -- Lanes of the events that have waited longest, and lanes in their own order, from two beginnings: however many events the
  -- first ones have, the others get their turn.
  SELECT p.company_id, p.integration, p.most, l.lane FROM pairs p CROSS JOIN LATERAL (
    SELECT f.lane FROM (
      SELECT q.lane FROM hookmill.queue q
      WHERE q.company_id = p.company_id AND q.integration = p.integration AND q.place >= $1
      AND q.node IS NULL AND q.lane IS NOT NULL AND q.attempts = 0 ORDER BY q.place LIMIT 128
    ) f
    UNION
    SELECT w.lane FROM (VALUES ($7::int8, $8::int8), ('-9223372036854775808'::int8, $9::int8)) AS r (low, high)
    CROSS JOIN LATERAL (
      WITH RECURSIVE walk (lane, n) AS (
        (SELECT q.lane, 1 FROM hookmill.queue q WHERE q.company_id = p.company_id AND q.integration = p.integration
         AND q.lane >= r.low AND q.lane <= r.high AND q.place >= $1 ORDER BY q.lane, q.place LIMIT 1)
        UNION ALL
        SELECT (SELECT q.lane FROM hookmill.queue q WHERE q.company_id = p.company_id AND q.integration = p.integration
         AND q.lane > walk.lane AND q.lane <= r.high AND q.place >= $1 ORDER BY q.lane, q.place LIMIT 1), walk.n + 1
        FROM walk WHERE walk.lane IS NOT NULL AND walk.n < least(64, p.most)
      ) SELECT walk.lane FROM walk WHERE walk.lane IS NOT NULL
    ) w
  ) l
), heads AS (
  -- The next events of each lane. At most the first 16 are held, so no lane takes all the room. Those behind an event that was
  -- claimed before, or is to be repeated later, wait for it.
  SELECT l.company_id, l.integration, l.most, l.lane, h.place, h.turn, h.is_free,
    row_number() OVER (PARTITION BY l.company_id, l.integration ORDER BY h.turn, h.place) AS rank
  FROM lanes l CROSS JOIN LATERAL (
    SELECT f.place, f.is_free, row_number() OVER (ORDER BY f.place) AS turn,
      bool_and(f.is_held OR f.is_free) OVER (ORDER BY f.place) AS is_next
    FROM (
      SELECT q.place, q.node IS NOT DISTINCT FROM $2 AND q.attempts = 1 AS is_held,
        q.node IS NULL AND q.attempts = 0 AND q.ready_at <= now() AS is_free
      FROM hookmill.queue q WHERE q.company_id = l.company_id AND q.integration = l.integration AND q.lane = l.lane
      AND q.place >= $1 ORDER BY q.place LIMIT 16
    ) f
  ) h WHERE h.is_next AND h.is_free
), laned AS (
  -- One that is locked by somebody else, or was changed, keeps those behind it waiting.
  SELECT w.company_id, w.integration, w.place, w.most, w.turn,
    bool_and(w.is_locked) OVER (PARTITION BY w.company_id, w.integration, w.lane ORDER BY w.place) AS is_next
  FROM (
    SELECT h.*, q.place IS NOT NULL AS is_locked FROM (SELECT * FROM heads WHERE rank <= most) h LEFT JOIN LATERAL (
      SELECT q.place FROM hookmill.queue q WHERE q.company_id = h.company_id AND q.place = h.place
      AND q.node IS NULL AND q.attempts = 0 FOR UPDATE SKIP LOCKED
    ) q ON true
  ) w
), suspects AS MATERIALIZED (
  -- Events that were claimed before without a result. Of a lane, only the first.
  SELECT s.*, row_number() OVER (PARTITION BY s.company_id, s.integration, s.attempts = 1 ORDER BY s.place) AS rank
  FROM pairs p CROSS JOIN LATERAL (
    SELECT q.company_id, q.integration, q.place, q.attempts, p.again FROM (
      SELECT q.* FROM hookmill.queue q
      WHERE ($6::int8 > 0 OR $11) AND q.company_id = p.company_id AND q.integration = p.integration AND q.place >= $1
      AND q.node IS NULL AND q.attempts > 0 ORDER BY q.place LIMIT 256
    ) q WHERE q.ready_at <= now() AND (q.lane IS NULL OR NOT EXISTS (
      SELECT 1 FROM hookmill.queue b WHERE b.company_id = q.company_id AND b.integration = q.integration AND b.lane = q.lane
      AND b.place >= $1 AND b.place < q.place))
    LIMIT 64
  ) s
), suspect AS MATERIALIZED (
  -- Some of those that were interrupted once, and one of those that were interrupted more often: if an event makes nodes crash,
  -- it is found by itself.
  SELECT s.company_id, s.place FROM (
    (SELECT * FROM suspects WHERE attempts = 1 AND rank <= again ORDER BY rank, place LIMIT $6)
    UNION ALL
    (SELECT * FROM suspects WHERE attempts > 1 AND $11 ORDER BY place LIMIT 1)
  ) s CROSS JOIN LATERAL (
    SELECT 1 FROM hookmill.queue q WHERE q.company_id = s.company_id AND q.place = s.place
    AND q.node IS NULL AND q.attempts = s.attempts FOR UPDATE SKIP LOCKED
  ) q
), free AS MATERIALIZED (
  -- First the first events of each lane, then the second ones, and so on.
  SELECT f.company_id, f.place FROM (
    SELECT a.*, row_number() OVER (PARTITION BY a.company_id, a.integration ORDER BY a.turn, a.place) AS rank FROM (
      SELECT l.company_id, l.integration, l.place, l.most,
        1 + row_number() OVER (PARTITION BY l.company_id, l.integration ORDER BY l.place) / 16 AS turn FROM loose l
      UNION ALL
      SELECT l.company_id, l.integration, l.place, l.most, l.turn FROM laned l WHERE l.is_next
    ) a
  ) f WHERE f.rank <= f.most
  UNION ALL
  SELECT s.company_id, s.place FROM suspect s
) UPDATE hookmill.queue q SET node = $2, token = q.token + 1, attempts = q.attempts + 1
FROM free WHERE q.company_id = free.company_id AND q.place = free.place
AND EXISTS (SELECT 1 FROM hookmill.nodes n WHERE n.id = $2 AND n.leased_until > clock_timestamp())
RETURNING q.company_id, q.event_id, q.token, q.integration, q.lane, q.attempts, q.place
