-- Estimators are named by their kind, as in the model format: 'families' are 'kinds', 'trees' is 'tree_ensemble' and
-- 'neural' 'neural_network'. What is stored keeps the old names, which the release before writes and must be able to
-- read: they are translated on the way in and out. A budget of trials that nobody has asked for is not stored either.
CREATE FUNCTION core.with_kinds(given jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $function$
    SELECT CASE WHEN given ? 'families' THEN (given - 'families') || jsonb_build_object('kinds', (
        SELECT jsonb_agg(CASE name WHEN 'trees' THEN 'tree_ensemble' WHEN 'neural' THEN 'neural_network' ELSE name END
                         ORDER BY place)
        FROM jsonb_array_elements_text(given -> 'families') WITH ORDINALITY AS named (name, place)))
    ELSE given END
$function$;
CREATE FUNCTION core.with_families(given jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $function$
    SELECT CASE WHEN given ? 'kinds' THEN (given - 'kinds') || jsonb_build_object('families', (
        SELECT jsonb_agg(CASE name WHEN 'tree_ensemble' THEN 'trees' WHEN 'neural_network' THEN 'neural' ELSE name END
                         ORDER BY place)
        FROM jsonb_array_elements_text(given -> 'kinds') WITH ORDINALITY AS named (name, place)))
    ELSE given END - CASE WHEN given -> 'budget_trials' = 'null' THEN 'budget_trials' ELSE '' END
$function$;
CREATE FUNCTION core.kind_of(family text) RETURNS text
LANGUAGE sql IMMUTABLE AS $function$
    SELECT CASE family WHEN 'trees' THEN 'tree_ensemble' WHEN 'neural' THEN 'neural_network' ELSE family END
$function$;
ALTER TABLE core.trial ADD COLUMN pruned boolean NOT NULL DEFAULT false;   -- given up after the first cut

-- The tables of Optuna's relational storage, as it makes them itself (schema 12, its revision v3.2.0.a), but that what
-- belongs to a study goes with it. A test compares them with what the library's own models say.
CREATE TYPE optuna.studydirection AS ENUM ('NOT_SET', 'MINIMIZE', 'MAXIMIZE');
CREATE TYPE optuna.trialstate AS ENUM ('RUNNING', 'COMPLETE', 'PRUNED', 'FAIL', 'WAITING');
CREATE TYPE optuna.trialvaluetype AS ENUM ('FINITE', 'INF_POS', 'INF_NEG');
CREATE TYPE optuna.trialintermediatevaluetype AS ENUM ('FINITE', 'INF_POS', 'INF_NEG', 'NAN');
CREATE TABLE optuna.alembic_version (
    version_num varchar(32) CONSTRAINT alembic_version_pkc PRIMARY KEY
);
INSERT INTO optuna.alembic_version VALUES ('v3.2.0.a');
CREATE TABLE optuna.version_info (
    version_info_id integer PRIMARY KEY CHECK (version_info_id = 1),
    schema_version  integer,
    library_version varchar(256)
);
INSERT INTO optuna.version_info VALUES (1, 12, '5.0.0');
CREATE TABLE optuna.studies (
    study_id   serial PRIMARY KEY,
    study_name varchar(512) NOT NULL        -- as trainyard.contracts.studies has it, the request first
);
CREATE UNIQUE INDEX ix_studies_study_name ON optuna.studies (study_name);
CREATE TABLE optuna.study_directions (
    study_direction_id serial PRIMARY KEY,
    direction          optuna.studydirection NOT NULL,
    study_id           integer NOT NULL REFERENCES optuna.studies (study_id) ON DELETE CASCADE,
    objective          integer NOT NULL,
    UNIQUE (study_id, objective)
);
CREATE TABLE optuna.study_user_attributes (
    study_user_attribute_id serial PRIMARY KEY,
    study_id                integer REFERENCES optuna.studies (study_id) ON DELETE CASCADE,
    key                     varchar(512),
    value_json              text,
    UNIQUE (study_id, key)
);
CREATE TABLE optuna.study_system_attributes (
    study_system_attribute_id serial PRIMARY KEY,
    study_id                  integer REFERENCES optuna.studies (study_id) ON DELETE CASCADE,
    key                       varchar(512),
    value_json                text,
    UNIQUE (study_id, key)
);
CREATE TABLE optuna.trials (
    trial_id          serial PRIMARY KEY,
    number            integer,
    study_id          integer REFERENCES optuna.studies (study_id) ON DELETE CASCADE,
    state             optuna.trialstate NOT NULL,
    datetime_start    timestamp,
    datetime_complete timestamp
);
CREATE INDEX ix_trials_study_id ON optuna.trials (study_id);
CREATE TABLE optuna.trial_user_attributes (
    trial_user_attribute_id serial PRIMARY KEY,
    trial_id                integer REFERENCES optuna.trials (trial_id) ON DELETE CASCADE,
    key                     varchar(512),
    value_json              text,
    UNIQUE (trial_id, key)
);
CREATE TABLE optuna.trial_system_attributes (
    trial_system_attribute_id serial PRIMARY KEY,
    trial_id                  integer REFERENCES optuna.trials (trial_id) ON DELETE CASCADE,
    key                       varchar(512),
    value_json                text,
    UNIQUE (trial_id, key)
);
CREATE TABLE optuna.trial_params (
    param_id          serial PRIMARY KEY,
    trial_id          integer REFERENCES optuna.trials (trial_id) ON DELETE CASCADE,
    param_name        varchar(512),
    param_value       double precision,
    distribution_json text,
    UNIQUE (trial_id, param_name)
);
CREATE TABLE optuna.trial_values (
    trial_value_id serial PRIMARY KEY,
    trial_id       integer NOT NULL REFERENCES optuna.trials (trial_id) ON DELETE CASCADE,
    objective      integer NOT NULL,
    value          double precision,
    value_type     optuna.trialvaluetype NOT NULL,
    UNIQUE (trial_id, objective)
);
CREATE TABLE optuna.trial_intermediate_values (
    trial_intermediate_value_id serial PRIMARY KEY,
    trial_id                    integer NOT NULL REFERENCES optuna.trials (trial_id) ON DELETE CASCADE,
    step                        integer NOT NULL,
    intermediate_value          double precision,
    intermediate_value_type     optuna.trialintermediatevaluetype NOT NULL,
    UNIQUE (trial_id, step)
);
CREATE TABLE optuna.trial_heartbeats (
    trial_heartbeat_id serial PRIMARY KEY,
    trial_id           integer NOT NULL UNIQUE REFERENCES optuna.trials (trial_id) ON DELETE CASCADE,
    heartbeat          timestamp NOT NULL
);

-- A study is what a search goes on from: it goes when its request ends, whoever ends it. What it came to are the
-- trials of the run (core.trial).
CREATE FUNCTION core.end_study() RETURNS trigger
LANGUAGE plpgsql AS $function$
BEGIN
    DELETE FROM optuna.studies WHERE study_name LIKE NEW.id::text || '/%';
    RETURN NULL;
END
$function$;
CREATE TRIGGER study_ended AFTER UPDATE OF state ON core.training_request
    FOR EACH ROW WHEN (NEW.state NOT IN ('queued', 'running')) EXECUTE FUNCTION core.end_study();
