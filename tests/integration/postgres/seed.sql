-- A small stack as the first release wrote it: what stands here is valid at every revision, and must stay so until one
-- contracts it (docs/migrations.md). Words in <angle brackets> are filled in by test_upgrades.py.
INSERT INTO core.dataset (name, columns, last_seq) VALUES ('flights', '[
    {"name": "x", "type": "float", "role": "feature", "nullable": true, "categories": null, "physical": "c1"},
    {"name": "late", "type": "bool", "role": "label", "nullable": false, "categories": null, "physical": "c2"},
    {"name": "id", "type": "int", "role": "key", "nullable": false, "categories": null, "physical": "c3"}]', 40);
CREATE TABLE data_.t_1 (ingest_seq bigint PRIMARY KEY, batch_id uuid NOT NULL, c1 float8, c2 boolean, c3 bigint);
INSERT INTO data_.t_1 SELECT n, '00000000-0000-4000-8000-000000000001', n / 2.0, n % 3 = 0, n % 30
    FROM generate_series(1, 40) n;
CREATE VIEW data.flights AS SELECT c1 AS x, c2 AS late, c3 AS id FROM data_.t_1;
INSERT INTO core.batch (id, dataset_id, source, fingerprint, body_sha256, state, row_count, rejected_count, first_seq,
                        last_seq, checksum)
    SELECT '00000000-0000-4000-8000-000000000001', 1, 'http', 'first', '', 'committed', 40, 1, 1, 40,
           sum(hash_record_extended(ROW(c1, c2, c3), 0)) FROM data_.t_1;
INSERT INTO core.reject VALUES ('00000000-0000-4000-8000-000000000001', 1, 7, 'late', 'true or false', '"maybe"');
INSERT INTO core.model (name, dataset_id, label, task, policy)
    VALUES ('late', 1, 'late', 'binary', '{"min_new_rows": 30, "families": ["linear", "neural"]}');
INSERT INTO core.training_request (id, model_id, reason, state, upto_seq, new_rows, settings, attempt, fence,
                                   requested_by, started_at, finished_at, last_sent_at, send_count)
    VALUES ('00000000-0000-4000-8000-000000000002', 1, 'min_new_rows', 'done', 40, 40, '{"families": ["linear"]}', 1, 1,
            'policy', now(), now(), now(), 1);
INSERT INTO core.run (id, request_id, attempt, fence, state, worker, snapshot_rows, ended_at)
    VALUES ('00000000-0000-4000-8000-000000000003', '00000000-0000-4000-8000-000000000002', 1, 1, 'done', 'w', 30, now());
INSERT INTO core.trial VALUES ('00000000-0000-4000-8000-000000000003', 1, 'linear', '{"strength": 1.0}', '{"loss": 0.5}',
                               0.1, true);
INSERT INTO core.version (model_id, version, request_id, run_id, fence, artifact_key, sha256, size_bytes, upto_seq,
                          snapshot_rows, snapshot_hash, holdout, metrics, gate, passed)
    VALUES (1, 1, '00000000-0000-4000-8000-000000000002', '00000000-0000-4000-8000-000000000003', 1,
            'models/late/<sha256>.msgpack', '<sha256>', <size>, 40, 30, 'hash',
            '{"rule": "time", "fit_upto_seq": 30, "test_from_seq": 31, "test_upto_seq": 40}', '{"log_loss": 0.5}',
            '{"summary": "passed: first", "passed": true, "promoted": true, "promotion": "promoted: first"}', true);
INSERT INTO core.alias (model_id, name, version, seq) VALUES (1, 'champion', 1, 3);
INSERT INTO core.deployment (model_id, alias, version, seq, actor, reason) VALUES (1, 'champion', 1, 3, 'trainer', 'first');
INSERT INTO core.api_key (id, name, secret_sha256, scopes) VALUES ('k1', 'admin', '\x00', '{admin}');
INSERT INTO core.prediction (id, model, version, inputs, output, predicted_at)
    SELECT 'p' || (n - 1), 'late', 1, '<inputs>'::jsonb -> (n - 1), '<outputs>'::jsonb -> (n - 1), now()
    FROM generate_series(1, jsonb_array_length('<inputs>')) n;
INSERT INTO core.feedback (prediction_id, label) VALUES ('p0', 'false'), ('p0', 'true');
