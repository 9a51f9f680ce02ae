-- Drift and live quality: the reference of each version, closed windows, and the alarms they raised.
ALTER TABLE core.version ADD COLUMN profile jsonb;               -- of the rows it was fitted on; null: made before

-- Windows are cut from the predictions of one version: in the order of the log, or by the time of the prediction.
CREATE INDEX prediction_by_version ON core.prediction (model, version, seq);
CREATE INDEX prediction_by_time ON core.prediction (model, version, predicted_at);

-- The predictions of a model. Those logged before it was made belong to an earlier one of its name.
CREATE VIEW core.model_prediction AS
    SELECT m.id AS model_id, p.version, p.seq, p.id, p.inputs, p.output, p.predicted_at
    FROM core.model m JOIN core.prediction p ON p.model = m.name AND p.logged_at >= m.created_at;

CREATE TABLE core.monitor_window (
    model_id  bigint NOT NULL REFERENCES core.model (id),
    detector  text NOT NULL CHECK (detector IN ('drift', 'quality')),
    window_id text NOT NULL,                                     -- a function of version and place, never of the clock
    version   integer NOT NULL,
    number    bigint NOT NULL,                                   -- 0, 1, 2 ... within version and detector
    cut       text NOT NULL CHECK (cut IN ('rows', 'time')),
    after_seq bigint NOT NULL,                                   -- rows: the predictions with after_seq < seq <= last_seq
    last_seq  bigint NOT NULL,
    began_at  timestamptz NOT NULL,                              -- time: those with began_at <= predicted_at < ended_at
    ended_at  timestamptz NOT NULL,
    rows      bigint NOT NULL,
    outcome   text NOT NULL CHECK (outcome IN ('steady', 'suspect', 'alarm', 'not_enough_data')),
    report    jsonb NOT NULL,
    closed_at timestamptz NOT NULL DEFAULT now(),
    due_at    timestamptz,                                       -- look again then, even if no label comes
    PRIMARY KEY (model_id, detector, window_id)
);
CREATE INDEX monitor_window_by_number ON core.monitor_window (model_id, detector, version, number DESC);
CREATE INDEX monitor_window_due ON core.monitor_window (model_id, due_at) WHERE due_at IS NOT NULL;

-- How far a model's feedback has been looked at; whoever holds the row is the one that watches the model.
CREATE TABLE core.monitor_mark (
    model_id      bigint PRIMARY KEY REFERENCES core.model (id),
    feedback_seq  bigint NOT NULL DEFAULT 0
);

-- One trigger for a window and a detector, whoever computes it how often.
CREATE TABLE core.alarm (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model_id   bigint NOT NULL,
    detector   text NOT NULL,
    window_id  text NOT NULL,
    reason     text NOT NULL,
    numbers    jsonb NOT NULL,
    raised_at  timestamptz NOT NULL DEFAULT now(),
    settled_at timestamptz,                                      -- answered by a request, or by the reason why not
    request_id uuid REFERENCES core.training_request (id),
    outcome    text,
    UNIQUE (model_id, window_id, detector),
    FOREIGN KEY (model_id, detector, window_id) REFERENCES core.monitor_window (model_id, detector, window_id)
);
CREATE INDEX alarm_open ON core.alarm (model_id, id) WHERE settled_at IS NULL;
CREATE INDEX alarm_by_model ON core.alarm (model_id, id DESC);

-- What the scheduler forgets is found by its age.
CREATE INDEX monitor_window_by_age ON core.monitor_window (closed_at);
CREATE INDEX alarm_settled ON core.alarm (settled_at) WHERE settled_at IS NOT NULL;
