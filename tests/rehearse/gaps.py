"""What the emulator lacks of the templates (deploy/aws/emulator_gaps.toml), and the templates without it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import yaml

GAPS: dict[str, Any] = tomllib.loads((Path(__file__).parents[2] / "deploy/aws/emulator_gaps.toml").read_text())
#: What goes: types that it does not know, and one that it knows by name alone.
_TYPES = {*GAPS["types"], *GAPS["features"]["database"]["types"]}


def without_gaps(text: str) -> str:
    """Return a template without what the emulator lacks, and without the outputs that say something of that."""
    raw = yaml.safe_load(text)
    gone = {name for name, one in raw["Resources"].items() if _lacking(one)}
    gone |= {name for name, one in raw["Resources"].items() if "Condition" in one and _names(one, gone)}
    resources = {name: one for name, one in raw["Resources"].items() if name not in gone}
    outputs = {name: one for name, one in raw.get("Outputs", {}).items() if not _names(one, gone)}
    for name, one in resources.items():
        assert not _names(one, gone), f"{name} asks for something that the emulator lacks"
    return json.dumps(raw | {"Resources": resources, "Outputs": outputs})


def resource(text: str, kind: str) -> dict[str, Any] | None:
    """Return the one resource of a type as it is written, or None."""
    found = [one for one in yaml.safe_load(text)["Resources"].values() if one["Type"] == kind]
    return found[0] if found else None


def _lacking(one: dict[str, Any]) -> bool:
    """Tell whether a resource is one that the default stack has, and the emulator does not make."""
    metric_math = one["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in one["Properties"]
    return "Condition" not in one and (one["Type"] in _TYPES or metric_math)


def _names(node: Any, gone: set[str]) -> bool:
    """Tell whether a part of a template refers to one of these resources."""
    if isinstance(node, list):
        return any(_names(one, gone) for one in node)
    if not isinstance(node, dict):
        return False
    if node.get("Ref") in gone:
        return True
    attribute = node.get("Fn::GetAtt")
    if attribute and (attribute if isinstance(attribute, str) else attribute[0]).split(".")[0] in gone:
        return True
    return any(_names(one, gone) for one in node.values())
