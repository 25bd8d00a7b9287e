-- The ledger: what is remembered of authors (package ledger). Each UTC day has a partition of ledger and
-- one of author: ledger_d20785 with the primary key (domain, grp), and author_d20785 with (domain).

CREATE TABLE ledger (
    day         integer NOT NULL,
    domain      text    NOT NULL COLLATE "C",
    grp         text    NOT NULL COLLATE "C",
    messages    bigint  NOT NULL,
    pass        bigint  NOT NULL,
    pass_dkim   bigint  NOT NULL,
    pass_spf    bigint  NOT NULL,
    fail        bigint  NOT NULL,
    temperror   bigint  NOT NULL,
    signed      bigint  NOT NULL,
    rejected    bigint  NOT NULL,
    quarantined bigint  NOT NULL,
    indirect    bigint  NOT NULL,
    harsher     bigint  NOT NULL,
    milder      bigint  NOT NULL,
    policy      text    NOT NULL,
    first       bigint  NOT NULL,
    last        bigint  NOT NULL,
    example     text    NOT NULL,
    rest        bytea   NOT NULL -- ledger.Row.AppendRest
) PARTITION BY LIST (day);

CREATE TABLE author (
    day    integer NOT NULL,
    domain text    NOT NULL COLLATE "C",
    owner  text    NOT NULL COLLATE "C",
    pass   bigint  NOT NULL,
    signed bigint  NOT NULL,
    paired bigint  NOT NULL -- ledger.Author.Both
) PARTITION BY LIST (day);

-- How many rows a day has in ledger, and how many messages are not there.
CREATE TABLE ledger_day (
    day     integer NOT NULL,
    grp     text    NOT NULL COLLATE "C",
    domains bigint  NOT NULL,
    dropped bigint  NOT NULL,
    PRIMARY KEY (day, grp)
) WITH (fillfactor = 60);

CREATE TABLE source (
    domain  text    NOT NULL COLLATE "C",
    network bytea   NOT NULL, -- ledger.NetworkText
    owner   text    NOT NULL COLLATE "C",
    last    integer NOT NULL,
    days    bigint  NOT NULL, -- ledger.DaySet
    PRIMARY KEY (domain, network)
) WITH (fillfactor = 80);
CREATE INDEX source_owner ON source (owner);
CREATE INDEX source_last ON source (last);

CREATE TABLE total (
    day      integer NOT NULL,
    grp      text    NOT NULL COLLATE "C",
    spf      text    NOT NULL COLLATE "C",
    dkim     text    NOT NULL COLLATE "C",
    policy   text    NOT NULL COLLATE "C",
    dmarc    text    NOT NULL COLLATE "C",
    applied  text    NOT NULL COLLATE "C",
    override text    NOT NULL COLLATE "C",
    country  text    NOT NULL COLLATE "C",
    messages bigint  NOT NULL,
    PRIMARY KEY (day, grp, spf, dkim, policy, dmarc, applied, override, country)
) WITH (fillfactor = 60);

CREATE TABLE author_sketch (
    day       integer NOT NULL,
    policy    text    NOT NULL COLLATE "C",
    registers bytea   NOT NULL,
    PRIMARY KEY (day, policy)
) WITH (fillfactor = 40);

CREATE TABLE breakage (
    digest   uuid PRIMARY KEY, -- of domain, kind and subject
    domain   text NOT NULL COLLATE "C",
    kind     text NOT NULL COLLATE "C",
    subject  text NOT NULL COLLATE "C",
    first    timestamptz,
    last     timestamptz,
    ended    timestamptz,
    evidence text NOT NULL,
    example  text NOT NULL
);
