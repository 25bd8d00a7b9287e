-- registered is report.Policy.Owner, so that the jobs of one owner can be counted. Jobs that are older than
-- this have none.
ALTER TABLE job ADD COLUMN registered text NOT NULL DEFAULT '' COLLATE "C";
CREATE INDEX job_registered ON job (begins, registered);

-- The messages of policies for which a window had too many jobs.
CREATE TABLE excess (
    begins     bigint NOT NULL,
    ends       bigint NOT NULL,
    registered text   NOT NULL COLLATE "C",
    messages   bigint NOT NULL,
    PRIMARY KEY (begins, registered)
);

-- What report.Store.Allow counts.
CREATE TABLE quota (
    day    integer NOT NULL,
    digest uuid    NOT NULL, -- of the limit's name
    n      bigint  NOT NULL,
    PRIMARY KEY (day, digest)
);
