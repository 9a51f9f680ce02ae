"""What to do about EC2's refusals: from its words to a next step."""

from __future__ import annotations

#: A code, or its beginning, and what helps; the first that occurs counts.
_NEXT_STEPS = (
    (
        ("UnauthorizedOperation", "AccessDenied", "AuthFailure"),
        "allow the scheduler's role ec2:CreateFleet, ec2:RunInstances, ec2:CreateTags and iam:PassRole",
    ),
    (
        ("VcpuLimitExceeded", "MaxSpotInstanceCountExceeded", "InstanceLimitExceeded"),
        "ask AWS for a higher quota, or name smaller or other types in TRAINYARD_INSTANCE_TYPES",
    ),
    (("InvalidAMIID",), "set TRAINYARD_TRAINER_AMI to an image of this region, then delete the launch template"),
    (("InvalidSubnet",), "correct TRAINYARD_SUBNETS"),
    (("InvalidZone", "InvalidAvailabilityZone"), "correct TRAINYARD_ZONES"),
    (("InvalidGroup", "InvalidSecurityGroup"), "correct TRAINYARD_TRAINER_SECURITY_GROUPS, then delete the template"),
    (("InvalidIamInstanceProfile",), "correct TRAINYARD_TRAINER_PROFILE, then delete the launch template"),
    (("Unsupported",), "name instance types that the zones and the image support in TRAINYARD_INSTANCE_TYPES"),
    (("OptInRequired", "PendingVerification", "Blocked"), "this account may not use EC2 yet: see its AWS console"),
)
_ELSE = "change what EC2 names: the settings of the fleet, or the launch template (docs/fleet.md)"
_WAIT = "nothing: it is tried again by itself; more types, zones or on-demand capacity make it likelier"


def next_step(kind: str, error: str) -> str:
    """Return what a person can do about a launch that failed."""
    if kind == "capacity":
        return _WAIT
    return next((step for codes, step in _NEXT_STEPS if any(code in error for code in codes)), _ELSE)
