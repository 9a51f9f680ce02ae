"""The model file: round trips, canonical bytes, limits, and that nothing but ArtifactError ever leaves ``decode``."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from pathlib import Path

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trainyard.model
from trainyard.errors import ArtifactError
from trainyard.model import Linear, Number, Pipeline, TableEncoding, decode, encode, fingerprint, self_test, wire
from trainyard.model.codes import CODES
from trainyard.model.dto import FORMAT_VERSION
from trainyard.testing.models import ESTIMATORS, TASKS, sample_model

REPOSITORY = Path(__file__).parents[3]
KINDS = [(estimator, task) for estimator in ESTIMATORS for task in TASKS]


@given(st.sampled_from(KINDS), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_models_survive_the_file(kind: tuple[str, str], seed: int) -> None:
    """Any model encodes to bytes that decode and encode to the same bytes, and answers its golden rows."""
    data = encode(sample_model(*kind, seed=seed))
    model = decode(data)
    assert encode(model) == data
    self_test(model)


def test_the_same_model_gives_the_same_bytes() -> None:
    """Mapping order and array layout of the caller do not show in the file."""
    model = sample_model("linear")
    other = replace(
        model,
        metrics=dict(reversed(model.metrics.items())),
        lineage=replace(model.lineage, configuration=dict(reversed(model.lineage.configuration.items()))),
    )
    assert fingerprint(encode(other)) == fingerprint(encode(model))


def test_a_file_is_one_msgpack_document() -> None:
    """Any msgpack reader reads the file: a map with format, version, sha256 and body, itself msgpack."""
    outer = msgpack.unpackb(encode(sample_model()))
    assert list(outer) == ["format", "version", "sha256", "body"]
    body = msgpack.unpackb(outer["body"])
    assert body["name"] == "flights"
    assert body["pipeline"]["kind"] == "pipeline"


def test_decoded_arrays_cannot_be_written() -> None:
    """A model in memory is as immutable as its file."""
    estimator = decode(encode(sample_model("linear"))).members[0].estimator
    assert isinstance(estimator, Linear)
    with pytest.raises(ValueError, match="read-only"):
        estimator.weights.numpy[0, 0] = 1.0


NUMBERS = [sign * (2**power + off) for sign in (1, -1) for power in range(63) for off in (-1, 0, 1)]


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(NUMBERS),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.text(),
    st.binary(),
)


def _nested(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.one_of(st.lists(inner, max_size=40), st.dictionaries(st.text(), inner, max_size=40))


@given(st.recursive(LEAVES, _nested, max_leaves=60))
@settings(deadline=None)
def test_the_scan_passes_exactly_what_the_writer_writes(tree: object) -> None:
    """Whatever msgpack writes in shortest form passes the scan and comes back."""
    body = wire.pack(tree)
    version, read = wire.unseal(wire.envelope(body))
    assert (version, wire.pack(read)) == (FORMAT_VERSION, body)


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_random_bytes_are_refused(data: bytes) -> None:
    """Random bytes, bare and in a right envelope, raise ArtifactError with a code of the table."""
    for candidate in (data, *(wire.envelope(data, version) for version in wire.VERSIONS)):
        with pytest.raises(ArtifactError) as caught:
            decode(candidate)
        assert caught.value.code in CODES


@pytest.mark.parametrize(("estimator", "task"), [("blend", "multiclass"), ("neural_network", "regression")])
def test_mutated_files_never_escape(estimator: str, task: str) -> None:
    """Bytes changed, cut out or doubled, checksum made right: a model or ArtifactError, never anything else."""
    body = encode(sample_model(estimator, task))[wire.HEADER_BYTES :]
    rng = random.Random(7)  # noqa: S311 - fuzzing, no secret
    outcomes = set()
    for _ in range(1_500):
        data = bytearray(body)
        for _ in range(rng.choice((1, 1, 1, 2, 8))):
            _mutate(data, rng)
        outcomes.add(_outcome(wire.envelope(bytes(data))))
    assert outcomes <= {"accepted", *CODES}
    assert len(outcomes) > 10


def _outcome(data: bytes) -> str:
    """Return the code that the bytes are refused with; accepted bytes must be canonical."""
    try:
        model = decode(data)
        self_test(model)
    except ArtifactError as e:
        return e.code
    assert encode(model) == data
    return "accepted"


def _mutate(data: bytearray, rng: random.Random) -> None:
    if not data:
        return
    at, size = rng.randrange(len(data)), rng.choice((1, 2, 4, 8, 64))
    kind = rng.randrange(5)
    if kind == 0:
        data[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        data[at] = rng.choice((0x00, 0x7F, 0x80, 0x90, 0xC0, 0xC1, 0xC4, 0xC6, 0xCB, 0xCF, 0xD9, 0xDD, 0xDF, 0xFF))
    elif kind == 2:
        del data[at : at + size]
    elif kind == 3:
        data[at:at] = data[at : at + size]
    else:
        data[at : at + size] = rng.randbytes(size)


def test_every_cut_is_refused() -> None:
    """A file cut at any offset is ``truncated``."""
    data = encode(sample_model())
    for end in range(0, len(data), 7):
        with pytest.raises(ArtifactError) as caught:
            decode(data[:end])
        assert caught.value.code == "truncated"


def test_every_flipped_byte_is_refused() -> None:
    """No byte of a file can change unnoticed."""
    data = encode(sample_model())
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 0x40
        with pytest.raises(ArtifactError):
            decode(bytes(changed))


def test_the_size_limit_is_checked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file over the limit is refused in both directions; one of exactly that size is read."""
    model = sample_model()
    data = encode(model)
    monkeypatch.setattr(wire, "MAX_FILE_BYTES", len(data))
    decode(encode(model))
    monkeypatch.setattr(wire, "MAX_FILE_BYTES", len(data) - 1)
    for attempt in (lambda: decode(data), lambda: encode(model)):
        with pytest.raises(ArtifactError) as caught:
            attempt()
        assert caught.value.code == "too_large"


