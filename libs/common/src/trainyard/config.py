"""Every setting of every service, declared once.

Entry modules call :func:`load` with the environment; nothing else reads it. ``docs/settings.md`` is generated from
:data:`SETTINGS`, and a test keeps the two equal.
"""

from __future__ import annotations

import functools
import math
import re

from trainyard.errors import ConfigError
from trainyard.frozen import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path
    from typing import Any


_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True)
class Setting:
    """One environment variable: how it is read, what it is when absent, what it means."""

    field: str
    variable: str
    read: Callable[[str], Any]
    default: str | None
    meaning: str
    secret: bool = False


def _takes(words: str) -> Callable[[Callable[[str], Any]], Callable[[str], Any]]:
    """Let a reader say in ``words`` what it takes, whatever went wrong: the words never hold the value."""

    def decorate(read: Callable[[str], Any]) -> Callable[[str], Any]:
        @functools.wraps(read)
        def checked(value: str) -> Any:
            try:
                return read(value)
            except (ValueError, KeyError) as e:
                raise ValueError(words) from e

        return checked

    return decorate


def _text(value: str) -> str:
    return value


def _at_least(least: int) -> Callable[[str], int]:
    @_takes(f"a whole number, {least} or more")
    def read(value: str) -> int:
        if (number := int(value)) < least:
            raise ValueError(f"{number} is less than {least}")
        return number

    return read


@_takes("a whole number from 0 to 65,535")
def _port(value: str) -> int:
    if not 0 <= (number := int(value)) <= 65_535:
        raise ValueError(f"{number} is no port")
    return number


@_takes("a number of seconds, more than 0")
def _seconds(value: str) -> float:
    """Read a wait of some length: a loop that pauses for 0 s takes a whole processor."""
    if not (math.isfinite(number := float(value)) and number > 0):
        raise ValueError(f"{number} is no length of time")
    return number


@_takes("a number of days, more than 0, at most 36,500")
def _days(value: str) -> float:
    """Read for how long records are kept; a century stands for always, what is longer the database cannot count."""
    if not 0 < (number := float(value)) <= 36_500:
        raise ValueError(f"{number} is not between 0 and 36,500 days")
    return number


@_takes(f"one of {', '.join(_LEVELS)}")
def _level(value: str) -> str:
    return {name: name for name in _LEVELS}[value.upper()]


@_takes("open or closed")
def _log_policy(value: str) -> str:
    return {name: name for name in ("open", "closed")}[value.lower()]


@_takes("an address of Postgres such as postgresql://user:password@host:5432/name, or nothing")
def _postgres(value: str) -> str | None:
    if not value:
        return None
    from urllib.parse import urlsplit  # noqa: PLC0415 - its import costs a cold start 2 ms

    parts = urlsplit(value)
    if parts.scheme not in {"postgresql", "postgresql+psycopg2"} or parts.port == 0:
        raise ValueError("not an address of Postgres")
    # What everybody else writes means another driver to SQLAlchemy.
    return f"postgresql+psycopg2{value.removeprefix(parts.scheme)}"


@_takes("one of 1, true, yes, 0, false, no")
def _flag(value: str) -> bool:
    return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[value.lower()]


@_takes("one word or more, between spaces or commas")
def _words(value: str) -> tuple[str, ...]:
    if not (words := tuple(value.replace(",", " ").split())):
        raise ValueError("there is no word in it")
    return words


def _command(value: str) -> tuple[str, ...]:
    return tuple(value.split())


def _some_words(value: str) -> tuple[str, ...]:
    return tuple(value.replace(",", " ").split())


@_takes("a number, 0 or more")
def _amount(value: str) -> float:
    """Read a number of which 0 means none."""
    if not (math.isfinite(number := float(value)) and number >= 0):
        raise ValueError(f"{number} is no amount")
    return number


@_takes("a number from 0 to 1")
def _share(value: str) -> float:
    if not 0 <= (number := float(value)) <= 1:
        raise ValueError(f"{number} is no share")
    return number


def _optional(value: str) -> str | None:
    return value or None


@_takes("a role of small letters, digits and _, or nothing")
def _role(value: str) -> str | None:
    if value and re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", value) is None:
        raise ValueError(f"{value!r} is no name of a role")
    return value or None


@_takes("a number of seconds, more than 0, or nothing")
def _optional_seconds(value: str) -> float | None:
    return _seconds(value) if value else None


