-- The marks of BIMI. What a mark looks like is not the store's affair.
CREATE TABLE mark (
    key   bytea PRIMARY KEY,
    until timestamptz NOT NULL,
    mark  bytea       NOT NULL
);
CREATE INDEX mark_until ON mark (until);
