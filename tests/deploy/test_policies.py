"""Who may do what in AWS, row by row: the policies are read out of the templates and asked.

moto matches actions and resources; conditions, which it knows only for trust, are decided here: a statement whose
conditions do not hold counts for nothing, as IAM says.
"""

from __future__ import annotations

import csv
import fnmatch
import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from moto.iam.access_control import IAMPolicyStatement, PermissionResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROWS = list(csv.DictReader(Path(__file__).with_name("policies.csv").read_text(encoding="utf-8").splitlines()))
_ROLES = {
    "control": ("roles", "Control"),
    "ingest": ("roles", "Ingest"),
    "scheduler": ("roles", "Scheduler"),
    "trainer": ("roles", "Trainer"),
    "predictor": ("predictor", "Role"),
    "deploy": ("ci", "Deploy"),
    "build": ("ci", "Build"),
}
#: Policies of resources; of these only what they deny is of interest, as every caller is of this account.
_RESOURCE_POLICIES = (
    ("storage", "DataPolicy"),
    ("queues", "TlsOnly"),
    ("queues", "ObjectsPolicy"),
    ("queues", "BatchPolicy"),
)


def _in(value: Any) -> list[str]:
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
            return found in _in(wanted)
        case "StringLike" | "ArnLike":
            return any(fnmatch.fnmatchcase(found, one) for one in _in(wanted))
        case "ArnNotLike":
            return not any(fnmatch.fnmatchcase(found, one) for one in _in(wanted))
    raise AssertionError(f"a condition that this test cannot decide: {operator}")


def _counts(statement: Mapping[str, Any], context: Mapping[str, str]) -> bool:
    conditions = statement.get("Condition", {})
    return all(_holds(op, key, wanted, context) for op, keys in conditions.items() for key, wanted in keys.items())


def _answer(statements: list[dict[str, Any]], row: Mapping[str, str], context: Mapping[str, str]) -> str:
    permitted = False
    for statement in statements:
        if not _counts(statement, context):
            continue
        plain = {name: part for name, part in statement.items() if name not in {"Condition", "Principal"}}
        match IAMPolicyStatement(plain).is_action_permitted(row["action"], row["resource"]):
            case PermissionResult.DENIED:
                return "deny"
            case PermissionResult.PERMITTED:
                permitted = True
    return "allow" if permitted else "deny"


@pytest.fixture(scope="session")
def statements(template: Any) -> Any:
    """The function that returns every statement that counts for a role."""

    @functools.cache
    def of(role: str) -> list[dict[str, Any]]:
        name, _, model = role.partition("-")
        file, resource = _ROLES[name]
        own = template(file, Model=model).resource(resource)["Policies"]
        guards = [
            statement
            for file, name in _RESOURCE_POLICIES
            for statement in template(file).resource(name)["PolicyDocument"]["Statement"]
            if statement["Effect"] == "Deny"
        ]
        return [statement for policy in own for statement in policy["PolicyDocument"]["Statement"]] + guards

    return of


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['role']}-{row['action']}-{row['resource'][-24:]}")
def test_what_a_role_may(row: dict[str, str], statements: Any) -> None:
    """Each row of the table is what the policies say."""
    given = dict(part.split("=", 1) for part in row["context"].split(";") if part)
    who = f"arn:aws:iam::111122223333:role/trainyard-test-{row['role']}"
    context = {"aws:SecureTransport": "true", "aws:PrincipalArn": who} | given

    assert _answer(statements(row["role"]), row, context) == row["answer"]


def test_the_table_is_large_and_says_no_as_well() -> None:
    """At least 150 rows; for each role some that are allowed and some that are not."""
    assert len(ROWS) >= 150
    for role in {row["role"] for row in ROWS}:
        assert {row["answer"] for row in ROWS if row["role"] == role} == {"allow", "deny"}, role


def _policies(templates: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Every statement of every role: where it stands, what reasons stand beside it, the statement."""
    for name, one in templates.items():
        for key, resource in one.resources.items():
            if resource["Type"] == "AWS::IAM::Role":
                reasons = resource.get("Metadata", {}).get("Reasons", {})
                for policy in one.resource(key)["Policies"]:
                    for statement in policy["PolicyDocument"]["Statement"]:
                        yield f"{name}.{key}", reasons, statement


@pytest.mark.parametrize("role", ["control", "ingest", "scheduler", "trainer", "predictor", "deploy"])
def test_every_permission_is_in_the_table(role: str, statements: Any) -> None:
    """What a role may do is asked for at least once: else a statement is one too many, or a row is missing."""
    allowed = [row for row in ROWS if row["role"] == role and row["answer"] == "allow"]
    unasked = [
        one["Sid"]
        for one in statements(role)
        if one["Effect"] == "Allow" and not any(_matches(one, row) for row in allowed)
    ]
    assert unasked == []


def _matches(statement: Mapping[str, Any], row: Mapping[str, str]) -> bool:
    plain = {name: part for name, part in statement.items() if name != "Condition"}
    asked = IAMPolicyStatement(plain).is_action_permitted(row["action"], row["resource"])
    return asked is PermissionResult.PERMITTED


def test_no_wildcard_without_a_reason(templates: dict[str, Any]) -> None:
    """No action has a star in it, and a resource is all of them only where a reason says why."""
    used = set()
    for where, reasons, statement in _policies(templates):
        if statement["Effect"] == "Deny":
            continue
        assert not [action for action in _in(statement["Action"]) if "*" in action], f"{where}: {statement['Sid']}"
        if "*" in _in(statement["Resource"]):
            assert reasons.get(statement["Sid"]), f"{where}: {statement['Sid']} has no reason for its resource"
            used.add((where, statement["Sid"]))
    written = {(where, sid) for where, reasons, _ in _policies(templates) for sid in reasons}
    assert written == used


def test_who_may_take_a_role(templates: dict[str, Any]) -> None:
    """Ingest and scheduler are taken by the control instance alone, deploy by one repository's environment alone."""
    for role in ("Ingest", "Scheduler"):
        (trust,) = templates["roles"].resource(role)["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Condition"]["ArnEquals"] == {
            "aws:PrincipalArn": "arn:aws:iam::111122223333:role/trainyard-test-control"
        }
    (trust,) = templates["ci"].resource("Deploy")["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Condition"]["StringEquals"] == {
        "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
        "token.actions.githubusercontent.com:sub": "repo:owner/name:environment:test",
    }


def test_policies_fit_into_iam(templates: dict[str, Any]) -> None:
    """A role's inline policies have 10,240 characters at most, without white space."""
    for name, one in templates.items():
        for key, resource in one.resources.items():
            if resource["Type"] == "AWS::IAM::Role":
                size = sum(
                    len(json.dumps(policy["PolicyDocument"], separators=(",", ":")))
                    for policy in one.resource(key)["Policies"]
                )
                assert size <= 10_240, f"{name}.{key}: {size}"
