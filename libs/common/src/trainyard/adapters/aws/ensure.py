"""Everything in AWS that the services count on, made when it is not there: bucket, queues, notification, template.

:meth:`AwsSetup.ensure` may run any number of times and in several processes at once. The scheduler calls it at every
start; the adapters call it (``on_missing``) when AWS answers that something is missing, as an emulator does that was
restarted. It sets only what is ours and leaves everything else on the bucket and the queues as it is.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from trainyard import logs
from trainyard.adapters.aws.ec2 import launch_template_name
from trainyard.adapters.aws.errors import code_of, repaired, translated
from trainyard.adapters.aws.template import template_request
from trainyard.adapters.aws.uploads import ensure_rule
from trainyard.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trainyard.adapters.aws.clients import AwsClients
    from trainyard.config import Config

log = logs.get(__name__)

LANDING_PREFIX, BATCH_PREFIX = "landing/", "batch/in/"
_LANDING_ID, _BATCH_ID = "trainyard-landing", "trainyard-batch"
_POLICY_SID = "trainyard-s3-notifications"
_VISIBILITY_SECONDS = 60
#: Six times what the function of predictions may take, as Lambda asks of a queue that it reads.
_BATCH_VISIBILITY_SECONDS = 180
_RETENTION_SECONDS = 4 * 86_400
#: A message keeps the age it had in its first queue, so dead letters must be kept longer than that queue keeps them.
_DEAD_LETTER_RETENTION_SECONDS = 14 * 86_400
_MAX_RECEIVES = 5
_NO_QUEUE = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})


def dead_letter_name(queue: str) -> str:
    """Return the name of the dead-letter queue of ``queue``."""
    return f"{queue}-dlq"


def queue_names(config: Config) -> tuple[str, str, str, str, str]:
    """Return the names of the five queues: training, arrived, objects, predictions, batch."""
    return (
        config.queue_training,
        config.queue_arrived,
        config.queue_objects,
        config.queue_predictions,
        config.queue_batch,
    )


class AwsSetup:
    """Makes what the configuration names."""

    def __init__(self, clients: AwsClients, config: Config) -> None:
        self._clients = clients
        self._config = config
        self._lock = threading.Lock()

    def ensure(self) -> None:
        """Make whatever is missing.

        Raises:
            TransientError: AWS does not answer or does not allow it; what was made so far stays.
            ConfigError: the bucket's name belongs to somebody else, or the settings make no launch template.
        """
        with self._lock, translated("set up AWS"):
            self._ensure_bucket()
            if ensure_rule(self._clients.s3, self._config.bucket):
                log.info("aws.lifecycle_rule_created", bucket=self._config.bucket)
            arns = {name: self._ensure_queue(name) for name in queue_names(self._config)}
            for name in self._config.poll_queues:
                self._ensure_poll_queue(name)
            told = ((self._config.queue_objects, _LANDING_ID), (self._config.queue_batch, _BATCH_ID))
            for name, _ in told:
                self._ensure_s3_may_send(name, arns[name])
            self._ensure_notifications({ident: arns[name] for name, ident in told})
            self._ensure_launch_template()

    def queue_made_at(self, name: str) -> float:
        """Return the Unix time, in whole seconds by the clock of AWS, at which the queue ``name`` was made.

        A message that was sent before is not in it. When there is no such queue, it is made.

        Raises:
            TransientError: AWS does not answer.
        """

        def look() -> float:
            url = self._clients.sqs.get_queue_url(QueueName=name)["QueueUrl"]
            return float(self._attributes(url, ["CreatedTimestamp"])["CreatedTimestamp"])

        with translated(f"look at queue {name}"):
            return repaired(look, self.ensure)

    # --- S3 ---

    def _ensure_bucket(self) -> None:
        s3, bucket = self._clients.s3, self._config.bucket
        try:
            s3.head_bucket(Bucket=bucket)
        except ClientError as e:
            if code_of(e) not in {"404", "NoSuchBucket"}:
                raise
        else:
            return
        # us-east-1 is the one region that must not be named.
        region = self._config.aws_region
        where: dict[str, Any] = {}
        if region != "us-east-1":
            where = {"CreateBucketConfiguration": {"LocationConstraint": region}}
        try:
            s3.create_bucket(Bucket=bucket, **where)
        except ClientError as e:
            if code_of(e) == "BucketAlreadyExists":
                raise ConfigError(f"TRAINYARD_BUCKET={bucket} belongs to another account; choose another name") from e
            if code_of(e) != "BucketAlreadyOwnedByYou":
                raise
        log.info("aws.bucket_created", bucket=bucket)

    def _ensure_notifications(self, queue_arns: dict[str, str]) -> None:
        """Have S3 tell each queue of the objects under its prefix."""
        s3, bucket = self._clients.s3, self._config.bucket
        current = s3.get_bucket_notification_configuration(Bucket=bucket)
        current.pop("ResponseMetadata", None)
        ours = [_notification(ident, arn) for ident, arn in queue_arns.items()]
        queues = current.get("QueueConfigurations", [])
        if all(any(_same_notification(entry, one) for entry in queues) for one in ours):
            return
        others = [
            entry
            for entry in queues
            if entry.get("Id") not in queue_arns and not any(_same_notification(entry, one) for one in ours)
        ]
        current["QueueConfigurations"] = [*others, *ours]
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=current)
        log.info("aws.notifications_created", bucket=bucket, queues=", ".join(queue_arns.values()))

    # --- SQS ---

    def _ensure_queue(self, name: str) -> str:
        """Make the queue ``name`` and its dead-letter queue, which takes letters of no other; return its ARN."""
        url, arn = self._made(name)
        dead_url, dead_arn = self._made(dead_letter_name(name))
        allowed = {"redrivePermission": "byQueue", "sourceQueueArns": [arn]}
        self._set(
            dead_url,
            {
                "MessageRetentionPeriod": str(_DEAD_LETTER_RETENTION_SECONDS),
                "RedriveAllowPolicy": json.dumps(allowed, sort_keys=True),
            },
        )
        visibility = _BATCH_VISIBILITY_SECONDS if name == self._config.queue_batch else _VISIBILITY_SECONDS
        redrive = {"deadLetterTargetArn": dead_arn, "maxReceiveCount": _MAX_RECEIVES}
        self._set(
            url,
            {
                "MessageRetentionPeriod": str(_RETENTION_SECONDS),
                "VisibilityTimeout": str(visibility),
                "RedrivePolicy": json.dumps(redrive, sort_keys=True),
            },
        )
        return arn

    def _ensure_poll_queue(self, name: str) -> None:
        """Make a queue of questions to the predictor if there is none; one that is there is its owner's to set up."""
        try:
            self._clients.sqs.get_queue_url(QueueName=name)
        except ClientError as e:
            if code_of(e) not in _NO_QUEUE:
                raise
            self._ensure_queue(name)

    def _made(self, name: str) -> tuple[str, str]:
        """Return URL and ARN of the queue, which is made if there is none."""
        sqs = self._clients.sqs
        try:
            url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        except ClientError as e:
            if code_of(e) not in _NO_QUEUE:
                raise
            # Made bare: CreateQueue refuses a twin that another process has made with attributes meanwhile.
            url = sqs.create_queue(QueueName=name)["QueueUrl"]
            log.info("aws.queue_created", queue=name)
        return url, self._attributes(url, ["QueueArn"])["QueueArn"]

    def _set(self, url: str, wanted: dict[str, str]) -> None:
        """Bring the attributes that are ours to what they should be."""
        current = self._attributes(url, ["All"])  # by name, moto refuses those that it does not know
        different = {key: value for key, value in wanted.items() if not _same_value(current.get(key), value)}
        if different:
            self._clients.sqs.set_queue_attributes(QueueUrl=url, Attributes=different)

    def _ensure_s3_may_send(self, name: str, arn: str) -> None:
        """Allow S3 to send to the queue on behalf of our bucket, beside whatever its policy allows already."""
        url = self._clients.sqs.get_queue_url(QueueName=name)["QueueUrl"]
        policy = json.loads(self._attributes(url, ["Policy"]).get("Policy") or "{}")
        ours = {
            "Sid": _POLICY_SID,
            "Effect": "Allow",
            "Principal": {"Service": "s3.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{self._config.bucket}"}},
        }
        statements = policy.get("Statement", [])
        if ours in statements:
            return
        others = [statement for statement in statements if statement.get("Sid") != _POLICY_SID]
        merged = {"Version": "2012-10-17", **policy, "Statement": [*others, ours]}
        self._clients.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(merged)})

    def _attributes(self, url: str, names: Iterable[str]) -> dict[str, str]:
        answer = self._clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(names))
        return dict(answer.get("Attributes", {}))

    # --- EC2 ---

    def _ensure_launch_template(self) -> None:
        """Make the template unless there is one: a deployment's own template is never touched."""
        ec2, name = self._clients.ec2, launch_template_name(self._config.env)
        filters = [{"Name": "launch-template-name", "Values": [name]}]
        if ec2.describe_launch_templates(Filters=filters)["LaunchTemplates"]:
            return
        try:
            ec2.create_launch_template(**template_request(self._config))
        except ClientError as e:
            if code_of(e) != "InvalidLaunchTemplateName.AlreadyExistsException":
                raise
        log.info("aws.launch_template_created", template=name)


