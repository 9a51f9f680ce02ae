"""What a stack costs in a month: pure arithmetic over choices, a load and a table of prices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainyard_deploy.tables import HOURS_PER_MONTH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainyard_deploy.choices import Choices
    from trainyard_deploy.tables import Load, Prices

DAYS_PER_MONTH = 365 / 12
_SECONDS_PER_MONTH = DAYS_PER_MONTH * 86_400
#: The templates' counts; a test compares them with the templates.
ALARM_METRICS, CUSTOM_METRICS, ENDPOINTS = 16, 1, 6
BATCH_LOOK_SECONDS = 300
#: What an idle stack asks AWS for, calls per second: what docs/operations.md has measured, and what came since, by its
#: periods. Lambda has five at the queue of batch jobs, each for 20 s; every 10 minutes the sweeper lists seven places
#: more, and the keeper of copies one; each look for batch jobs is two lists, a notice and the keys and aliases.
IDLE_SQS_PER_SECOND = 1.25 + 5 / 20
IDLE_S3_LISTS_PER_SECOND = 0.07 + 8 / 600 + 3 / BATCH_LOOK_SECONDS
IDLE_S3_GETS_PER_SECOND = 1.05 + 1 / 600 + 2 / BATCH_LOOK_SECONDS
IDLE_LOG_GB = 0.05
#: Images of a release, without what releases share.
_IMAGES_GB = 1.0
#: Of an answer: how long a function of 1 GB works for it, the queue's answer included, and what travels.
_SECONDS_PER_REQUEST, _KB_PER_PREDICTION, _LOG_KB_PER_REQUEST = 0.05, 0.3, 0.4
#: How long it works for a look for batch jobs that finds none: an assumption.
_SECONDS_PER_LOOK = 0.2
#: Send, a tenth of a batch received and deleted.
_SQS_PER_REQUEST = 1.2
#: A function that is asked all the time looks for moved aliases and keys once a second.
_BUSY_REQUESTS_PER_DAY = 10_000
#: Start of the machine and the wait for more work, before and after a training.
_MINUTES_AROUND_TRAINING = 3.0
_TRAINER_TYPE, _TRAINER_GB = "c7i.large", 20


@dataclass(frozen=True)
class Line:
    """One line of a bill. ``covered`` is the part that AWS's standing allowances pay, if nobody else uses them."""

    what: str
    quantity: str
    usd: float
    covered: float = 0.0

    @property
    def due(self) -> float:
        """What is left to pay with the allowances."""
        return self.usd - self.covered


def bill(choices: Choices, load: Load, prices: Prices) -> list[Line]:
    """Return what a month costs, line by line; lines of nothing are left out."""
    return [line for line in (*_standing(choices, prices), *_used(choices, load, prices)) if line.usd > 0]


def fargate(prices: Prices) -> float:
    """Return the month of the same services on Fargate: four tasks of 0.25 processors and 0.5 GB, with addresses."""
    task = 0.25 * prices.hour["fargate_vcpu"] + 0.5 * prices.hour["fargate_gb"] + prices.hour["ipv4"]
    return 4 * task * HOURS_PER_MONTH


def _standing(c: Choices, p: Prices) -> Iterator[Line]:
    """Yield what costs while nothing happens."""
    zones = 2 if c.multi_az else 1
    yield _hours(f"Postgres, {c.database_class}", zones, p.per_hour(c.database_class))
    yield Line("Postgres, storage", f"{zones * c.database_gb} GB", zones * c.database_gb * p.month["rds_gb"])
    yield _hours(f"services, {c.control_type}", 1, p.per_hour(c.control_type))
    yield Line("services, disk", f"{c.control_gb} GB", c.control_gb * p.month["ebs_gb"])
    yield _hours("services, public IPv4", 1, p.hour["ipv4"])
    if c.private_trainers == "nat":
        yield _hours("NAT gateway and its IPv4", 1, p.hour["nat_gateway"] + p.hour["ipv4"])
    if c.private_trainers == "endpoints":
        yield _hours("VPC endpoints", ENDPOINTS, p.hour["vpc_endpoint"])
    yield Line("secret of Postgres", "1", p.month["secret"])
    yield Line("images", f"{_IMAGES_GB:g} GB", _IMAGES_GB * p.month["ecr_gb"])
    yield _allowed("alarms", ALARM_METRICS, "metrics", p.month["alarm_metric"], p.free["alarm_metric"])
    yield _allowed("metric of failed runs", CUSTOM_METRICS, "metric", p.month["custom_metric"], p.free["custom_metric"])
    yield _allowed("dashboard", int(c.dashboard), "page", p.month["dashboard"], p.free["dashboard"])


