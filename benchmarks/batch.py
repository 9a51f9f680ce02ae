"""Batch jobs: a CSV of 30 floats scored by 200 trees of 31 leaves, beside pandas and LightGBM's own predict.

The job checks every cell, keeps each line as it was, writes prediction, version and id behind it, and puts its output
together in parts on a store in memory. pandas parses the file and LightGBM predicts; in the second case pandas also
writes the file with the predictions behind its columns. One thread each; times are the processor's, as the machine may
have other work; figures are medians of rounds, ratios medians of the ratios within a round.
"""

from __future__ import annotations

import io
import statistics
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np
import pandas as pd

from trainyard.clock import SystemClock
from trainyard.model import Number, Pipeline, with_golden
from trainyard.schema import Column, Schema
from trainyard.testing.fakes.blobs import MemoryBlobs
from trainyard.testing.fakes.queue import MemoryQueue
from trainyard.testing.models import sample_model
from trainyard.testing.publishing import point_alias, publish_version
from trainyard_predictor.batch.intake import Intake
from trainyard_predictor.batch.jobs import Jobs
from trainyard_predictor.batch.work import ENDED, Tools, Work
from trainyard_predictor.edges.direct_log import DirectLog
from trainyard_predictor.edges.model_source import ModelSource
from trainyard_predictor.edges.outbox import Outbox
from trainyard_trainer.learning.trees import export

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 3
TREES, LEAVES, FEATURES = 200, 31, 30
FITTED_ROWS, ROWS = 20_000, 40_000
NAMES = [f"x{n:02}" for n in range(FEATURES)]


def run() -> dict[str, Any]:
    """Measure, print the table and return its figures."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(FITTED_ROWS, FEATURES))
    target = x @ rng.normal(size=FEATURES) + np.sin(2 * x[:, 0]) * x[:, 1] + rng.normal(size=len(x))
    shape = {"objective": "regression", "num_leaves": LEAVES, "num_threads": 1, "seed": 1, "verbosity": -1}
    booster = lightgbm.train(shape, lightgbm.Dataset(x, target), TREES)
    frame = pd.DataFrame(np.round(rng.normal(size=(ROWS, FEATURES)), 4), columns=NAMES)
    frame.insert(0, "id", range(ROWS))
    data = frame.to_csv(index=False).encode()
    job = _job(booster, data)
    expected = booster.predict(frame[NAMES].to_numpy(), num_threads=1)
    scored = pd.read_csv(io.BytesIO(job()))
    assert scored["id"].tolist() == list(range(ROWS))
    assert float(np.abs(scored["prediction"].to_numpy() - expected).max()) < 1e-9
    ways: dict[str, Callable[[], object]] = {
        "batch job": job,
        "pandas + lightgbm": lambda: _theirs(booster, data, write=False),
        "the same, output written": lambda: _theirs(booster, data, write=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            seconds[name].append(_seconds(way))
    print(f"   {ROWS:,} rows, {len(data) / 1e6:.1f} MB; lightgbm {lightgbm.__version__}, pandas {pd.__version__}")
    figures: dict[str, Any] = {}
    for name, its in seconds.items():
        ratio = statistics.median(theirs / ours for theirs, ours in zip(its, seconds["batch job"], strict=True))
        figures[name] = {"rows_per_second": ROWS / statistics.median(its), "job_is_times_as_fast": ratio}
        print(f"   {name:<28}{figures[name]['rows_per_second']:>12,.0f} rows/s{ratio:>8.2f}")
    return figures


def _job(booster: lightgbm.Booster, data: bytes) -> Callable[[], bytes]:
    """Return what scores the file once more as a job of its own, and gives its output."""
    clock = SystemClock()
    blobs, queue = MemoryBlobs(clock), MemoryQueue(clock)
    schema = Schema([Column(name, "float") for name in NAMES])
    pipeline = Pipeline(tuple(Number(name) for name in NAMES), export(booster, TREES, "regression", np.zeros(1)))
    model = replace(sample_model(task="regression"), name="trees", schema=schema, pipeline=pipeline, golden=None)
    golden = with_golden(model, [dict.fromkeys(NAMES, 0.5)])
    point_alias(blobs, publish_version(blobs, golden, 1), seq=1)
    models = ModelSource(blobs, clock)
    jobs = Jobs(blobs, queue, clock)
    intake = Intake(jobs, blobs, models, clock, most_bytes=1 << 30, log_share=0)
    work = Work(Tools(jobs, blobs, models, DirectLog(Outbox(queue, blobs)), clock))
    numbers = iter(range(1_000))

    def once() -> bytes:
        key = f"batch/in/trees/{next(numbers)}.csv"
        blobs.put(key, data)
        job = intake.dropped(intake.drops(key)[0])
        assert job is not None
        assert work.advance(job.id, 3_600) == ENDED
        return blobs.get(jobs.read(job.id)[0].output_key).data

    return once


def _theirs(booster: lightgbm.Booster, data: bytes, *, write: bool) -> object:
    frame = pd.read_csv(io.BytesIO(data))
    frame["prediction"] = booster.predict(frame[NAMES].to_numpy(), num_threads=1)
    return frame.to_csv(index=False) if write else frame


def _seconds(way: Callable[[], object]) -> float:
    began = time.process_time()
    way()
    return time.process_time() - began
