-- Rows once more, packed as columns (trainyard.snapshot says how): what a training reads again. A cache: it is written by
-- readers, checked by its SHA-256 at each use, and may vanish at any time, as after a crash (UNLOGGED).

CREATE UNLOGGED TABLE core.block (
    dataset_id bigint NOT NULL,
    first_seq  bigint NOT NULL,             -- 1, 65537, ...: the block holds 65,536 numbers from here on
    last_seq   bigint NOT NULL,             -- it is complete up to here
    revision   integer NOT NULL,            -- of the dataset when it was written; of no use under another one
    rows       integer NOT NULL,
    sha256     bytea NOT NULL,              -- of packed
    units      bytea,                       -- unit hash of each row, uint64, little-endian
    packed     bytea NOT NULL,
    PRIMARY KEY (dataset_id, first_seq)
);
ALTER TABLE core.block ALTER COLUMN packed SET STORAGE EXTERNAL, ALTER COLUMN units SET STORAGE EXTERNAL,
    ALTER COLUMN sha256 SET STORAGE PLAIN;

-- How often blocks of a dataset were forgotten because rows went: a reader that began before must not write any.
CREATE TABLE core.block_epoch (
    dataset_id bigint PRIMARY KEY,
    epoch      bigint NOT NULL
);

-- The object with the rows that the version was made from, where its policy kept them.
ALTER TABLE core.version ADD COLUMN extract_key text;
