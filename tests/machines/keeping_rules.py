"""What happens to a dataset besides loading: columns come and widen, rows go by key and by age."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from trainyard.errors import ServiceError
from trainyard.schema import Column, Schema

_ADDED = {"add n": Column("n", "int"), "add word": Column("word", "text")}
_WIDER = {"n": "float", "day": "timestamp"}
#: A key of its own for each erasure: keys are one API key's, whatever the dataset.
_erasures = itertools.count()
places = st.integers(0, 60)


class KeepingRules(RuleBasedStateMachine):
    """Rules for whoever has ``model``, ``datasets`` (KeepDatasets), ``read`` and ``watching``, a connection."""

    @rule(which=places, how=st.sampled_from([*_ADDED, "widen", "widen", "drop"]))
    @precondition(lambda self: self.model.live)
    def evolve(self, which, how):
        """Columns are added and widened, the rows that there are stay; nothing becomes less."""
        name = chosen(self.model.live, which)
        columns = self.model.live[name].columns
        wanted = {
            "widen": tuple(replace(c, type=_WIDER.get(c.name, c.type)) for c in columns),
            "drop": columns[:-1],
        }.get(how)
        if wanted is None:
            new = _ADDED[how]
            wanted = columns if new.name in {c.name for c in columns} else (*columns, new)
        expected = self.model.evolve(name, wanted)
        try:
            dataset, _ = self.datasets.put(name, Schema(wanted), {}, actor="k")
            said = "as it was" if dataset.schema.columns == columns else "evolved"
        except ServiceError as e:
            said = e.code
        assert said == expected
        if said == "evolved":
            self.forget_reads(dataset.id, 0)  # they have the columns of today, and with them another hash

    @rule(which=places, row=st.one_of(places, places, st.none()), sure=st.booleans())
    @precondition(lambda self: self.model.erasable())
    def erase(self, which, row, sure):
        """Every row of a key goes and leaves a tombstone; who is not sure asks again, and gets the same answer."""
        name = chosen(self.model.erasable(), which)
        dataset = self.model.live[name]
        key = dataset.some_key(row)
        text = json.dumps(key) if len(key) > 1 else str(*key.values())
        gone = self.model.erase(name, key)
        once = None if sure else f"erasure {next(_erasures)}"
        erasure = self.datasets.erase(name, text, actor="k", idempotency_key=once)
        assert (erasure.rows, erasure.not_reproducible) == (len(gone), ())
        if once is not None:
            assert self.datasets.erase(name, text, actor="k", idempotency_key=once) == erasure
        self.forget_reads(dataset.id, min(gone, default=dataset.last_seq + 1))

    @rule(which=places, share=st.integers(0, 3))
    @precondition(lambda self: any(d.rows for d in self.model.live.values()))
    def outlive(self, which, share):
        """Batches grow old, and the rows before the first that has not go."""
        name = chosen([name for name, dataset in self.model.live.items() if dataset.rows], which)
        dataset = self.model.live[name]
        old_upto = dataset.last_seq * (3 - share) // 3
        with self.watching.cursor() as cursor:
            cursor.execute(
                "UPDATE core.batch SET created_at = clock_timestamp() - interval '10 days'"
                " WHERE dataset_id = %s AND state = 'committed' AND last_seq <= %s",
                (dataset.id, old_upto),
            )
        schema = Schema(dataset.columns)
        self.datasets.put(name, schema, {"retention_days": 5}, actor="k")
        gone = self.model.outlive(name, old_upto)
        assert self.datasets.expire_all(lambda: False) == len(gone)
        assert self.datasets.expire_all(lambda: False) == 0
        self.datasets.put(name, schema, {"retention_days": None}, actor="k")
        self.forget_reads(dataset.id, min(gone, default=dataset.last_seq + 1))

    def forget_reads(self, dataset_id, first):
        """Snapshots that had one of the rows from ``first`` on cannot be read again; those before it can."""
        self.read = [read for read in self.read if read[0] != dataset_id or read[1] < first]


def chosen(datasets, place):
    """Return one of the names."""
    known = sorted(datasets)
    return known[place % len(known)]
