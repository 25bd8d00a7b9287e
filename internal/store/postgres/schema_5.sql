-- The packed records of decisions, and the rows by which they are found (package history). Each UTC day has
-- a partition of both: history_block_d20785 with the primary key (id), and history_d20785 with an index
-- for each column of keys. Texts of senders are only in the packed records.
CREATE SEQUENCE history_block_id AS integer CYCLE;

CREATE TABLE history_block (
    day  integer NOT NULL,
    id   integer NOT NULL, -- of the sequence, unique in the day
    host text    NOT NULL,
    data bytea   NOT NULL
) PARTITION BY LIST (day);
ALTER TABLE history_block ALTER data SET STORAGE EXTERNAL; -- it is compressed

CREATE TABLE history (
    day     integer  NOT NULL,
    at      integer  NOT NULL, -- milliseconds of the day
    block   integer  NOT NULL,
    id      integer  NOT NULL, -- the keys; 0 means none
    queue   integer  NOT NULL,
    author  integer  NOT NULL,
    sender  integer  NOT NULL,
    client  integer  NOT NULL,
    place   smallint NOT NULL, -- of the record in its block
    verdict text     NOT NULL,
    reason  text     NOT NULL
) PARTITION BY LIST (day);

-- The heartbeats of the daemons, and leases (package farm).
CREATE TABLE host (
    instance uuid PRIMARY KEY, -- a digest
    at       timestamptz NOT NULL,
    beat     text        NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE lease (
    name  text PRIMARY KEY,
    owner text        NOT NULL,
    until timestamptz NOT NULL
);