def test_the_limit_of_levels_is_inclusive() -> None:
    """A table of 10,000 levels is written and read, one of 10,001 refused with a code."""
    model = sample_model("linear", "regression")
    for n, code in ((10_000, None), (10_001, "too_many_items")):
        levels = tuple(f"L{i}" for i in range(n))
        step = TableEncoding("carrier", levels, np.zeros((n, 1)), np.zeros(1), np.zeros(1))
        large = replace(model, pipeline=Pipeline((step,), Linear(np.ones((1, 1)), np.zeros(1), "identity")))
        if code is None:
            decoded = decode(encode(large)).members[0].steps[0]
            assert isinstance(decoded, TableEncoding)
            assert decoded.levels == levels
        else:
            with pytest.raises(ArtifactError) as caught:
                encode(large)
            assert caught.value.code == code


def test_encode_refuses_what_decode_would() -> None:
    """A trainer's mistake is caught where it is made: no golden rows, NaN, wrong types."""
    model = sample_model("linear")
    for broken, code in (
        (replace(model, golden=None), "bad_golden"),
        (replace(model, metrics={"auc": float("nan")}), "not_finite"),
        (replace(model, name=7), "wrong_type"),  # type: ignore[arg-type]
        (replace(model, threshold=7.0), "bad_threshold"),
        (replace(model, pipeline=Pipeline((Number("distance"),), model.members[0].estimator)), "missing_not_handled"),
    ):
        with pytest.raises(ArtifactError) as caught:
            encode(broken)
        assert caught.value.code == code


def test_arrays_are_not_bent_into_shape() -> None:
    """Fractions in an integer array and a wrong number of axes raise at construction."""
    with pytest.raises(ValueError, match="axes"):
        Linear(np.zeros(3), np.zeros(1), "identity")
    trees = sample_model("tree_ensemble").members[0].estimator
    with pytest.raises(ValueError, match="uint16"):
        replace(trees, feature=np.array([0.5]))


def test_the_codes_are_documented_and_used() -> None:
    """The table of codes, the source and docs/model-format.md agree."""
    folder = Path(trainyard.model.__file__).parent
    source = "".join(p.read_text(encoding="utf-8") for p in folder.glob("*.py") if p.name != "codes.py")
    used = {code for code in CODES if f'"{code}"' in source}
    assert used == set(CODES)
    raised = set(re.findall(r'ArtifactError\("(\w+)"', source))
    assert raised <= set(CODES)
    page = (REPOSITORY / "docs" / "model-format.md").read_text(encoding="utf-8")
    for code, meaning in CODES.items():
        assert f"| `{code}` | {meaning} |" in page
