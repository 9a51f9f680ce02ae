-- A version that was imported has no training request and no run.
ALTER TABLE core.version ALTER COLUMN request_id DROP NOT NULL;
ALTER TABLE core.version ALTER COLUMN run_id DROP NOT NULL;
ALTER TABLE core.version ALTER COLUMN fence DROP NOT NULL;