def _path(value: str) -> Path:
    from pathlib import Path  # noqa: PLC0415 - its import costs a cold start 4 ms

    return Path(value).expanduser()


def _optional_path(value: str) -> Path | None:
    return _path(value) if value else None


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "env",
        "TRAINYARD_ENV",
        _text,
        "dev",
        "Name of this environment; tags instances, and `test` arms the crash points.",
    ),
    Setting("data_dir", "TRAINYARD_DATA_DIR", _path, "~/.trainyard", "Where the embedded stack keeps everything."),
    Setting(
        "log_level",
        "TRAINYARD_LOG_LEVEL",
        _level,
        "INFO",
        "Least severe log level that is written: DEBUG, INFO, WARNING …",
    ),
    Setting(
        "database_url",
        "TRAINYARD_DATABASE_URL",
        _postgres,
        "",
        "Postgres, as postgresql+psycopg2://user:password@host:port/name.",
        True,
    ),
    Setting(
        "ingest_role",
        "TRAINYARD_INGEST_ROLE",
        _role,
        "trainyard_ingest",
        "Role that ingest and its worker take in the database (docs/migrations.md); empty: as whom they log in.",
    ),
    Setting(
        "migrate_lock_seconds",
        "TRAINYARD_MIGRATE_LOCK_SECONDS",
        _seconds,
        "4",
        "How long a migration waits for a lock before it lets everybody else pass and tries again, in seconds.",
    ),
    Setting(
        "migrate_statement_seconds",
        "TRAINYARD_MIGRATE_STATEMENT_SECONDS",
        _seconds,
        "60",
        "How long one statement of a migration may take, in seconds, unless the migration names a time of its own.",
    ),
    Setting(
        "migrate_tries",
        "TRAINYARD_MIGRATE_TRIES",
        _at_least(1),
        "5",
        "How often a migration that does not get a lock is tried before the command gives up with exit code 3.",
    ),
    Setting("aws_endpoint_url", "AWS_ENDPOINT_URL", _optional, "", "Address of the AWS API; empty means AWS itself."),
    Setting("aws_region", "AWS_DEFAULT_REGION", _text, "us-east-1", "AWS region."),
    Setting("bucket", "TRAINYARD_BUCKET", _text, "trainyard", "Bucket of artifacts, aliases and landing files."),
    Setting("queue_training", "TRAINYARD_QUEUE_TRAINING", _text, "trainyard-training", "Queue of training requests."),
    Setting("queue_arrived", "TRAINYARD_QUEUE_ARRIVED", _text, "trainyard-arrived", "Queue of 'data arrived'."),
    Setting(
        "queue_objects",
        "TRAINYARD_QUEUE_OBJECTS",
        _text,
        "trainyard-objects",
        "Queue of S3 notifications for landing/.",
    ),
    Setting(
        "queue_predictions",
        "TRAINYARD_QUEUE_PREDICTIONS",
        _text,
        "trainyard-predictions",
        "Queue of prediction logs and feedback events.",
    ),
    Setting(
        "queue_batch",
        "TRAINYARD_QUEUE_BATCH",
        _text,
        "trainyard-batch",
        "Queue of batch jobs, and of S3 notifications for batch/in/.",
    ),
    Setting(
        "allowed_hosts",
        "TRAINYARD_ALLOWED_HOSTS",
        _words,
        "127.0.0.1 localhost [::1]",
        "Host names the services answer to; * in the predictor: any.",
    ),
    Setting("router_port", "TRAINYARD_ROUTER_PORT", _port, "8080", "Port of the one address for everything."),
    Setting("ingest_port", "TRAINYARD_INGEST_PORT", _port, "8081", "Port of ingest."),
    Setting("scheduler_port", "TRAINYARD_SCHEDULER_PORT", _port, "8082", "Port of the scheduler."),
    Setting("predictor_port", "TRAINYARD_PREDICTOR_PORT", _port, "8083", "Port of the predictor."),
    Setting("console_port", "TRAINYARD_CONSOLE_PORT", _port, "8084", "Port of the console."),
    Setting("aws_port", "TRAINYARD_AWS_PORT", _port, "4566", "Port of the AWS emulator."),
    Setting("postgres_port", "TRAINYARD_POSTGRES_PORT", _port, "5432", "Port of the embedded Postgres."),
    Setting("imds_port", "TRAINYARD_IMDS_PORT", _port, "1338", "Port of the EC2 host's instance metadata service."),
    Setting("ingest_url", "TRAINYARD_INGEST_URL", _text, "http://127.0.0.1:8081", "Where the console finds ingest."),
    Setting(
        "scheduler_url",
        "TRAINYARD_SCHEDULER_URL",
        _text,
        "http://127.0.0.1:8082",
        "Where the console finds the scheduler.",
    ),
    Setting(
        "predictor_url",
        "TRAINYARD_PREDICTOR_URL",
        _text,
        "http://127.0.0.1:8083",
        "Where the console finds the predictor.",
    ),
    Setting(
        "console_dir",
        "TRAINYARD_CONSOLE_DIR",
        _path,
        "~/.trainyard/console",
        "Where the console keeps its sessions and finds one-time links; its processes share it.",
    ),
    Setting(
        "admin_key_file",
        "TRAINYARD_ADMIN_KEY_FILE",
        _optional_path,
        "",
        "File with the first admin API key; the scheduler registers it.",
    ),
    Setting(
        "spool_dir",
        "TRAINYARD_SPOOL_DIR",
        _path,
        "~/.trainyard/spool",
        "Where the predictor keeps prediction logs until SQS has them.",
    ),
    Setting(
        "alias_check_seconds",
        "TRAINYARD_ALIAS_CHECK_SECONDS",
        _seconds,
        "1",
        "How often the predictor looks for a moved alias, in seconds.",
    ),
    Setting(
        "publish_look_seconds",
        "TRAINYARD_PUBLISH_LOOK_SECONDS",
        _amount,
        "0",
        "How often the scheduler compares aliases and keys on S3 with the database though nothing changed there, in"
        " seconds; 0: every second.",
    ),
    Setting(
        "default_model",
        "TRAINYARD_DEFAULT_MODEL",
        _optional,
        "",
        "Model that /invocations means where a request names none, as model or model@alias; empty: the only one.",
    ),
    Setting(
        "sagemaker",
        "TRAINYARD_SAGEMAKER",
        _flag,
        "0",
        "Whether the predictor is a SageMaker container, as the command `serve` says (docs/protocols.md).",
    ),
    Setting(
        "invocations_keyless",
        "TRAINYARD_INVOCATIONS_KEYLESS",
        _flag,
        "0",
        "Whether /invocations takes requests without an API key: where SageMaker has asked IAM and passes no key on.",
    ),
    Setting(
        "model_cache_bytes",
        "TRAINYARD_MODEL_CACHE_BYTES",
        _at_least(1),
        "268435456",
        "Models that a predictor process holds, in bytes of their files; the least recently asked ones make room.",
    ),
    Setting(
        "models",
        "TRAINYARD_MODELS",
        _some_words,
        "",
        "The only models that a predictor answers for; empty: every one.",
    ),
    Setting(
        "prediction_log_policy",
        "TRAINYARD_PREDICTION_LOG_POLICY",
        _log_policy,
        "open",
        "What becomes of a prediction that cannot be logged. open: it is answered with logged: false; closed: 503.",
    ),
    Setting(
        "key_rate",
        "TRAINYARD_KEY_RATE",
        _amount,
        "0",
        "Requests per second that an API key may send to a predictor: to all processes of one gunicorn together, or to"
        " one environment of a Lambda function; 0: no limit.",
    ),
    Setting(
        "key_burst",
        "TRAINYARD_KEY_BURST",
        _at_least(1),
        "100",
        "Requests that an API key may send at once, where TRAINYARD_KEY_RATE is for the long run.",
    ),
    Setting(
        "request_seconds",
        "TRAINYARD_REQUEST_SECONDS",
        _seconds,
        "10",
        "Longest a prediction may take before it is answered with 504 and not logged, in seconds.",
    ),
    Setting(
        "poll_queues",
        "TRAINYARD_POLL_QUEUES",
        _some_words,
        "",
        "More queues that `python -m trainyard_predictor.poll` reads in Lambda's stead; their messages ask for"
        " predictions.",
    ),
    Setting(
        "batch_max_bytes",
        "TRAINYARD_BATCH_MAX_BYTES",
        _at_least(1),
        str(4 << 30),
        "Largest input of a batch job as it is stored, in bytes.",
    ),
    Setting(
        "batch_log_share",
        "TRAINYARD_BATCH_LOG_SHARE",
        _share,
        "0",
        "Share of the rows of batch jobs that goes to the prediction log where the job does not say, from 0 to 1.",
    ),
    Setting(
        "batch_lease_seconds",
        "TRAINYARD_BATCH_LEASE_SECONDS",
        _seconds,
        "60",
        "How soon another worker may take up a batch job after a crash, in seconds.",
    ),
    Setting(
        "batch_slice_seconds",
        "TRAINYARD_BATCH_SLICE_SECONDS",
        _seconds,
        "240",
        "How long a worker stays at one batch job before the next one has its turn, in seconds; in Lambda no longer"
        " than the function may run.",
    ),
    Setting(
        "batch_look_seconds",
        "TRAINYARD_BATCH_LOOK_SECONDS",
        _seconds,
        "30",
        "How often the poller looks for batch jobs that nobody works on, and files nobody told of, in seconds.",
    ),
    Setting(
        "landing_sweep_seconds",
        "TRAINYARD_LANDING_SWEEP_SECONDS",
        _seconds,
        "60",
        "How often landing/ is listed for files whose notification was lost, in seconds.",
    ),
    Setting(
        "pull_hosts",
        "TRAINYARD_PULL_HOSTS",
        _some_words,
        "",
        "Hosts, or host:port, that pull sources may reach though they are not public, or not on port 443 or 80.",
    ),
    Setting("pull_http", "TRAINYARD_PULL_HTTP", _flag, "0", "Whether URL sources may use http:// besides https://."),
    Setting(
        "pull_dir",
        "TRAINYARD_PULL_DIR",
        _optional_path,
        "",
        "Where SQLite databases that are sources may lie; else nowhere.",
    ),
    Setting(
        "pull_secrets",
        "TRAINYARD_PULL_SECRETS",
        _optional_path,
        "",
        "File with a line 'name host password' for each password of a source.",
    ),
    Setting(
        "pull_ca",
        "TRAINYARD_PULL_CA",
        _optional_path,
        "",
        "File with the certificate authorities that sources are checked by; else those of the package certifi.",
    ),
    Setting(
        "pull_most_bytes", "TRAINYARD_PULL_MOST_BYTES", _at_least(1), "4294967296", "Largest file of a URL source."
    ),
    Setting(
        "policy_tick_seconds",
        "TRAINYARD_POLICY_TICK_SECONDS",
        _seconds,
        "15",
        "How often every policy is evaluated even if no message came, in seconds.",
    ),
    Setting(
        "resend_seconds",
        "TRAINYARD_RESEND_SECONDS",
        _optional_seconds,
        "",
        "After how long an untouched queued request is sent again the first time, in seconds; doubles each time; empty:"
        " two leases.",
    ),
    Setting(
        "lease_seconds",
        "TRAINYARD_LEASE_SECONDS",
        _at_least(1),
        "60",
        "Length of a trainer's lease on a request, in seconds: how soon another one takes over after a crash.",
    ),
    Setting(
        "message_seconds",
        "TRAINYARD_MESSAGE_SECONDS",
        _at_least(1),
        "60",
        "How long ingest and scheduler may work on messages, in seconds: how soon they come again after a crash.",
    ),
    Setting(
        "beat_seconds",
        "TRAINYARD_BEAT_SECONDS",
        _optional_seconds,
        "",
        "How often a trainer renews its lease and asks whether to cancel, in seconds; empty: a third of the lease.",
    ),
    Setting(
        "spot_poll_seconds",
        "TRAINYARD_SPOT_POLL_SECONDS",
        _seconds,
        "5",
        "How often a trainer asks the instance metadata service for a spot notice, in seconds.",
    ),
    Setting(
        "training_memory_mb",
        "TRAINYARD_TRAINING_MEMORY_MB",
        _at_least(0),
        "0",
        "Address space a training process may take, in MB; 0: nine tenths of the machine's memory, where it is known.",
    ),
    Setting(
        "training_child",
        "TRAINYARD_TRAINING_CHILD",
        _command,
        "",
        "Command of the training process, without quotes; empty: the trainer's own. Refused unless TRAINYARD_ENV=test.",
    ),
    Setting(
        "idle_seconds",
        "TRAINYARD_IDLE_SECONDS",
        _seconds,
        "60",
        "How long a trainer without work waits before it ends its instance, in seconds.",
    ),
    Setting("fleet_max", "TRAINYARD_FLEET_MAX", _at_least(0), "2", "Most instances the fleet may have at once."),
    Setting(
        "instance_types",
        "TRAINYARD_INSTANCE_TYPES",
        _words,
        "c7i.large c6i.large m6i.large",
        "Instance types of trainers, best first.",
    ),
    Setting("spot", "TRAINYARD_SPOT", _flag, "true", "Try spot capacity before on-demand."),
    Setting(
        "spot_patience_seconds",
        "TRAINYARD_SPOT_PATIENCE_SECONDS",
        _amount,
        "0",
        "On-demand capacity only once a request has waited so long for spot, in seconds; 0: at once.",
    ),
    Setting(
        "subnets",
        "TRAINYARD_SUBNETS",
        _some_words,
        "",
        "Subnets of trainers; empty: see TRAINYARD_ZONES.",
    ),
    Setting(
        "zones",
        "TRAINYARD_ZONES",
        _some_words,
        "",
        "Availability zones of trainers where no subnets are named; empty: EC2 chooses.",
    ),
    Setting(
        "target_wait_seconds",
        "TRAINYARD_TARGET_WAIT_SECONDS",
        _seconds,
        "10",
        "How long a request may wait for an instance, in seconds: shorter means more instances at once.",
    ),
    Setting(
        "boot_seconds",
        "TRAINYARD_BOOT_SECONDS",
        _seconds,
        "300",
        "An instance whose trainer was not seen so long after its launch is ended, in seconds.",
    ),
    Setting(
        "silent_seconds",
        "TRAINYARD_SILENT_SECONDS",
        _seconds,
        "180",
        "An instance whose trainer has been silent for so long is ended, in seconds.",
    ),
    Setting(
        "fleet_poll_seconds",
        "TRAINYARD_FLEET_POLL_SECONDS",
        _seconds,
        "30",
        "Pause between the three looks that must find no work before idle instances are ended, in seconds.",
    ),
    Setting(
        "fleet_max_hours_per_day",
        "TRAINYARD_FLEET_MAX_HOURS_PER_DAY",
        _amount,
        "48",
        "No launch once the day's (UTC) instance hours have reached this; 0: no limit.",
    ),
    Setting(
        "fleet_max_usd_per_day",
        "TRAINYARD_FLEET_MAX_USD_PER_DAY",
        _amount,
        "50",
        "No launch once the day's (UTC) instances have cost this many US dollars; 0: no limit.",
    ),
    Setting(
        "prices",
        "TRAINYARD_PRICES",
        _optional_path,
        "",
        "File of on-demand prices (docs/fleet.md); empty: the table in the package.",
    ),
    Setting(
        "trainer_ami",
        "TRAINYARD_TRAINER_AMI",
        _text,
        "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64",
        "Machine image in the launch template, used when the template is made.",
    ),
    Setting(
        "trainer_image",
        "TRAINYARD_TRAINER_IMAGE",
        _optional,
        "",
        "Container image of the trainer in the launch template; empty: TRAINYARD_TRAINER_COMMAND.",
    ),
    Setting(
        "trainer_command",
        "TRAINYARD_TRAINER_COMMAND",
        _text,
        "/opt/trainyard/bin/python -m trainyard_trainer.main",
        "Shell command that starts the trainer on a machine image of your own.",
    ),
    Setting(
        "trainer_profile",
        "TRAINYARD_TRAINER_PROFILE",
        _optional,
        "",
        "Name of the instance profile in the launch template; empty: none.",
    ),
    Setting(
        "trainer_security_groups",
        "TRAINYARD_TRAINER_SECURITY_GROUPS",
        _some_words,
        "",
        "Security group ids in the launch template; empty: the VPC's default group.",
    ),
    Setting(
        "trainer_database_secret",
        "TRAINYARD_TRAINER_DATABASE_SECRET",
        _optional,
        "",
        "Secret in Secrets Manager that holds TRAINYARD_DATABASE_URL for trainers; its name or ARN, not its value.",
    ),
    Setting(
        "instance_id",
        "TRAINYARD_INSTANCE_ID",
        _optional,
        "",
        "Instance a trainer runs on; empty: ask the instance metadata service, else run without one.",
    ),
    Setting(
        "imds_url",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        _text,
        "http://169.254.169.254",
        "Instance metadata service of EC2.",
    ),
    Setting(
        "metrics_dir",
        "TRAINYARD_METRICS_DIR",
        _optional_path,
        "",
        "Where the worker processes of a service share their numbers for /metrics; empty: each tells its own alone.",
    ),
    Setting(
        "work_dir",
        "TRAINYARD_WORK_DIR",
        _path,
        "~/.trainyard/work",
        "Where a trainer keeps a run's files while it works, and ingest bodies that have to be on disk.",
    ),
    Setting(
        "max_upload_bytes",
        "TRAINYARD_MAX_UPLOAD_BYTES",
        _at_least(1),
        str(4 << 30),
        "Largest body of rows as sent, in bytes; a JSON array may have 64 MiB at most.",
    ),
    Setting(
        "keep_events_days",
        "TRAINYARD_KEEP_EVENTS_DAYS",
        _days,
        "7",
        "How long events stay, in days; the newest 10,000 stay in any case.",
    ),
    Setting(
        "keep_messages_days",
        "TRAINYARD_KEEP_MESSAGES_DAYS",
        _days,
        "1",
        "How long messages of the outbox stay after they were sent, in days.",
    ),
    Setting(
        "keep_answers_days",
        "TRAINYARD_KEEP_ANSWERS_DAYS",
        _days,
        "7",
        "How long the answer to a POST is repeated to its Idempotency-Key, in days.",
    ),
    Setting(
        "keep_decisions_days",
        "TRAINYARD_KEEP_DECISIONS_DAYS",
        _days,
        "90",
        "How long decisions of policies stay, in days; the newest 100 of each model stay in any case.",
    ),
    Setting(
        "keep_launches_days",
        "TRAINYARD_KEEP_LAUNCHES_DAYS",
        _days,
        "90",
        "How long launches of the fleet stay in its ledger after they ended, in days.",
    ),
    Setting(
        "keep_workers_days",
        "TRAINYARD_KEEP_WORKERS_DAYS",
        _days,
        "1",
        "How long trainers stay in the list after their last word, in days.",
    ),
    Setting(
        "keep_run_logs_days",
        "TRAINYARD_KEEP_RUN_LOGS_DAYS",
        _days,
        "90",
        "How long the lines that training runs have said stay, in days.",
    ),
    Setting(
        "copy_most_mb",
        "TRAINYARD_COPY_MOST_MB",
        _at_least(0),
        "16",
        "Live artifacts up to this size have a copy in the database, from which they are put back into a bucket that"
        " lost them; 0: no artifact has a copy anywhere, for buckets that lose nothing.",
    ),
    Setting(
        "copies_dir",
        "TRAINYARD_COPIES_DIR",
        _optional_path,
        "",
        "Directory for copies of larger artifacts, which trainyard_scheduler.main writes; empty: these have none.",
    ),
    Setting(
        "keep_windows_days",
        "TRAINYARD_KEEP_WINDOWS_DAYS",
        _days,
        "90",
        "How long watched windows, and alarms since they were settled, stay, in days; each version's newest stay in any"
        " case.",
    ),
    Setting(
        "keep_predictions_days",
        "TRAINYARD_KEEP_PREDICTIONS_DAYS",
        _days,
        "400",
        "How long predictions and their labels stay in the log, in days; they go by whole months (UTC) of logging.",
    ),
    Setting(
        "keep_batch_days",
        "TRAINYARD_KEEP_BATCH_DAYS",
        _days,
        "30",
        "How long batch jobs and what they made stay, in days; files in batch/in/ stay until somebody removes them.",
    ),
    Setting(
        "config_dir",
        "TRAINYARD_CONFIG_DIR",
        _path,
        "~/.config/trainyard",
        "Where the command line keeps the environments of `trainyard env`.",
    ),
    Setting("url", "TRAINYARD_URL", _optional, "", "Address that the client talks to; empty: the embedded stack's."),
    Setting("api_key", "TRAINYARD_API_KEY", _optional, "", "API key that the client sends.", True),
    Setting("demo_seed", "TRAINYARD_DEMO_SEED", _at_least(0), "2013", "Which flights the demo draws."),
)


