"""Decoding takes at most 64 MiB and three times the file, whatever the file says of itself."""

from __future__ import annotations

import struct
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from trainyard.errors import ArtifactError
from trainyard.model import Dense, Model, NeuralNetwork, Pipeline, TreeEnsemble, encode, wire
from trainyard.testing.models import sample_model, with_trees

if TYPE_CHECKING:
    from pathlib import Path


#: Prints by how many bytes the memory of a fresh process has grown when it has decoded the file of that name.
CHILD = """
import resource, sys
from pathlib import Path
from trainyard.errors import ArtifactError
from trainyard.model import decode
unit = 1 if sys.platform == "darwin" else 1024
data = Path(sys.argv[1]).read_bytes()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode(data)
except ArtifactError:
    pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit)
"""


def peak_beyond(data: bytes, folder: Path) -> int:
    """Return by how many bytes decoding exceeds what it may take; negative: it stays below."""
    path = folder / "model"
    path.write_bytes(data)
    told = subprocess.run([sys.executable, "-c", CHILD, str(path)], capture_output=True, text=True, check=True)
    return int(told.stdout) - (64 * 2**20 + 3 * len(data))


def many(item: bytes, each: int) -> bytes:
    """Return a file of lists full of ``item``, which counts as ``each`` values, as many as are allowed."""
    inner, outer = 10_000, (wire.MAX_ITEMS - 1_000) // (10_000 * each)
    lists = [struct.pack(">BH", 0xDC, inner) + item * inner] * outer
    return wire.envelope(struct.pack(">BH", 0xDC, outer) + b"".join(lists))


@pytest.mark.parametrize(
    ("item", "each"),
    [
        (b"\x80", 1),
        (b"\x90", 1),
        (b"\x81\xa1a\xc0", 3),
        (b"\xa2ab", 1),
        (b"\xa4\xf0\x9f\x98\x80", 1),
        (b"\xcd\x7f\xff", 1),
    ],
    ids=["maps", "lists", "maps of one", "strings", "wide strings", "integers"],
)
def test_many_small_values_stay_small(item: bytes, each: int, tmp_path: Path) -> None:
    """As many values as a body may hold, of each kind that grows most in memory."""
    assert peak_beyond(many(item, each), tmp_path) < 0


def test_one_value_too_many_is_refused() -> None:
    """The limit of values is inclusive."""
    body = struct.pack(">BH", 0xDC, 35) + (struct.pack(">BH", 0xDC, 9_999) + b"\xc0" * 9_999) * 35
    assert wire.MAX_ITEMS == 350_000
    with pytest.raises(ArtifactError) as caught:
        wire.scan(memoryview(body))
    assert caught.value.code == "too_many_items"
    wire.scan(memoryview(struct.pack(">BH", 0xDC, 34) + body[3 : 3 + 34 * 10_002]))


def test_large_arrays_are_not_copied_again_and_again(tmp_path: Path) -> None:
    """A network of 32 MB and trees of a million nodes."""
    model = sample_model("neural_network", "regression")
    width = model.members[0].width
    layers = (
        Dense(np.ones((width, 1024)), np.zeros(1024), "relu"),
        Dense(np.ones((1024, 3_900)), np.zeros(3_900), "relu"),
        Dense(np.ones((3_900, 1)), np.zeros(1), "identity"),
    )
    network = Pipeline(model.members[0].steps, NeuralNetwork(layers, "identity"))
    assert peak_beyond(encode(replace(model, pipeline=network)), tmp_path) < 0
    assert peak_beyond(encode(forest(8_000 * 100)), tmp_path) < 0


def forest(nodes: int) -> Model:
    """Return a model of trees with about so many nodes in all."""
    model = sample_model("tree_ensemble", "regression")
    depth = 10
    each = 2 ** (depth + 1) - 1  # a full tree, numbered level by level
    n_trees = nodes // each
    within = np.arange(each)
    inner = within < each // 2
    start = np.arange(n_trees) * each
    left = np.where(inner, 2 * within + 1, -1)
    offset = np.repeat(start, each) * np.tile(inner, n_trees)
    trees = TreeEnsemble.from_nodes(
        tree_start=start,
        feature=np.tile(np.where(inner, 0, -1), n_trees),
        threshold=np.zeros(n_trees * each),
        left=np.tile(left, n_trees) + offset,
        right=np.tile(np.where(inner, 2 * within + 2, -1), n_trees) + offset,
        default_left=np.zeros(n_trees * each),
        value=np.where(np.tile(inner, n_trees), 0.0, 1.0)[:, None],
        tree_output=np.zeros(n_trees),
        base=np.zeros(1),
        aggregation="sum",
        output="identity",
    )
    return with_trees(model, trees, model.members[0].steps)
