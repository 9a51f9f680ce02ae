-- What a run has said: its trainer, and the process that trains.
CREATE TABLE core.run_line (
    run_id uuid NOT NULL REFERENCES core.run (id) ON DELETE CASCADE,
    number integer NOT NULL,                  -- 1, 2, 3 ... in the order they were written
    at     timestamptz NOT NULL,              -- by the trainer's clock
    level  text NOT NULL CHECK (level IN ('debug', 'info', 'warning', 'error')),
    source text NOT NULL CHECK (source IN ('trainer', 'training')),
    text   text NOT NULL,
    PRIMARY KEY (run_id, number)
);
CREATE INDEX run_line_by_time ON core.run_line (at);   -- they are forgotten by their age

-- How many predictions each version has answered in an hour, and how quickly: counted as they are logged, for nobody
-- can count millions of them while a page waits. Predictions that were logged before this revision are not in it.
CREATE TABLE core.traffic (
    model       text NOT NULL,
    hour        timestamptz NOT NULL,         -- of predicted_at, when it began
    version     integer NOT NULL,
    latency     smallint NOT NULL,            -- they took at most 1.1 ^ latency microseconds; -1: nobody knows
    predictions bigint NOT NULL,
    PRIMARY KEY (model, hour, version, latency)
);
CREATE INDEX traffic_by_hour ON core.traffic (hour);   -- it is forgotten with its predictions
GRANT SELECT, INSERT, UPDATE ON core.traffic TO trainyard_ingest;

-- The newest runs of one model, however many others there are. Whoever makes a run names its request only.
ALTER TABLE core.run ADD COLUMN model_id bigint;
UPDATE core.run u SET model_id = r.model_id FROM core.training_request r WHERE r.id = u.request_id;
CREATE FUNCTION core.run_of_model() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$function$
BEGIN
    NEW.model_id := (SELECT model_id FROM core.training_request WHERE id = NEW.request_id);
    RETURN NEW;
END
$function$;
REVOKE ALL ON FUNCTION core.run_of_model() FROM PUBLIC;
CREATE TRIGGER run_of_model BEFORE INSERT ON core.run FOR EACH ROW EXECUTE FUNCTION core.run_of_model();
CREATE INDEX run_by_model ON core.run (model_id, started_at DESC, id DESC);
-- What came of a run.
CREATE INDEX version_by_run ON core.version (run_id);
