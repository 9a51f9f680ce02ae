"""What Schemathesis sends where JSON schemas say nothing: files of rows, for the datasets that are there."""

from __future__ import annotations

import json

import schemathesis
from hypothesis import strategies as st
from tests.api.bytes_as_they_are import as_it_is

CELLS = st.sampled_from(["1", "2", "-7", "0.5", "x", "", "true", "2024-02-29", '"a ""b"", c"', "\u00e9", "\0", '"'])
VALUES = st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=5))
HEADERS = st.sampled_from(["id,x", "id,x", "id,x", "id", "id,x,unknown", "id,id", "a", ""])


@st.composite
def csv_files(draw):
    """Return CSV: mostly a table, now and then something else."""
    header = draw(HEADERS)
    records = draw(st.lists(st.lists(CELLS, min_size=1, max_size=3).map(",".join), max_size=5))
    clean = [f"{n + 1}" + ",0.5" * header.count(",") for n in range(draw(st.integers(1, 4)))]
    return "\n".join([header, *clean, *draw(st.sampled_from([[], [], [], records]))]).encode()


@st.composite
def ndjson_files(draw):
    """Return NDJSON: mostly rows, now and then something else."""
    rows = st.one_of(
        st.fixed_dictionaries({"id": st.integers(0, 5)}, optional={"x": st.floats(0, 1), "y": VALUES}), VALUES
    )
    lines = [json.dumps(row) for row in draw(st.lists(rows, max_size=4))]
    return "\n".join([*lines, *draw(st.sampled_from([[], [], ["{"], ["", "[]"]]))]).encode()


schemathesis.openapi.media_type("text/csv", csv_files())
schemathesis.openapi.media_type("application/x-ndjson", ndjson_files())


schemathesis.serializer("text/csv")(as_it_is)
schemathesis.serializer("application/x-ndjson")(as_it_is)
