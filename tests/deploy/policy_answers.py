"""What IAM answers, of policies as the templates have them.

moto matches actions and resources; conditions, which it knows only for trust, are decided here: a statement whose
conditions do not hold counts for nothing, as IAM says.
"""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Any

from moto.iam.access_control import IAMPolicyStatement, PermissionResult

if TYPE_CHECKING:
    from collections.abc import Mapping

ROLES = {
    "control": ("roles", "Control"),
    "ingest": ("roles", "Ingest"),
    "scheduler": ("roles", "Scheduler"),
    "trainer": ("roles", "Trainer"),
    "predictor": ("predictor", "Role"),
    "deploy": ("ci", "Deploy"),
    "build": ("ci", "Build"),
}
#: Policies of resources; of these only what they deny is of interest, as every caller is of this account.
RESOURCE_POLICIES = (
    ("storage", "DataPolicy"),
    ("queues", "TlsOnly"),
    ("queues", "ObjectsPolicy"),
    ("queues", "BatchPolicy"),
)


def strings(value: Any) -> list[str]:
    """Return what a policy writes as one string or as a list."""
    return [str(one) for one in (value if isinstance(value, list) else [value])]


def _holds(operator: str, key: str, wanted: Any, context: Mapping[str, str]) -> bool:
    """Decide one condition; what these templates do not use is refused, not guessed."""
    operator, if_exists = operator.removesuffix("IfExists"), operator.endswith("IfExists")
    if operator == "Null":
        return (key not in context) == (str(wanted).lower() == "true")
    if key not in context:
        # Without the key a condition does not hold, unless it says that something is not so.
        return if_exists or "Not" in operator
    found = context[key]
    match operator:
        case "StringEquals" | "Bool" | "ArnEquals":
            return found in strings(wanted)
        case "StringLike" | "ArnLike":
            return any(fnmatch.fnmatchcase(found, one) for one in strings(wanted))
        case "ArnNotLike":
            return not any(fnmatch.fnmatchcase(found, one) for one in strings(wanted))
    raise AssertionError(f"a condition that this test cannot decide: {operator}")


def _counts(statement: Mapping[str, Any], context: Mapping[str, str]) -> bool:
    conditions = statement.get("Condition", {})
    return all(_holds(op, key, wanted, context) for op, keys in conditions.items() for key, wanted in keys.items())


def answer(statements: list[dict[str, Any]], action: str, resource: str, context: Mapping[str, str]) -> str:
    """Return `allow` or `deny`."""
    permitted = False
    for statement in statements:
        if not _counts(statement, context):
            continue
        plain = {name: part for name, part in statement.items() if name not in {"Condition", "Principal"}}
        match IAMPolicyStatement(plain).is_action_permitted(action, resource):
            case PermissionResult.DENIED:
                return "deny"
            case PermissionResult.PERMITTED:
                permitted = True
    return "allow" if permitted else "deny"
