-- Step 4: real flights from a file, joined with airports, into a view and a
-- file. Start the server where examples/data is (the project's folder).
CREATE SOURCE flights (date text, delay int, distance int, origin text, destination text)
  WITH (connector = 'file', path = 'examples/data/flights.jsonl', format = 'json');
CREATE SOURCE airports (iata text, name text, city text, state text, country text, latitude float8, longitude float8)
  WITH (connector = 'file', path = 'examples/data/airports.csv', format = 'csv', header = true);
CREATE MATERIALIZED VIEW delays AS
  SELECT a.state, count(*) AS flights, sum(f.delay) AS minutes, max(f.delay) AS worst
  FROM flights f JOIN airports a ON f.origin = a.iata GROUP BY a.state;
CREATE MATERIALIZED VIEW late_states AS SELECT state, worst FROM delays WHERE worst > 300;
CREATE SINK devnull AS SELECT origin, delay FROM flights WHERE delay > 60 WITH (connector = 'blackhole');
CHECKPOINT;
SELECT state, worst FROM late_states ORDER BY worst DESC, state LIMIT 3;
-- Lines that could not be read are here, with their error and place.
SELECT count(*) FROM streamdb.rejected;
-- Rows on which an expression failed.
SELECT count(*) FROM streamdb.errors;
DROP SOURCE flights, airports CASCADE;
