-- A search that several workers share. The run of the lease's holder says for how many others there is room, until when,
-- and what they have to agree on; each of them has a seat while it keeps saying that it is there.
ALTER TABLE core.run
    ADD COLUMN invites      integer NOT NULL DEFAULT 0,   -- further workers that its search has room for; 0: none (now)
    ADD COLUMN search_until timestamptz,                  -- when the budget of the search ends
    ADD COLUMN invitation   jsonb;                        -- {"release", "snapshot", "screening"}
CREATE TABLE core.search_seat (
    id           uuid PRIMARY KEY,
    run_id       uuid NOT NULL REFERENCES core.run (id) ON DELETE CASCADE,
    worker       text NOT NULL,
    instance_id  text,
    seated_until timestamptz NOT NULL
);
CREATE INDEX search_seat_run ON core.search_seat (run_id);
CREATE INDEX run_inviting ON core.run (request_id) WHERE invites > 0 AND state = 'running';
ALTER TABLE core.trial ADD COLUMN worker text;            -- who made it; NULL: a release before wrote it

-- What a search goes on from goes with its request, however that ends, and cannot come after its end: a study is made
-- under a lock that the end of its request waits for, or refused.
CREATE OR REPLACE FUNCTION core.end_study() RETURNS trigger
LANGUAGE plpgsql AS $function$
BEGIN
    DELETE FROM optuna.studies WHERE study_name LIKE OLD.id::text || '/%';
    DELETE FROM core.search_seat s USING core.run u WHERE u.id = s.run_id AND u.request_id = OLD.id;
    RETURN NULL;
END
$function$;
CREATE TRIGGER study_vanished AFTER DELETE ON core.training_request
    FOR EACH ROW EXECUTE FUNCTION core.end_study();
CREATE FUNCTION core.study_of_open_request() RETURNS trigger
LANGUAGE plpgsql AS $function$
BEGIN
    IF NEW.study_name ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/' THEN
        PERFORM FROM core.training_request
            WHERE id = CAST(split_part(NEW.study_name, '/', 1) AS uuid) AND state IN ('queued', 'running') FOR SHARE;
        IF FOUND THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'no open request has the study %', NEW.study_name USING ERRCODE = 'TY001';
END
$function$;
CREATE TRIGGER study_of_open_request BEFORE INSERT ON optuna.studies
    FOR EACH ROW EXECUTE FUNCTION core.study_of_open_request();
