-- The figures of the ledger (ledger.Figure). Countries are counted there, so the totals lose the column that
-- was meant for them, and that nothing has filled.

CREATE TABLE figure (
    day      integer NOT NULL,
    grp      text    NOT NULL COLLATE "C",
    kind     text    NOT NULL COLLATE "C",
    word     text    NOT NULL COLLATE "C",
    result   text    NOT NULL COLLATE "C",
    messages bigint  NOT NULL,
    PRIMARY KEY (day, grp, kind, word, result)
) WITH (fillfactor = 60);

ALTER TABLE total DROP COLUMN country; -- the primary key goes with it
ALTER TABLE total ADD PRIMARY KEY (day, grp, spf, dkim, policy, dmarc, applied, override);
