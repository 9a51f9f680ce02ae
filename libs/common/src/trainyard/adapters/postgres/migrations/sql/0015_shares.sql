-- What a shadow version would have answered to predictions, once for each of them and shadow. A comparison may come
-- before its prediction is logged, so nothing refers to core.prediction.
CREATE TABLE core.shadow (
    seq            bigint GENERATED ALWAYS AS IDENTITY,
    prediction_id  text NOT NULL,
    model          text NOT NULL,
    version        integer NOT NULL,          -- that answered
    shadow_version integer NOT NULL,
    difference     double precision NOT NULL, -- the shadow's less the answered (docs/prediction-log.md)
    changed        boolean NOT NULL,          -- the shadow would have answered another class
    scored_at      timestamptz NOT NULL,
    logged_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (prediction_id, shadow_version)
);
CREATE INDEX shadow_by_model ON core.shadow (model, seq);
CREATE INDEX shadow_by_seq ON core.shadow (seq);
GRANT SELECT, INSERT ON TABLE core.shadow TO trainyard_ingest;

-- A challenger answers its weight's share of the requests from now on: those that only pointed at a version get none.
UPDATE core.alias SET weight = 0 WHERE name = 'challenger';
