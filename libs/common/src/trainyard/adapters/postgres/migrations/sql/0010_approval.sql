-- Versions that the gate left to a person. A version itself never changes; what became of it does, once.
CREATE TABLE core.approval (
    model_id     bigint NOT NULL,
    version      integer NOT NULL,
    state        text NOT NULL DEFAULT 'pending_approval'
                 CHECK (state IN ('pending_approval', 'approved', 'rejected')),
    champion_seq bigint NOT NULL,           -- of the champion that it was judged against; 0: there was none
    decided_by   text,
    decided_at   timestamptz,
    reason       text,
    PRIMARY KEY (model_id, version),
    FOREIGN KEY (model_id, version) REFERENCES core.version (model_id, version),
    CHECK ((state = 'pending_approval') = (decided_at IS NULL))
);
