-- Step 2: what is acknowledged stays, and queries go on where they were.
CREATE SOURCE bid WITH (connector = 'nexmark', type = 'bid', rate = 0, events = 50000, seed = 1);
CREATE MATERIALIZED VIEW per_channel WITH (state_backend = 'pebble') AS
  SELECT channel, count(*) AS n, max(price) AS highest FROM bid GROUP BY channel;
CREATE TABLE watched (channel text PRIMARY KEY, reason text);
INSERT INTO watched VALUES ('Apple', 'a customer asked'), ('Google', 'a second one');
CREATE MATERIALIZED VIEW watched_bids WITH (parallelism = 2) AS
  SELECT w.channel, w.reason, p.n FROM watched w JOIN per_channel p ON w.channel = p.channel;
CHECKPOINT;
-- The checkpoint holds the state of every job; a restart reads nothing that
-- stands before it again.
SHOW CHECKPOINTS;
SHOW JOBS;
SHOW SOURCES;
CHECKPOINT;
SELECT channel, reason FROM watched_bids ORDER BY channel;
-- A job can stand still, and go on with what it missed.
ALTER MATERIALIZED VIEW watched_bids SUSPEND;
DELETE FROM watched WHERE channel = 'Google';
ALTER MATERIALIZED VIEW watched_bids RESUME;
ALTER MATERIALIZED VIEW watched_bids SET (parallelism = 3, state_backend = 'filesystem');
SELECT channel, reason FROM watched_bids ORDER BY channel;
DROP TABLE watched CASCADE;
DROP SOURCE bid CASCADE;
