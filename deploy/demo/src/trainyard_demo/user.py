"""What a user of Trainyard does, with public means only: the SDK over HTTP, and S3 by boto3 as any program would."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config as BotoConfig

from trainyard_client import ApiError, Client
from trainyard_demo.data.flights import EVENT_TIME, FEATURES, KEY, LABEL
from trainyard_demo.data.render import as_csv, as_ndjson
from trainyard_demo.errors import DemoError
from trainyard_demo.plan import DATASET, MODEL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainyard.clock import Clock
    from trainyard_demo.stage import Stage

    Row = dict[str, Any]
    Json = dict[str, Any]

_BATCH = 1_000
_OTHER_PROCESSES_SECONDS = 1.3
_LOOK_SECONDS = 0.2


@dataclass
class Asked:
    """Predictions of one month as they were answered over HTTP: flight, probability and version by prediction id."""

    flight: dict[str, str] = field(default_factory=dict)
    late: dict[str, float] = field(default_factory=dict)
    version: dict[str, int] = field(default_factory=dict)

    @property
    def versions(self) -> list[int]:
        """Every version that answered, in order."""
        return sorted(set(self.version.values()))


class User:
    """One user with an API key and access to the bucket."""

    def __init__(self, client: Client, stage: Stage, clock: Clock) -> None:
        self.client = client
        self._clock = clock
        self._known_champion: int | None = None
        self._bucket = stage.bucket
        self._s3 = boto3.client(
            "s3",
            endpoint_url=stage.aws_endpoint_url,
            region_name=stage.aws_region,
            aws_access_key_id="test",  # the emulator takes any
            aws_secret_access_key="test",  # noqa: S106
            config=BotoConfig(connect_timeout=5, read_timeout=30, s3={"addressing_style": "path"}),
        )

    def create_dataset(self, sample: Sequence[Row]) -> Json:
        """Create the dataset from the columns that a file suggests, and say what some of them are for."""
        columns = self.client.infer(DATASET, as_csv(sample), "text/csv")
        roles = {KEY: "key", EVENT_TIME: "event_time", LABEL: "label"}
        for column in columns:
            column["role"] = roles.get(column["name"], "feature")
            column["nullable"] = column["role"] == "feature"
        return self.client.create_dataset(DATASET, columns)

    def ask(self, rows: Sequence[Row], *, champion: int, patience: float) -> Asked:
        """Ask for a prediction for each flight, with nothing but its features.

        The first request waits until the predictor answers with the champion: it looks for a new one every second.

        Raises:
            DemoError: the champion does not answer in time.
        """
        self._wait_for_champion(rows[0], champion, patience)
        asked = Asked()
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            answer = self.client.predict(MODEL, [{name: row[name] for name in FEATURES} for row in batch])
            for row, answered in zip(batch, answer["rows"], strict=True):
                asked.flight[answered["prediction_id"]] = row[KEY]
                asked.late[answered["prediction_id"]] = answered["probabilities"]["true"]
                asked.version[answered["prediction_id"]] = answer["version"]
        return asked

    def push(self, rows: Sequence[Row]) -> Json:
        """Send rows over HTTP as NDJSON and return their batch."""
        return self.client.upload(DATASET, io.BytesIO(as_ndjson(rows)), "application/x-ndjson")

    def drop(self, rows: Sequence[Row], name: str, *, patience: float) -> Json:
        """Put rows as a CSV file into the bucket and return the batch that comes of it.

        Raises:
            DemoError: no batch, or a refused one.
        """
        key = f"landing/{DATASET}/{name}.csv"
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=as_csv(rows))
        batch: Json = self.until(
            lambda: next((b for b in self.client.batches(DATASET) if name in b["source_name"]), None),
            seconds=patience,
            what=f"a batch from s3://{self._bucket}/{key}",
        )
        if batch["state"] != "committed":
            raise DemoError(f"the file {key} was refused: {batch['reason']}")
        return batch

    def tell_outcomes(self, asked: Asked, truth: dict[str, bool]) -> int:
        """Give the true label of each prediction that was asked; return how many were taken."""
        items = [{"prediction_id": ident, "label": truth[flight]} for ident, flight in asked.flight.items()]
        taken = 0
        for start in range(0, len(items), 5 * _BATCH):
            # accepted counts those too that are parked until their prediction is in the log
            taken += self.client.feedback(items[start : start + 5 * _BATCH])["accepted"]
        return taken

    def newest_alarm(self) -> int:
        """Return the highest id of the model's alarms, 0 when there is none."""
        return max((alarm["id"] for alarm in self.client.watched(MODEL)["alarms"]), default=0)

    def alarm_of(self, request: Json) -> Json:
        """Return the alarm that a training request answers.

        Raises:
            DemoError: no alarm says that it does.
        """
        found = next((a for a in self.client.watched(MODEL)["alarms"] if a["request_id"] == request["id"]), None)
        if found is None:
            raise DemoError(f"no alarm says that it asked for the training request {request['id']}")
        return dict(found)

    def try_key(self, key: str, features: Row, *, patience: float) -> Json:
        """Return the answer to one prediction asked with another API key, once the key is known everywhere.

        Raises:
            DemoError: the key is not known in time.
        """
        with Client(self.client.base_url, key, clock=self._clock) as other:

            def look() -> Json | None:
                try:
                    return other.predict(MODEL, [features])
                except ApiError as e:
                    if e.code != "bad_key":
                        raise
                    return None

            found: Json = self.until(look, seconds=patience, what="the predictor to know the new key")
        return found

    def until(self, look: Callable[[], Any], *, seconds: float, what: str) -> Any:
        """Return the first truthy value of ``look``, asked five times a second.

        Raises:
            DemoError: it did not come in time; names ``what``.
        """
        deadline = self._clock.monotonic() + seconds
        while not (found := look()):
            if self._clock.monotonic() > deadline:
                raise DemoError(f"waited {seconds:.0f} s in vain for {what}")
            self._clock.sleep(_LOOK_SECONDS)
        return found

    def _wait_for_champion(self, row: Row, champion: int, patience: float) -> None:
        features = {name: row[name] for name in FEATURES}

        def answers() -> bool:
            try:
                return bool(self.client.predict(MODEL, [features])["version"] == champion)
            except ApiError as e:
                if e.code != "no_model":
                    raise
                return False

        self.until(answers, seconds=patience, what=f"an answer by version {champion}")
        if champion != self._known_champion:
            # That was one of the predictor's processes; each looks on its own, once a second.
            self._clock.sleep(_OTHER_PROCESSES_SECONDS)
            self._known_champion = champion
