"""What there is in the account of the rehearsal, by kind; kinds of which there is nothing are left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from account import Rehearsal

#: Kind, service, call, where the answer has them, what names one.
_KINDS = (
    ("stacks", "cloudformation", "describe_stacks", "Stacks", "StackName"),
    ("buckets", "s3", "list_buckets", "Buckets", "Name"),
    ("queues", "sqs", "list_queues", "QueueUrls", None),
    ("repositories", "ecr", "describe_repositories", "repositories", "repositoryName"),
    ("databases", "rds", "describe_db_instances", "DBInstances", "DBInstanceIdentifier"),
    ("snapshots", "rds", "describe_db_snapshots", "DBSnapshots", "DBSnapshotIdentifier"),
    ("secrets", "secretsmanager", "list_secrets", "SecretList", "Name"),
    ("parameters", "ssm", "describe_parameters", "Parameters", "Name"),
    ("functions", "lambda", "list_functions", "Functions", "FunctionName"),
    ("mappings", "lambda", "list_event_source_mappings", "EventSourceMappings", "UUID"),
    ("roles", "iam", "list_roles", "Roles", "RoleName"),
    ("profiles", "iam", "list_instance_profiles", "InstanceProfiles", "InstanceProfileName"),
    ("launch templates", "ec2", "describe_launch_templates", "LaunchTemplates", "LaunchTemplateName"),
    ("networks", "ec2", "describe_vpcs", "Vpcs", "VpcId"),
    ("log groups", "logs", "describe_log_groups", "logGroups", "logGroupName"),
    ("topics", "sns", "list_topics", "Topics", "TopicArn"),
    ("alarms", "cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
    ("dashboards", "cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
    ("rules", "events", "list_rules", "Rules", "Name"),
)
#: What every account has.
_EVERYBODYS = {"vpc-00000001"}


def leftovers(target: Rehearsal) -> dict[str, list[str]]:
    """Return the names of everything, by kind.

    Instances that have ended are nothing, nor is a volume that is to go with its instance: the emulator forgets that.
    """
    found: dict[str, list[str]] = {}
    for kind, service, call, where, name in _KINDS:
        answer: dict[str, Any] = getattr(target.client(service), call)()
        found[kind] = [one if name is None else str(one[name]) for one in answer.get(where, [])]
    pages = target.client("ec2").describe_instances()["Reservations"]
    found["instances"] = [
        str(one["InstanceId"])
        for reservation in pages
        for one in reservation["Instances"]
        if one["State"]["Name"] != "terminated"
    ]
    found["volumes"] = [
        str(one["VolumeId"])
        for one in target.client("ec2").describe_volumes()["Volumes"]
        if not all(at["DeleteOnTermination"] for at in one["Attachments"]) or not one["Attachments"]
    ]
    names = {kind: sorted(set(names) - _EVERYBODYS) for kind, names in found.items()}
    return {kind: some for kind, some in names.items() if some}
