-- The domains whose mail came from a network are found by it. The owner is in the index, so that the table
-- need not be read.
CREATE INDEX source_network ON source (network, owner, last);