@dataclass(frozen=True)
class Config:
    """The settings as read; one field for each entry of :data:`SETTINGS`."""

    env: str
    data_dir: Path
    log_level: str
    database_url: str | None
    ingest_role: str | None
    migrate_lock_seconds: float
    migrate_statement_seconds: float
    migrate_tries: int
    aws_endpoint_url: str | None
    aws_region: str
    bucket: str
    queue_training: str
    queue_arrived: str
    queue_objects: str
    queue_predictions: str
    queue_batch: str
    allowed_hosts: tuple[str, ...]
    router_port: int
    ingest_port: int
    scheduler_port: int
    predictor_port: int
    console_port: int
    aws_port: int
    postgres_port: int
    imds_port: int
    ingest_url: str
    scheduler_url: str
    predictor_url: str
    console_dir: Path
    admin_key_file: Path | None
    spool_dir: Path
    alias_check_seconds: float
    publish_look_seconds: float
    default_model: str | None
    sagemaker: bool
    invocations_keyless: bool
    model_cache_bytes: int
    models: tuple[str, ...]
    prediction_log_policy: str
    key_rate: float
    key_burst: int
    request_seconds: float
    poll_queues: tuple[str, ...]
    batch_max_bytes: int
    batch_log_share: float
    batch_lease_seconds: float
    batch_slice_seconds: float
    batch_look_seconds: float
    landing_sweep_seconds: float
    pull_hosts: tuple[str, ...]
    pull_http: bool
    pull_dir: Path | None
    pull_secrets: Path | None
    pull_ca: Path | None
    pull_most_bytes: int
    policy_tick_seconds: float
    resend_seconds: float | None
    lease_seconds: int
    message_seconds: int
    beat_seconds: float | None
    spot_poll_seconds: float
    training_memory_mb: int
    training_child: tuple[str, ...]
    idle_seconds: float
    fleet_max: int
    instance_types: tuple[str, ...]
    spot: bool
    spot_patience_seconds: float
    subnets: tuple[str, ...]
    zones: tuple[str, ...]
    target_wait_seconds: float
    boot_seconds: float
    silent_seconds: float
    fleet_poll_seconds: float
    fleet_max_hours_per_day: float
    fleet_max_usd_per_day: float
    prices: Path | None
    trainer_ami: str
    trainer_image: str | None
    trainer_command: str
    trainer_profile: str | None
    trainer_security_groups: tuple[str, ...]
    trainer_database_secret: str | None
    instance_id: str | None
    imds_url: str
    metrics_dir: Path | None
    work_dir: Path
    max_upload_bytes: int
    keep_events_days: float
    keep_messages_days: float
    keep_answers_days: float
    keep_decisions_days: float
    keep_launches_days: float
    keep_workers_days: float
    keep_run_logs_days: float
    copy_most_mb: int
    copies_dir: Path | None
    keep_windows_days: float
    keep_predictions_days: float
    keep_batch_days: float
    config_dir: Path
    url: str | None
    api_key: str | None
    demo_seed: int

    @property
    def copy_most_bytes(self) -> int:
        """Up to which size an artifact is copied into the database."""
        return self.copy_most_mb << 20

    @property
    def first_resend_seconds(self) -> float:
        """After how long a request that nobody took is sent again the first time: as set, else two leases."""
        return 2.0 * self.lease_seconds if self.resend_seconds is None else self.resend_seconds

    def require_database(self) -> str:
        """Return the database URL.

        Raises:
            ConfigError: it is not set.
        """
        if self.database_url is None:
            raise ConfigError("TRAINYARD_DATABASE_URL is not set; give the address of Postgres")
        return self.database_url


def load(environ: Mapping[str, str], *, only: Collection[str] | None = None) -> Config:
    """Read every setting from ``environ``; with ``only``, those fields alone, and no others can be asked for.

    Raises:
        ConfigError: a value cannot be read; names the variable, and what it takes.
    """
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        if only is not None and setting.field not in only:
            continue
        raw = environ.get(setting.variable, setting.default or "")
        try:
            values[setting.field] = setting.read(raw)
        except ValueError as e:
            shown = "<secret>" if setting.secret else repr(raw)
            raise ConfigError(f"{setting.variable}={shown} cannot be read: expected {e}") from e
    if only is None:
        return Config(**values)
    part = Config.__new__(Config)
    part.__dict__.update(values)
    return part


def redact_url(url: str) -> str:
    """Return ``url`` without its password, for logs and error messages."""
    from urllib.parse import urlsplit  # noqa: PLC0415 - its import costs a cold start 2 ms

    parts = urlsplit(url)
    return (
        parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":***@")).geturl() if parts.password else url
    )
