"""``python -m tests.cases.uploading_trainer`` stores the file ``ARTIFACT`` under the key ``KEY`` as a trainer would."""

from __future__ import annotations

import os
from pathlib import Path

from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.postgres.engine import make_engine
from trainyard.config import load
from trainyard_trainer import bootstrap

if __name__ == "__main__":
    config = load(os.environ)
    outside = bootstrap.outside(config, AwsClients(config), make_engine(config.require_database(), service="trainer"))
    outside.blobs.put(os.environ["KEY"], Path(os.environ["ARTIFACT"]).read_bytes(), only_if_absent=True)
