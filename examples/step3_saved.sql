-- Step 3: transactions, and savepoints of the whole database.
CREATE TABLE accounts (id int PRIMARY KEY, owner text, balance bigint NOT NULL);
CREATE MATERIALIZED VIEW wealth AS SELECT owner, sum(balance) AS total FROM accounts GROUP BY owner;
INSERT INTO accounts VALUES (1, 'ann', 100), (2, 'ann', 50), (3, 'bob', 70);

-- Inside BEGIN … COMMIT a savepoint is the ordinary one.
BEGIN;
UPDATE accounts SET balance = balance - 60 WHERE id = 1;
SAVEPOINT before_mistake;
DELETE FROM accounts;
ROLLBACK TO SAVEPOINT before_mistake;
UPDATE accounts SET balance = balance + 60 WHERE id = 3;
COMMIT;
SELECT * FROM wealth ORDER BY owner;

-- Outside it saves everything: tables, views, their states, the catalog.
SAVEPOINT monday;
UPDATE accounts SET balance = 0;
CREATE TABLE mistakes (what text);
SELECT * FROM wealth ORDER BY owner;
SHOW SAVEPOINTS;
-- Back to it, with other parallelism and another backend.
ROLLBACK TO SAVEPOINT monday CASCADE WITH (parallelism = 3, state_backend = 'filesystem');
SELECT * FROM wealth ORDER BY owner;
INSERT INTO accounts VALUES (4, 'cleo', 5);
SELECT * FROM wealth ORDER BY owner;
RELEASE SAVEPOINT monday;
DROP TABLE accounts CASCADE;
