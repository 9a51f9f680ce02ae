-- What the hold-out tells of a version (trainyard.evaluation): some tens of KB, kept out of line by TOAST and read by one
-- route only. NULL: the version was registered before there were reports.
ALTER TABLE core.version ADD COLUMN report jsonb;
