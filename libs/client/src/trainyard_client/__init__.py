"""Python SDK and command line of Trainyard.

>>> from trainyard_client import Client
>>> client = Client.connect()  # whatever the command line would talk to; or Client("http://127.0.0.1:8080", "ty_...")
>>> client.predict("late", [{"carrier": "UA", "distance": 1400}])["rows"][0]["prediction"]
"""

from trainyard_client.areas.rows import Ingested
from trainyard_client.client import Client
from trainyard_client.environments import Environment, Environments
from trainyard_client.errors import (
    ApiError,
    ClientError,
    MissingPackageError,
    MisuseError,
    UnreachableError,
    WaitTimeoutError,
)
from trainyard_client.functions import Functions
from trainyard_client.shown import Dataset, Model, Prediction, Run, Version
from trainyard_client.watching import Progress

__all__ = [
    "ApiError",
    "Client",
    "ClientError",
    "Dataset",
    "Environment",
    "Environments",
    "Functions",
    "Ingested",
    "MissingPackageError",
    "MisuseError",
    "Model",
    "Prediction",
    "Progress",
    "Run",
    "UnreachableError",
    "Version",
    "WaitTimeoutError",
]
