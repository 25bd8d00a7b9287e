-- A text that is not valid UTF-8 is stored with escapes, see text.go.

CREATE TABLE meta (
    name  text PRIMARY KEY,
    value text NOT NULL
);

CREATE TABLE batch (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL
);
CREATE INDEX batch_at ON batch (at);

-- The policy of a job stands in its row. A table of its own would be one more that every batch locks,
-- and its rows would have to be expired.
CREATE TABLE job (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    begins      bigint      NOT NULL,
    ends        bigint      NOT NULL,
    policy      uuid        NOT NULL, -- report.PolicyID, also of the domain
    domain      text        NOT NULL COLLATE "C",
    p           text        NOT NULL,
    sp          text        NOT NULL,
    np          text        NOT NULL,
    adkim       text        NOT NULL,
    aspf        text        NOT NULL,
    fo          text        NOT NULL,
    testing     boolean     NOT NULL,
    method      text        NOT NULL,
    invalid     text        NOT NULL,
    state       text        NOT NULL DEFAULT 'open',
    send_at     timestamptz NOT NULL,
    owner       text        NOT NULL DEFAULT '',
    lease       bigint      NOT NULL DEFAULT 0,
    lease_until timestamptz,
    tries       integer     NOT NULL DEFAULT 0,
    report_id   text        NOT NULL DEFAULT '',
    outcome     text        NOT NULL DEFAULT '',
    reason      text        NOT NULL DEFAULT '',
    UNIQUE (begins, policy)
) WITH (fillfactor = 80);
CREATE INDEX job_domain ON job USING hash (domain); -- a btree index cannot hold a long text
CREATE INDEX job_open ON job (ends) WHERE state = 'open';
CREATE INDEX job_due ON job (send_at, id) WHERE state IN ('due', 'claimed');
CREATE INDEX job_done ON job (lease_until) WHERE state = 'done';

-- Batches lock their jobs FOR SHARE. So what every batch changes cannot be in the table job: two batches
-- that hold the same lock would wait for each other.
CREATE TABLE counts (
    job      bigint PRIMARY KEY REFERENCES job ON DELETE CASCADE,
    rows     bigint NOT NULL,
    messages bigint NOT NULL,
    causes   bigint NOT NULL,
    spam     bigint NOT NULL,
    late     bigint NOT NULL,
    lost     bigint NOT NULL,
    merged   bigint NOT NULL
) WITH (fillfactor = 60);

-- What a row says, written once, and its count, which many batches change. Each UTC day of windows has
-- a partition of both: detail_d20785 and tally_d20785, each with the primary key (job, key).
CREATE TABLE detail (
    day integer NOT NULL,
    job bigint  NOT NULL,
    key uuid    NOT NULL,
    row bytea   NOT NULL -- report.Row.Append
) PARTITION BY LIST (day);

CREATE TABLE tally (
    day integer NOT NULL,
    job bigint  NOT NULL,
    key uuid    NOT NULL,
    n   bigint  NOT NULL
) PARTITION BY LIST (day);

CREATE TABLE delivery (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job      bigint  NOT NULL REFERENCES job ON DELETE CASCADE,
    digest   uuid    NOT NULL, -- of the address, which may be too long for an index
    address  text    NOT NULL,
    word     text    NOT NULL,
    detail   text    NOT NULL,
    tries    integer NOT NULL,
    next_try timestamptz,
    reply    text    NOT NULL,
    at       timestamptz,
    bounced  boolean NOT NULL,
    UNIQUE (job, digest)
);

CREATE TABLE suppression (
    digest  uuid PRIMARY KEY, -- of the target
    target  text        NOT NULL COLLATE "C",
    since   timestamptz,
    until   timestamptz,
    strikes integer     NOT NULL,
    reason  text        NOT NULL,
    by      text        NOT NULL,
    begins  bigint      NOT NULL,
    sent    timestamptz
);

CREATE TABLE seen (
    domain text    NOT NULL COLLATE "C",
    day    integer NOT NULL,
    kind   text    NOT NULL,
    PRIMARY KEY (domain, day, kind)
);
CREATE INDEX seen_day ON seen (day);
