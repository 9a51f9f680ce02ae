"""Write files of version 2 that must be refused: `python tests/golden/make_hostile.py`. Those of version 1 stay.

The name of each file is ``<error code>--<what is wrong>.bin``. Most are sound models in which one thing was changed
and the checksum made right again, so that nothing but the changed thing can be the reason.
"""

from __future__ import annotations

import copy
import shutil
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np

from trainyard.model import encode
from trainyard.model.wire import HEADER_BYTES, envelope
from trainyard.testing.models import sample_model

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).parent / "hostile" / "v2"
Tree = dict[str, Any]
CODES = {"float64": "<f8", "float32": "<f4", "int32": "<i4", "uint16": "<u2", "uint8": "|u1"}


def main() -> None:
    """Write all files anew."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    for name, data in {**envelopes(), **bodies(), **changed()}.items():
        (FOLDER / f"{name}.bin").write_bytes(data)


def envelopes() -> dict[str, bytes]:
    """Return files with something wrong around the body."""
    good = encode(sample_model())
    flipped = bytearray(good)
    flipped[-1] ^= 1
    version = good.index(b"version") + 7
    return {
        "truncated--empty": b"",
        "truncated--in_magic": good[:10],
        "truncated--in_header": good[: HEADER_BYTES - 1],
        "truncated--in_body": good[:-1],
        "bad_magic--pickle": b"\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00cposix\nsystem\n.",
        "bad_magic--zip": b"PK\x03\x04" + bytes(64),
        "unsupported_version--3": good[:version] + b"\x03" + good[version + 1 :],
        "wrong_fields--version_1": good[:version] + b"\x01" + good[version + 1 :],
        "bad_header--sha_name": good.replace(b"sha256", b"sha512", 1),
        "trailing_bytes--after_file": good + b"\x00",
        "bad_checksum--one_bit": bytes(flipped),
        "bad_checksum--other_hash": good.replace(good[HEADER_BYTES - 42 : HEADER_BYTES - 10], bytes(32), 1),
    }


def bodies() -> dict[str, bytes]:
    """Return files with a right envelope around a body that is no msgpack of ours."""
    whole = encode(sample_model())[HEADER_BYTES:]
    return {
        name: envelope(body)
        for name, body in {
            "truncated--no_body": b"",
            "truncated--body_cut": whole[:-3],
            "truncated--bytes_bomb": b"\xc6\xff\xff\xff\xff",
            "truncated--list_of_10000": b"\xdc\x27\x10",
            "trailing_bytes--two_values": whole + b"\xc0",
            "not_msgpack--c1": b"\xc1",
            "ext_type--timestamp": msgpack.packb(msgpack.Timestamp(1)),
            "not_msgpack--float32": b"\xca\x00\x00\x00\x00",
            "ext_type--code": b"\xd4\x00\x00",
            "too_deep--lists": b"\x91" * 5_000 + b"\xc0",
            "too_deep--maps": b"\x81\xa1a" * 40 + b"\xc0",
            "too_many_items--list_bomb": b"\xdd\xff\xff\xff\xff",
            "too_many_items--map_bomb": b"\xdf\xff\xff\xff\xff",
            "too_many_items--nested_bombs": b"\xdd\x00\x0f\x42\x40" * 30,
            "string_too_long--70000": b"\xdb" + struct.pack(">I", 70_000) + bytes(70_000),
            "bad_string--utf8": b"\x91\xa2\xc3\x28",
            "bad_key--int": b"\x81\x01\x01",
            "bad_key--list": b"\x81\x90\x01",
            "bad_key--bytes": b"\x81\xc4\x01a\x01",
            "duplicate_key--name": b"\x82\xa4name\xa1a\xa4name\xa1b",
            "wrong_type--a_number": b"\x01",
            "not_canonical--negative_int": b"\xd1\xff\xff",
            "not_canonical--signed_int": b"\xd2\x00\x01\x00\x00",
            "not_canonical--string_length": b"\xd9\x01a",
            "not_canonical--list_length": b"\xdc\x00\x00",
        }.items()
    }


def changed() -> dict[str, bytes]:
    """Return sound models with one thing changed."""
    out = {}
    for name, (estimator, task, change) in CHANGES.items():
        tree = copy.deepcopy(msgpack.unpackb(encode(sample_model(estimator, task))[HEADER_BYTES:]))
        tree = change(tree) or tree
        out[name] = envelope(tree if isinstance(tree, bytes) else msgpack.packb(tree))
    return out


# --- the changes: each gets the model as plain maps and changes it in place, or returns another ------------------


def put(path: str, value: Any) -> Callable[[Tree], None]:
    """Set the value at a dotted path."""

    def change(tree: Tree) -> None:
        *way, last = path.split(".")
        at: Any = tree
        for key in way:
            at = at[int(key)] if isinstance(at, list) else at[key]
        at[int(last) if isinstance(at, list) else last] = value

    return change


def estimator_of(tree: Tree) -> Tree:
    """Return the estimator of a model that is no blend."""
    estimator: Tree = tree["pipeline"]["estimator"]
    return estimator


def array(values: Any, dtype: str = "float64") -> Tree:
    """Return the form of an array."""
    data = np.asarray(values, dtype=CODES[dtype])
    return {"dtype": dtype, "shape": list(data.shape), "data": data.tobytes()}


def isotonic(at: list[float], to: list[float]) -> Tree:
    """Return the form of a calibration curve."""
    return {"kind": "isotonic", "at": array(at), "to": array(to)}


def node(name: str, index: int, value: float) -> Callable[[Tree], None]:
    """Change one number in a node array."""

    def change(tree: Tree) -> None:
        form = estimator_of(tree)[name]
        values = np.frombuffer(form["data"], CODES[form["dtype"]]).copy()
        values[index] = value
        form["data"] = values.tobytes()

    return change


def trees_of(nodes: list[int], n_trees: int = 1) -> Callable[[Tree], None]:
    """Put trees of these nodes in, with tests, values and outputs to match."""

    def change(tree: Tree) -> None:
        leaves = nodes.count(1)
        inner = len(nodes) - leaves
        estimator_of(tree).update(
            node=array(nodes, "uint8"),
            feature=array(np.zeros(inner), "uint16"),
            threshold=array(np.zeros(inner)),
            category_start=array([], "int32"),
            category=array([], "int32"),
            value=array(np.zeros((leaves, 1))),
            cover=None,
            tree_output=array(np.zeros(n_trees), "uint16"),
        )

    return change


def sets_of(starts: list[int], codes: list[int], threshold: float = 0.0) -> Callable[[Tree], None]:
    """Put one tree in, with one split by category."""

    def change(tree: Tree) -> None:
        trees_of([4, 1, 1])(tree)
        sets = {"category_start": array(starts, "int32"), "category": array(codes, "int32")}
        estimator_of(tree).update(threshold=array([threshold]), **sets)

    return change


def reordered(tree: Tree) -> Tree:
    """Swap the first two fields."""
    return {"task": tree["task"], "name": tree["name"], **tree}


def unsorted_metrics(tree: Tree) -> None:
    """Turn the order of the metrics."""
    tree["metrics"] = dict(reversed(tree["metrics"].items()))


def long_int(tree: Tree) -> bytes:
    """Write a small number in more bytes than it needs."""
    body: bytes = msgpack.packb(tree)
    short = b"\xa4seed" + msgpack.packb(tree["lineage"]["seed"])
    assert body.count(short) == 1
    return body.replace(short, b"\xa4seed\xcd" + struct.pack(">H", tree["lineage"]["seed"]))


TREES, LINEAR, NETWORK, BLEND, VALUE, CLASSES = (
    ("tree_ensemble", "binary"),
    ("linear", "binary"),
    ("neural_network", "binary"),
    ("blend", "binary"),
    ("linear", "regression"),
    ("linear", "multiclass"),
)
NAN = float("nan")
CHANGES: dict[str, tuple[str, str, Callable[[Tree], Any]]] = {
    "wrong_fields--one_missing": (*LINEAR, lambda t: t.pop("metrics") and None),
    "wrong_fields--one_more": (*LINEAR, put("code", "print()")),
    "wrong_fields--reordered": (*LINEAR, reordered),
    "not_canonical--unsorted": (*LINEAR, unsorted_metrics),
    "not_canonical--long_int": (*LINEAR, long_int),
    "not_canonical--schema_default_left_out": (*LINEAR, lambda t: t["schema"]["columns"][1].pop("nullable") and None),
    "wrong_type--name": (*LINEAR, put("name", 7)),
    "wrong_type--classes": (*LINEAR, put("classes", {"a": 1})),
    "wrong_type--int_for_float": (*LINEAR, put("threshold", 1)),
    "wrong_type--bool_for_int": (*LINEAR, put("lineage.seed", True)),
    "wrong_type--large_int": (*LINEAR, put("lineage.seed", 2**64 - 1)),
    "wrong_type--bytes_in_configuration": (*LINEAR, put("lineage.configuration.rate", b"x")),
    "wrong_type--array_data": (*LINEAR, put("pipeline.estimator.bias.data", "x")),
    "unknown_kind--estimator": (*LINEAR, put("pipeline.estimator.kind", "pickle")),
    "unknown_kind--task": (*LINEAR, put("task", "ranking")),
    "unknown_kind--output": (*LINEAR, put("pipeline.estimator.output", "eval")),
    "unknown_kind--activation": (*NETWORK, put("pipeline.estimator.layers.0.activation", "exec")),
    "unknown_kind--aggregation": (*TREES, put("pipeline.estimator.aggregation", "max")),
    "unknown_kind--date_part": (*TREES, put("pipeline.steps.4.parts.0", "century")),
    "array_dtype--object": (*LINEAR, put("pipeline.estimator.bias.dtype", "object")),
    "array_dtype--int_for_float": (*LINEAR, put("pipeline.estimator.bias", array([0], "int32"))),
    "array_shape--axes": (*LINEAR, put("pipeline.estimator.bias.shape", [1, 1])),
    "array_shape--negative": (*LINEAR, put("pipeline.estimator.bias.shape", [-1])),
    "array_shape--impossible": (*LINEAR, put("pipeline.estimator.weights", array([]) | {"shape": [0, 2**62]})),
    "array_size--short": (*LINEAR, put("pipeline.estimator.bias.data", bytes(7))),
    "array_size--huge_shape": (*LINEAR, put("pipeline.estimator.weights.shape", [2**40, 2**40])),
    "not_finite--nan_threshold": (*TREES, node("threshold", 0, NAN)),
    "not_finite--infinite_weight": (*LINEAR, put("pipeline.estimator.bias", array([np.inf]))),
    "not_finite--metric": (*LINEAR, put("metrics.auc", NAN)),
    "not_finite--impute": (*LINEAR, put("pipeline.steps.0.impute", NAN)),
    "limit_exceeded--deep_tree": (*TREES, trees_of([0, 1] * 257 + [1])),
    "limit_exceeded--no_steps": (*LINEAR, put("pipeline.steps", [])),
    "limit_exceeded--no_layers": (*NETWORK, put("pipeline.estimator.layers", [])),
    "limit_exceeded--deep_to_the_left": (*TREES, trees_of([0] * 257 + [1] * 258)),
    "limit_exceeded--no_trees": (*TREES, put("pipeline.estimator.tree_output", array([], "uint16"))),
    "limit_exceeded--members": (*BLEND, lambda t: t["pipeline"].update(members=t["pipeline"]["members"] * 9)),
    "bad_name--path": (*LINEAR, put("name", "../etc")),
    "bad_schema--type": (*LINEAR, put("schema.columns.1.type", "object")),
    "bad_schema--field_order": (*LINEAR, put("schema.columns", 3)),
    "bad_classes--three": (*LINEAR, put("classes", [1, 2, 3])),
    "bad_classes--twice": (*LINEAR, put("classes", ["a", "a"])),
    "bad_classes--mixed": (*LINEAR, put("classes", ["a", 1])),
    "bad_threshold--2": (*LINEAR, put("threshold", 2.0)),
    "bad_threshold--regression": (*VALUE, put("threshold", 0.25)),
    "bad_calibration--cold": (*LINEAR, put("calibration.temperature", 0.0)),
    "bad_calibration--regression": (*VALUE, put("calibration", {"kind": "temperature", "temperature": 1.0})),
    "bad_calibration--slope": (*LINEAR, put("calibration", {"kind": "platt", "slope": -1.0, "intercept": 0.0})),
    "bad_calibration--three_classes": (*CLASSES, put("calibration", {"kind": "platt", "slope": 1.0, "intercept": 0.0})),
    "bad_calibration--falling": (*LINEAR, put("calibration", isotonic([0.0, 1.0], [1.0, 0.0]))),
    "bad_calibration--not_rising": (*LINEAR, put("calibration", isotonic([0.5, 0.5], [0.0, 1.0]))),
    "bad_calibration--beyond_one": (*LINEAR, put("calibration", isotonic([0.0, 1.0], [0.0, 1.5]))),
    "bad_calibration--no_points": (*LINEAR, put("calibration", isotonic([], []))),
    "unknown_kind--calibration": (*LINEAR, put("calibration.kind", "beta")),
    "unknown_kind--transform": (*LINEAR, put("pipeline.steps.0.transform", "exec")),
    "unknown_kind--operation": (*LINEAR, put("pipeline.steps.10.operation", "power")),
    "unknown_kind--member": (*BLEND, put("pipeline.members.0.kind", "pipelin%")),
    "bad_weights--negative": (*BLEND, put("pipeline.weights", array([1.5, -0.5]))),
    "bad_weights--sum": (*BLEND, put("pipeline.weights", array([0.5, 0.75]))),
    "bad_output--softmax": (*LINEAR, put("pipeline.estimator.output", "softmax")),
    "bad_scale--zero": (*LINEAR, put("pipeline.steps.0.scale", 0.0)),
    "bad_scale--dates": (*LINEAR, put("pipeline.steps.6.scale", array([-1.0]))),
    "bad_scale--quantiles": (*LINEAR, put("pipeline.steps.9.at", array([0.0, 1.0, 1.0, 2.0]))),
    "bad_levels--twice": (*LINEAR, put("pipeline.steps.3.levels.0", "DL")),
    "bad_levels--no_parts": (*LINEAR, put("pipeline.steps.5.parts", [])),
    "bad_lineage--hash": (*LINEAR, put("lineage.snapshot_sha256", "x")),
    "bad_lineage--seq": (*LINEAR, put("lineage.snapshot_upto_seq", -1)),
    "unknown_column--absent": (*LINEAR, put("pipeline.steps.0.column", "gate")),
    "unknown_column--pair": (*LINEAR, put("pipeline.steps.10.right", "gate")),
    "unknown_column--label": (*LINEAR, put("pipeline.steps.3.column", "late")),
    "column_type--pair": (*LINEAR, put("pipeline.steps.10.left", "carrier")),
    "column_type--text": (*LINEAR, put("pipeline.steps.0.column", "remark")),
    "missing_not_handled--linear": (*LINEAR, put("pipeline.steps.0.impute", None)),
    "missing_not_handled--pair": (*LINEAR, put("pipeline.steps.10.impute", None)),
    "missing_not_handled--quantile": (*LINEAR, put("pipeline.steps.9.impute", None)),
    "missing_not_handled--unknown_level": (*LINEAR, put("pipeline.steps.7.unknown", None)),
    "missing_not_handled--dates": (*LINEAR, put("pipeline.steps.5.impute", None)),
    "shape_mismatch--weights": (*LINEAR, put("pipeline.estimator.weights", array([[1.0]]))),
    "shape_mismatch--table": (*LINEAR, put("pipeline.steps.7.table", array([[1.0, 2.0]]))),
    "shape_mismatch--nodes": (*TREES, put("pipeline.estimator.threshold", array([1.0] * 9))),
    "shape_mismatch--blend": (*BLEND, put("pipeline.weights", array([1.0]))),
    "shape_mismatch--baseline": (*LINEAR, put("pipeline.estimator.baseline", array([1.0]))),
    "shape_mismatch--quantiles": (*LINEAR, put("pipeline.steps.9.to", array([1.0, 2.0]))),
    "shape_mismatch--cover": (*TREES, put("pipeline.estimator.cover", array([1.0], "float32"))),
    "shape_mismatch--leaves": (*TREES, put("pipeline.estimator.value", array([[1.0]]))),
    "array_dtype--double_cover": (*TREES, put("pipeline.estimator.cover", array([1.0]))),
    "not_finite--cover": (*TREES, node("cover", 0, NAN)),
    "bad_tree--negative_cover": (*TREES, node("cover", 0, -1.0)),
    "bad_tree--unknown_node": (*TREES, node("node", 0, 8)),
    "bad_tree--leaf_with_direction": (*TREES, trees_of([0, 1, 3])),
    "bad_tree--ends_early": (*TREES, trees_of([0, 1])),
    "bad_tree--one_too_many": (*TREES, trees_of([0, 1, 1, 1])),
    "bad_tree--two_for_one": (*TREES, trees_of([1, 1])),
    "bad_tree--one_for_two": (*TREES, trees_of([0, 1, 1], n_trees=2)),
    "bad_tree--feature_out_of_range": (*TREES, node("feature", 0, 999)),
    "bad_tree--output_out_of_range": (*TREES, node("tree_output", 0, 1)),
    "bad_tree--set_without_node": (*TREES, put("pipeline.estimator.category_start", array([0, 1, 2, 3], "int32"))),
    "bad_tree--node_without_set": (*TREES, trees_of([4, 1, 1])),
    "bad_tree--no_such_set": (*TREES, sets_of([0], [1], threshold=1.0)),
    "bad_tree--half_a_set": (*TREES, sets_of([0], [1], threshold=0.5)),
    "bad_tree--codes_without_set": (*TREES, sets_of([], [1])),
    "bad_tree--empty_set": (*TREES, sets_of([0], [])),
    "bad_tree--codes_not_rising": (*TREES, sets_of([0], [2, 2])),
    "bad_tree--first_set": (*TREES, sets_of([1], [1, 2])),
    "bad_golden--none": (*LINEAR, lambda t: t["golden"].update(rows=[])),
    "bad_golden--shape": (*LINEAR, put("golden.expected", array([[0.5, 0.5]]))),
    "bad_golden--row_misfits": (*LINEAR, put("golden.rows.0.seats", "many")),
    "golden_mismatch--other_answer": (*LINEAR, put("golden.expected", array([[0.5, 0.5]] * 5))),
}


if __name__ == "__main__":
    main()
