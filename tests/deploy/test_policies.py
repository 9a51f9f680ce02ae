"""Who may do what in AWS, row by row: the policies are read out of the templates and asked."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from moto.iam.access_control import IAMPolicyStatement, PermissionResult
from policy_answers import answer, strings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROWS = list(csv.DictReader(Path(__file__).with_name("policies.csv").read_text(encoding="utf-8").splitlines()))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['role']}-{row['action']}-{row['resource'][-24:]}")
def test_what_a_role_may(row: dict[str, str], statements: Any) -> None:
    """Each row of the table is what the policies say."""
    given = dict(part.split("=", 1) for part in row["context"].split(";") if part)
    who = f"arn:aws:iam::111122223333:role/trainyard-test-{row['role']}"
    context = {"aws:SecureTransport": "true", "aws:PrincipalArn": who} | given

    assert answer(statements(row["role"]), row["action"], row["resource"], context) == row["answer"]


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
        assert not [action for action in strings(statement["Action"]) if "*" in action], f"{where}: {statement['Sid']}"
        if "*" in strings(statement["Resource"]):
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
