"""The training fleet on EC2: one instant fleet request for each instance, through a launch template."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from trainyard import logs
from trainyard.adapters.aws.errors import MISSING, code_of, repaired, status_of, translated
from trainyard.contracts.fleet import Fleet, Instance, LaunchRefusedError, NoCapacityError
from trainyard.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trainyard.contracts.fleet import LaunchSpec

log = logs.get(__name__)

LAUNCH_TAG = "trainyard:launch"
ENV_TAG = "trainyard:env"
PROJECT_TAG = "trainyard:project"
PROJECT = "trainyard"
_UNKNOWN_INSTANCE = frozenset({"InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed"})
_PAGE = 100
#: There is nothing to be had just now; waiting helps.
_NO_CAPACITY = frozenset(
    {
        "InsufficientInstanceCapacity",
        "InsufficientCapacity",
        "InsufficientCapacityOnHost",
        "InsufficientHostCapacity",
        "InsufficientFreeAddressesInSubnet",
        "InsufficientAddressCapacity",
        "UnfulfillableCapacity",
        "SpotMaxPriceTooLow",
    }
)
#: The other market may have what this one refuses.
_QUOTAS = frozenset({"MaxSpotInstanceCountExceeded", "VcpuLimitExceeded", "InstanceLimitExceeded", "Unsupported"})
#: EC2 is busy or broken; the same call succeeds a moment later.
_PASSING = frozenset(
    {
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "InternalError",
        "InternalFailure",
        "ServiceUnavailable",
        "Unavailable",
        "RequestExpired",
        "RequestTimeout",
        "ConcurrentTagAccess",
        "IncorrectState",
    }
)


def launch_template_name(env: str) -> str:
    """Return the name of the launch template that trainers of environment ``env`` are launched through."""
    return f"trainyard-{env}-trainer"


@dataclass(frozen=True)
class Places:
    """Where instances may be launched: in these subnets, else in these zones, else wherever EC2 likes."""

    subnets: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()

    def overrides(self) -> list[dict[str, str]]:
        """Return one part of a fleet override for each place."""
        if self.subnets:
            return [{"SubnetId": subnet} for subnet in self.subnets]
        return [{"AvailabilityZone": zone} for zone in self.zones] or [{}]


@dataclass(frozen=True)
class _Error:
    """What EC2 said of one market: its code and its words."""

    market: str
    code: str
    words: str

    def __str__(self) -> str:
        return f"{self.market}: {self.code}: {self.words}"


_ANYWHERE = Places()


class Ec2Fleet(Fleet):
    """Instances of environment ``env``; ``on_missing`` makes the launch template when EC2 says that there is none."""

    def __init__(
        self, client: Any, env: str, *, places: Places = _ANYWHERE, on_missing: Callable[[], None] | None = None
    ) -> None:
        self._client = client
        self._env = env
        self._places = places
        self._on_missing = on_missing
        self._refusals: dict[str, int] = {}

    def launch(self, launch_id: str, spec: LaunchSpec) -> Instance:
        """Launch one instance tagged with ``launch_id``; a launch id that already has an instance returns that one.

        Raises:
            NoCapacityError: EC2 answered, and has nothing of the asked types; a later call may succeed.
            LaunchRefusedError: EC2 answered, and will say the same until somebody changes something.
        """
        with translated(f"launch {launch_id}"):
            existing = next(self._describe({f"tag:{LAUNCH_TAG}": launch_id}), None)
            if existing is not None:
                return existing
            errors: list[_Error] = []
            for market in spec.markets:
                answer = repaired(
                    lambda market=market: self._create(launch_id, spec, market),  # type: ignore[misc]
                    self._on_missing,
                )
                if isinstance(answer, Instance):
                    self._refusals.pop(launch_id, None)
                    return answer
                errors += answer
                if not all(_may_pass_over(error) for error in answer):
                    break
        # The next call must not get this one's answer again.
        self._refusals[launch_id] = self._refusals.get(launch_id, 0) + 1
        raise _failure(launch_id, errors)

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
                    log.info("fleet.instance_unknown", instance_id=instance_id)

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

    def _create(self, launch_id: str, spec: LaunchSpec, market: str) -> Instance | list[_Error]:
        """Ask for one instance; return it, or what EC2 says instead."""
        try:
            answer = self._client.create_fleet(**self._fleet_request(launch_id, spec, market))
        except ClientError as e:
            if code_of(e) in MISSING or _passes(code_of(e), status_of(e)):
                raise
            return [_Error(market, code_of(e), str(e.response.get("Error", {}).get("Message", "")))]
        for launched in answer.get("Instances", []):
            for instance_id in launched["InstanceIds"]:
                place = launched.get("LaunchTemplateAndOverrides", {}).get("Overrides", {})
                zone = place.get("AvailabilityZone")
                return Instance(instance_id, launch_id, launched["InstanceType"], "pending", zone, market)
        errors = [
            _Error(market, str(error.get("ErrorCode")), str(error.get("ErrorMessage", "")))
            for error in answer.get("Errors", [])
        ]
        for error in errors:
            if error.code in MISSING:
                raise ClientError({"Error": {"Code": error.code, "Message": error.words}}, "CreateFleet")
        return errors or [_Error(market, "UnfulfillableCapacity", "EC2 launched nothing and gave no reason")]

    def _fleet_request(self, launch_id: str, spec: LaunchSpec, market: str) -> dict[str, Any]:
        tags = {
            LAUNCH_TAG: launch_id,
            ENV_TAG: self._env,
            PROJECT_TAG: PROJECT,
            "Name": launch_template_name(self._env),
        }
        overrides = [
            {"InstanceType": instance_type, "Priority": float(rank), **place}
            for rank, instance_type in enumerate(spec.instance_types)
            for place in self._places.overrides()
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
            "TagSpecifications": [
                {"ResourceType": "instance", "Tags": [{"Key": k, "Value": v} for k, v in tags.items()]}
            ],
        }

    def _token(self, launch_id: str, spec: LaunchSpec, market: str) -> str:
        """Return a token that is the same for a repeat after a lost answer, and another after a refusal.

        AWS answers a repeated token with the first answer, so a refused launch could otherwise never succeed.
        """
        places = self._places.subnets or self._places.zones
        parts = (self._env, launch_id, market, *spec.instance_types, *places, str(self._refusals.get(launch_id, 0)))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _passes(code: str, status: int) -> bool:
    """Tell whether EC2 failed, rather than refused."""
    return code in _PASSING or status >= 500


def _may_pass_over(error: _Error) -> bool:
    """Tell whether another market is worth trying after this answer."""
    return error.code in _NO_CAPACITY or error.code in _QUOTAS


def _failure(launch_id: str, errors: Sequence[_Error]) -> Exception:
    """Return what a launch that brought nothing is: waiting helps if any answer says so."""
    words = f"launch {launch_id}: " + "; ".join(dict.fromkeys(map(str, errors)))
    if any(error.code in _NO_CAPACITY for error in errors):
        return NoCapacityError(words)
    if any(error.code in _PASSING for error in errors):
        return TransientError(words)
    return LaunchRefusedError(words)


def _instance(raw: dict[str, Any]) -> Instance:
    tags = {tag["Key"]: tag["Value"] for tag in raw.get("Tags", [])}
    return Instance(
        instance_id=raw["InstanceId"],
        launch_id=tags.get(LAUNCH_TAG, ""),
        instance_type=raw["InstanceType"],
        state=raw["State"]["Name"],
        zone=raw.get("Placement", {}).get("AvailabilityZone"),
        market=raw.get("InstanceLifecycle", "on-demand"),
    )
