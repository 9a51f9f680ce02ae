"""``python -m tests.cases.uploading_trainer`` stores the file ``ARTIFACT`` under the key ``KEY`` as a trainer would."""

from __future__ import annotations

import os
from pathlib import Path

from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.config import load

if __name__ == "__main__":
    config = load(os.environ)
    blobs = S3Blobs(AwsClients(config).s3, config.bucket)
    blobs.put(os.environ["KEY"], Path(os.environ["ARTIFACT"]).read_bytes(), only_if_absent=True)
