-- The history has a few bits of what the keys leave out (history.Hint), and the reason in the key of the verdict.
ALTER TABLE history ADD COLUMN hint smallint;
