"""`trainyard dataset erase`, `dataset profile` and `batches NAME BATCH` against a fake service."""

from __future__ import annotations

import click
import pytest

from trainyard_client.cli.exits import Exit

ERASED = {"erased_rows": 1_200, "erasure_id": "e1", "not_reproducible": [{"model": "buys", "version": 3}]}
COLUMN = {"name": "age", "type": "int", "nulls": 1, "min": 18, "max": 80, "mean": 40.5, "std": 2.5, "distinct": 7}
CITY = {
    **COLUMN,
    "name": "city",
    "type": "category",
    "new_categories": {"count": 41, "levels": ["Chur"]},
}
REPORT = {
    "rows": 9,
    "seen": 5,
    "sampled": True,
    "columns": [COLUMN, CITY],
    "duplicates": {"rows": 11, "keys": None, "known_keys": 13},
}
BATCH = {
    "id": "b1",
    "source": "http",
    "source_name": "k",
    "state": "committed",
    "rows": 9,
    "rejected": 0,
    "last_seq": 9,
}


def test_a_key_that_is_no_text_is_not_sent(api, trainyard):
    """A shell may hand on any bytes; those that are no UTF-8 are told of, without a traceback."""
    done = trainyard("dataset", "erase", "shop", "--key", "\udce9", "--yes")
    assert (done.code, api.asked) == (Exit.USAGE, [])
    assert "UTF-8" in done.err


def test_erase(api, trainyard):
    """With --yes it is done at once, under an Idempotency-Key; what became of it is said."""
    api.on("DELETE", "/v1/datasets/shop/rows", ERASED)
    done = trainyard("dataset", "erase", "shop", "--key", '{"a": 1}', "--yes")
    assert done.code == Exit.OK
    assert "1,200 rows are erased (erasure e1)" in done.out
    assert "buys" in done.out
    assert api.asked[0].url.endswith("/v1/datasets/shop/rows?key=%7B%22a%22%3A+1%7D")
    assert api.asked[0].headers["Idempotency-Key"]
    assert trainyard("dataset", "erase", "shop", "--key", "1", "--yes", "--json").json == ERASED


@pytest.mark.parametrize(("sure", "code", "asked"), [(True, Exit.OK, 1), (False, Exit.FAILED, 0)])
def test_erase_asks(api, trainyard, monkeypatch, sure, code, asked):
    """Without --yes nothing is erased before somebody says so."""
    monkeypatch.setattr(click, "confirm", lambda *_words, **_how: sure)
    api.on("DELETE", "/v1/datasets/shop/rows", {**ERASED, "not_reproducible": []})
    assert trainyard("dataset", "erase", "shop", "--key", "1").code == code
    assert len(api.asked) == asked


def test_profile(api, trainyard):
    """The columns' figures, for people and programs."""
    answer = {"name": "shop", "rows": 9, "batches": 2, "reported": 1, "columns": [{**COLUMN, "levels": None}]}
    api.on("GET", "/v1/datasets/shop/profile", answer)
    out = trainyard("dataset", "profile", "shop").out
    assert "age" in out
    assert "40.5" in out
    assert trainyard("dataset", "profile", "shop", "--json").json == answer


@pytest.mark.parametrize(("report", "said"), [(REPORT, ["city", "40.5"]), (None, ["not there yet"])])
def test_batch_with_its_report(api, trainyard, report, said):
    """One batch is shown with its report, or that there is none yet."""
    batch = {**BATCH, "report": report}
    api.on("GET", "/v1/datasets/shop/batches/b1", batch)
    out = trainyard("batches", "shop", "b1").out
    assert [words for words in said if words not in out] == []
    assert trainyard("batches", "shop", "b1", "--json").json == batch