def _same_value(current: str | None, wanted: str) -> bool:
    """Compare attribute values; JSON ones by content, with numbers that AWS may hand back as strings."""
    if current is None:
        return False
    if wanted.startswith("{"):
        return _plain(json.loads(current)) == _plain(json.loads(wanted))
    return current == wanted


def _plain(policy: dict[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in policy.items()}


def _notification(ident: str, queue_arn: str) -> dict[str, Any]:
    prefix = {_LANDING_ID: LANDING_PREFIX, _BATCH_ID: BATCH_PREFIX}[ident]
    return {
        "Id": ident,
        "QueueArn": queue_arn,
        "Events": ["s3:ObjectCreated:*"],
        "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": prefix}]}},
    }


def _same_notification(entry: dict[str, Any], ours: dict[str, Any]) -> bool:
    """Compare what counts: AWS may write 'prefix' as 'Prefix', and CloudFormation gives no id.

    Two notifications that differ in their id alone overlap, which S3 refuses.
    """
    rules, wanted = (one.get("Filter", {}).get("Key", {}).get("FilterRules", []) for one in (entry, ours))
    return (
        entry.get("QueueArn") == ours["QueueArn"]
        and entry.get("Events") == ours["Events"]
        and [(rule["Name"].lower(), rule["Value"]) for rule in rules] == [("prefix", wanted[0]["Value"])]
    )
