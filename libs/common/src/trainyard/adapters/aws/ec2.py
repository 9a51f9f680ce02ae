"""The training fleet on EC2: one instant fleet request for each instance, through a launch template."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from trainyard import logs
from trainyard.adapters.aws.errors import MISSING, code_of, repaired, translated
from trainyard.contracts.fleet import Fleet, Instance, NoCapacityError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trainyard.contracts.fleet import LaunchSpec

log = logs.get(__name__)

LAUNCH_TAG = "trainyard:launch"
ENV_TAG = "trainyard:env"
_UNKNOWN_INSTANCE = frozenset({"InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed"})
_PAGE = 100


def launch_template_name(env: str) -> str:
    """Return the name of the launch template that trainers of environment ``env`` are launched through."""
    return f"trainyard-{env}-trainer"


class Ec2Fleet(Fleet):
    """Instances of environment ``env``; ``on_missing`` makes the launch template when EC2 says that there is none."""

    def __init__(self, client: Any, env: str, *, on_missing: Callable[[], None] | None = None) -> None:
        self._client = client
        self._env = env
        self._on_missing = on_missing
        self._refusals: dict[str, int] = {}

    def launch(self, launch_id: str, spec: LaunchSpec) -> Instance:
        """Launch one instance tagged with ``launch_id``; a launch id that already has an instance returns that one.

        Raises:
            NoCapacityError: EC2 answered, and has nothing of the asked types; a later call may succeed.
        """
        with translated(f"launch {launch_id}"):
            existing = next(self._describe({f"tag:{LAUNCH_TAG}": launch_id}), None)
            if existing is not None:
                return existing
            reasons: list[str] = []
            for market in ("spot", "on-demand") if spec.spot else ("on-demand",):
                instance = repaired(
                    lambda market=market: self._create(launch_id, spec, market, reasons),  # type: ignore[misc]
                    self._on_missing,
                )
                if instance is not None:
                    self._refusals.pop(launch_id, None)
                    return instance
        self._refusals[launch_id] = self._refusals.get(launch_id, 0) + 1
        raise NoCapacityError(f"launch {launch_id}: " + "; ".join(dict.fromkeys(reasons)))

    def instances(self) -> list[Instance]:
        """Return every instance that carries this environment's tag, recently ended ones included."""
        with translated(f"list the instances of {self._env}"):
            return list(self._describe({}))

    def terminate(self, instance_ids: Sequence[str]) -> None:
        """End instances; ids that are unknown or already ended are not an error."""
        with translated("terminate instances"):
            if not instance_ids or self._terminated(instance_ids):
                return
            # EC2 refuses the whole call for one unknown id, so the others are ended one by one.
            for instance_id in instance_ids:
                if not self._terminated([instance_id]):
                    log.info("fleet.instance_unknown", instance=instance_id)

    def _terminated(self, instance_ids: Sequence[str]) -> bool:
        try:
            self._client.terminate_instances(InstanceIds=list(instance_ids))
        except ClientError as e:
            if code_of(e) in _UNKNOWN_INSTANCE:
                return False
            raise
        return True

    def _describe(self, more: dict[str, str]) -> Iterator[Instance]:
        wanted = {f"tag:{ENV_TAG}": self._env, "tag-key": LAUNCH_TAG, **more}
        filters = [{"Name": name, "Values": [value]} for name, value in wanted.items()]
        pages = self._client.get_paginator("describe_instances").paginate(
            Filters=filters, PaginationConfig={"PageSize": _PAGE}
        )
        for page in pages:
            for reservation in page["Reservations"]:
                yield from map(_instance, reservation["Instances"])

    def _create(self, launch_id: str, spec: LaunchSpec, market: str, reasons: list[str]) -> Instance | None:
        """Ask for one instance; None when EC2 has none, with its words added to ``reasons``."""
        answer = self._client.create_fleet(**self._fleet_request(launch_id, spec, market))
        for launched in answer.get("Instances", []):
            for instance_id in launched["InstanceIds"]:
                return Instance(instance_id, launch_id, launched["InstanceType"], "pending")
        errors = answer.get("Errors", [])
        for error in errors:
            if error.get("ErrorCode") in MISSING:
                words = {"Code": error["ErrorCode"], "Message": error.get("ErrorMessage", "")}
                raise ClientError({"Error": words}, "CreateFleet")
        reasons += [f"{market}: {error.get('ErrorCode')}: {error.get('ErrorMessage')}" for error in errors]
        if not errors:
            reasons.append(f"{market}: EC2 launched nothing and gave no reason")
        return None

    def _fleet_request(self, launch_id: str, spec: LaunchSpec, market: str) -> dict[str, Any]:
        tags = [{"Key": LAUNCH_TAG, "Value": launch_id}, {"Key": ENV_TAG, "Value": self._env}]
        overrides = [
            {"InstanceType": instance_type, "Priority": float(rank)}
            for rank, instance_type in enumerate(spec.instance_types)
        ]
        return {
            "Type": "instant",
            "ClientToken": self._token(launch_id, spec, market),
            "LaunchTemplateConfigs": [
                {
                    "LaunchTemplateSpecification": {
                        "LaunchTemplateName": launch_template_name(self._env),
                        "Version": "$Default",
                    },
                    "Overrides": overrides,
                }
            ],
            "TargetCapacitySpecification": {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": market},
            "SpotOptions": {"AllocationStrategy": "capacity-optimized-prioritized"},
            "OnDemandOptions": {"AllocationStrategy": "prioritized"},
            "TagSpecifications": [{"ResourceType": "instance", "Tags": tags}],
        }

    def _token(self, launch_id: str, spec: LaunchSpec, market: str) -> str:
        """Return a token that is the same for a repeat after a lost answer, and another after a refusal.

        AWS answers a repeated token with the first answer, so a refused launch could otherwise never succeed.
        """
        parts = (self._env, launch_id, market, *spec.instance_types, str(self._refusals.get(launch_id, 0)))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _instance(raw: dict[str, Any]) -> Instance:
    tags = {tag["Key"]: tag["Value"] for tag in raw.get("Tags", [])}
    return Instance(raw["InstanceId"], tags.get(LAUNCH_TAG, ""), raw["InstanceType"], raw["State"]["Name"])
