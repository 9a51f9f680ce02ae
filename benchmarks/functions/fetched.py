"""What both functions with a model share: the artifact from S3, and the row from the event."""

import os

from trainyard.adapters.slim.clients import SlimClients
from trainyard.clock import SystemClock


def artifact(name):
    """Return the bytes that the pointer of ``name`` leads to."""
    clients = SlimClients(os.environ, region="us-east-1", endpoint=os.environ["AWS_ENDPOINT_URL"], clock=SystemClock())
    blobs = clients.blobs(os.environ["TRAINYARD_BUCKET"])
    return blobs.get(blobs.get(f"peers/{name}/pointer").data.decode()).data


def values(event):
    """Return the values of the one row, in the order of the columns."""
    return [value for _, value in sorted(event["body"]["rows"][0].items())]
