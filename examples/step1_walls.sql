-- Step 1: tables, and views that are always up to date.
-- Start a server with: make run
-- then run:            psql -h 127.0.0.1 -p 4577 -U streamdb -f examples/step1_walls.sql
CREATE TABLE orders (id bigint PRIMARY KEY, customer text, amount bigint, paid boolean);
CREATE TABLE customers (name text PRIMARY KEY, city text);
CREATE MATERIALIZED VIEW per_customer AS
  SELECT customer, count(*) AS n, sum(amount) AS total, max(amount) FILTER (WHERE paid) AS largest_paid
  FROM orders GROUP BY customer HAVING count(*) > 0;
CREATE MATERIALIZED VIEW per_city WITH (parallelism = 3) AS
  SELECT c.city, count(*) AS orders, sum(o.amount) AS total
  FROM orders o JOIN customers c ON o.customer = c.name GROUP BY c.city;
CREATE MATERIALIZED VIEW cities AS SELECT DISTINCT city FROM per_city WHERE total > 50;

INSERT INTO customers VALUES ('ann', 'Oslo'), ('bob', 'Rome'), ('cleo', 'Oslo');
INSERT INTO orders VALUES (1, 'ann', 40, true), (2, 'bob', 15, false), (3, 'ann', 30, false), (4, 'cleo', 5, true);
SELECT * FROM per_customer ORDER BY customer;
SELECT * FROM per_city ORDER BY city;
SELECT * FROM cities ORDER BY city;

-- A change below moves every view above it; the next read sees it.
UPDATE orders SET amount = 100, paid = true WHERE id = 2;
DELETE FROM orders WHERE id = 1;
SELECT * FROM per_customer ORDER BY customer;
SELECT * FROM per_city ORDER BY city;
SELECT * FROM cities ORDER BY city;
EXPLAIN SELECT customer, sum(amount) FROM orders GROUP BY customer;
SHOW TABLES;
SHOW MATERIALIZED VIEWS;
DROP TABLE customers, orders CASCADE;