def _used(c: Choices, load: Load, p: Prices) -> Iterator[Line]:
    """Yield what costs by use, the services' own looking included."""
    predictions = load.predictions_per_day * DAYS_PER_MONTH
    requests = predictions / load.rows_per_request
    sqs = IDLE_SQS_PER_SECOND * _SECONDS_PER_MONTH + requests * _SQS_PER_REQUEST
    yield _millions("queues", sqs, "requests", p.million["sqs_request"], p.free["sqs_request"])
    busy = min(1.0, load.predictions_per_day / load.rows_per_request / _BUSY_REQUESTS_PER_DAY)
    gets = (IDLE_S3_GETS_PER_SECOND + 2 * busy) * _SECONDS_PER_MONTH
    yield _millions("bucket, reads", gets, "GET", p.million["s3_get"])
    yield _millions("bucket, looks", IDLE_S3_LISTS_PER_SECOND * _SECONDS_PER_MONTH, "LIST", p.million["s3_put"])
    looks = _SECONDS_PER_MONTH / BATCH_LOOK_SECONDS
    per_look = p.million["lambda_request"] + _gb_seconds(c, _SECONDS_PER_LOOK) * p.million["lambda_gb_second"]
    yield _millions("looks for batch jobs", looks, "events", per_look)
    yield Line("bucket, storage", f"{load.stored_gb:g} GB", load.stored_gb * p.month["s3_gb"])
    yield _millions("predictor, requests", requests, "requests", p.million["lambda_request"], p.free["lambda_request"])
    gb_seconds = requests * _gb_seconds(c, _SECONDS_PER_REQUEST)
    yield _millions(
        "predictor, time", gb_seconds, "GB-seconds", p.million["lambda_gb_second"], p.free["lambda_gb_second"]
    )
    yield _gigabytes("answers, out", predictions * _KB_PER_PREDICTION / 1e6, p.gb["out"], p.free["out"])
    logs = IDLE_LOG_GB + requests * _LOG_KB_PER_REQUEST / 1e6
    yield _gigabytes("logs", logs, p.gb["log"] + p.month["log_stored_gb"], p.free["log"])
    yield from _trainers(c, load, p)


def _gb_seconds(c: Choices, seconds: float) -> float:
    return seconds * c.predictor_memory_mb / 1024


def _trainers(c: Choices, load: Load, p: Prices) -> Iterator[Line]:
    minutes = load.minutes_per_training + _MINUTES_AROUND_TRAINING if load.trainings_per_day else 0.0
    hours = load.trainings_per_day * DAYS_PER_MONTH * minutes / 60
    spot, often = p.assumed["spot_share_of_price"], p.assumed["spot_share_of_time"]
    per_hour = p.per_hour(_TRAINER_TYPE) * (spot * often + 1 - often)
    yield Line(f"trainers, {_TRAINER_TYPE}", f"{hours:,.0f} h", hours * per_hour)
    around = _TRAINER_GB * p.month["ebs_gb"] / HOURS_PER_MONTH
    around += p.hour["ipv4"] if c.private_trainers == "none" else 0.0
    yield Line("trainers, disk and IPv4", f"{hours:,.0f} h", hours * around)


def _hours(what: str, count: int, price: float) -> Line:
    times = f"{count} x " if count > 1 else ""
    return Line(what, f"{times}{HOURS_PER_MONTH} h", count * HOURS_PER_MONTH * price)


def _allowed(what: str, count: float, unit: str, price: float, free: float) -> Line:
    return Line(what, f"{count:,.4g} {unit}", count * price, min(count, free) * price)


def _millions(what: str, count: float, unit: str, price: float, free: float = 0.0) -> Line:
    return Line(what, f"{count / 1e6:,.2f} million {unit}", count * price / 1e6, min(count, free) * price / 1e6)


def _gigabytes(what: str, gigabytes: float, price: float, free: float) -> Line:
    return Line(what, f"{gigabytes:,.2f} GB", gigabytes * price, min(gigabytes, free) * price)
