"""Every metric of every service, declared once: nothing else can be counted or shown (:mod:`.numbers`)."""

from __future__ import annotations

from trainyard.frozen import dataclass

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
#: The services that answer on /metrics.
SERVICES = ("ingest", "scheduler", "predictor", "console")
#: Upper bounds of a histogram's buckets, in seconds: from one row of a model in memory to a large upload.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True)
class Metric:
    """One metric. A histogram's ``labels`` are those besides ``le``; ``unit`` is what one of its numbers counts.

    ``counted``: by the service's own processes, from zero; else it is read at the scrape, from where its truth is.
    """

    name: str
    kind: str
    unit: str
    labels: tuple[str, ...]
    services: tuple[str, ...]
    meaning: str
    counted: bool = True


#: Whose own numbers stand in the database and at the queues.
_READ = ("ingest", "scheduler")
#: What one service alone tells: name, kind, unit, labels, meaning.
_OWN: dict[str, tuple[tuple[str, str, str, str, str], ...]] = {
    "ingest": (
        ("trainyard_ingest_batches_total", COUNTER, "batches", "source state", "Batches in the ledger."),
        ("trainyard_ingest_rows_total", COUNTER, "rows", "source", "Rows committed."),
        ("trainyard_ingest_rejected_rows_total", COUNTER, "rows", "source", "Rows rejected from committed batches."),
    ),
    "scheduler": (
        ("trainyard_outbox_messages", GAUGE, "messages", "queue", "Messages that no queue has taken yet."),
        ("trainyard_outbox_oldest_seconds", GAUGE, "seconds", "", "Age of the oldest of them, 0 without one."),
        (
            "trainyard_queue_messages",
            GAUGE,
            "messages",
            "queue state",
            "Messages of a queue: visible, in_flight (being read), delayed, or dead (in its dead-letter queue).",
        ),
        (
            "trainyard_requests_open",
            GAUGE,
            "requests",
            "state",
            "Training requests, queued (the backlog) and running.",
        ),
        (
            "trainyard_request_oldest_seconds",
            GAUGE,
            "seconds",
            "",
            "How long the oldest queued request has waited, 0 without one.",
        ),
        ("trainyard_requests_ended_total", COUNTER, "requests", "state", "Training requests that ended, by how."),
        ("trainyard_runs_running", GAUGE, "runs", "", "Runs that somebody works on."),
        ("trainyard_runs_ended_total", COUNTER, "runs", "state", "Runs that ended, by how."),
        ("trainyard_lease_losses_total", COUNTER, "runs", "", "Runs whose worker let its lease run out."),
        ("trainyard_fleet_instances", GAUGE, "instances", "state", "Instances asked for, and launched."),
    ),
    "predictor": (
        ("trainyard_predictions_total", COUNTER, "rows", "model version", "Rows predicted."),
        (
            "trainyard_predictions_not_logged_total",
            COUNTER,
            "rows",
            "",
            "Rows answered without a record in the prediction log.",
        ),
        (
            "trainyard_challenger_declined_total",
            COUNTER,
            "rows",
            "",
            "Rows of the challenger's share that the champion answered, because the challenger could not.",
        ),
        (
            "trainyard_shadow_rows_total",
            COUNTER,
            "rows",
            "outcome",
            "Answered rows that the shadow was to score as well: scored, dropped for lack of room or queue, or failed.",
        ),
        ("trainyard_prediction_log_sent_total", COUNTER, "records", "", "Records that the queue has accepted."),
        (
            "trainyard_prediction_log_failures_total",
            COUNTER,
            "attempts",
            "",
            "Attempts to send records that the queue did not take.",
        ),
        (
            "trainyard_prediction_log_waiting_bytes",
            GAUGE,
            "bytes",
            "",
            "Bytes of records on local disk that the queue has not taken.",
        ),
        (
            "trainyard_model_errors_total",
            COUNTER,
            "checks",
            "kind",
            "Checks that left the last good version serving, by what failed: pointer, artifact or store.",
        ),
        (
            "trainyard_model_refused",
            GAUGE,
            "1 or 0",
            "model alias",
            "1 while the scraped worker refuses what an alias points at and answers with the last good version.",
        ),
        ("trainyard_model_version", GAUGE, "version", "model alias", "Version that the scraped worker answers with."),
    ),
}
METRICS = (
    Metric(
        "trainyard_http_requests_total",
        COUNTER,
        "requests",
        ("service", "method", "route", "status"),
        SERVICES,
        "Requests answered.",
    ),
    Metric("trainyard_http_request_seconds", HISTOGRAM, "seconds", ("service", "route"), SERVICES, "Time to answer."),
    Metric(
        "trainyard_source_up",
        GAUGE,
        "1 or 0",
        ("source",),
        ("ingest", "scheduler"),
        "1 while what stands behind the other numbers of a scrape answers: database, queues. While one does not, its"
        " numbers are missing.",
    ),
    *(
        Metric(name, kind, unit, tuple(labels.split()), (service,), meaning, service not in _READ)
        for service, own in _OWN.items()
        for name, kind, unit, labels, meaning in own
    ),
)


def of_service(service: str) -> dict[str, Metric]:
    """Return what a service may show, by name."""
    return {metric.name: metric for metric in METRICS if service in metric.services}
