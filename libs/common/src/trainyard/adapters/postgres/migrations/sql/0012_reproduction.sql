-- Versions that are fitted again, and where runs were. A reproduction is a request with the number of the version; it
-- takes no rows of its own, so its upto_seq is 0: no policy counts it, and a trainer of the release before, which does
-- not know it, finds nothing to learn from. At most one of a model is open at a time (index request_open).
ALTER TABLE core.training_request
    ADD COLUMN reproduces integer;           -- the version to fit again; null: an ordinary training
ALTER TABLE core.run
    ADD COLUMN environment jsonb,            -- {python, cpu, packages}: what bytes depend on besides rows and lineage
    ADD COLUMN reproduction jsonb;           -- {version, identical, sha256, original_sha256, differences, words}
