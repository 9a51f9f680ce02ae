"""Python SDK and command line of Trainyard.

>>> from trainyard_client import Client
>>> client = Client("http://127.0.0.1:8080", "ty_...")
>>> client.predict("late", [{"carrier": "UA", "distance": 1400}])["rows"][0]["prediction"]
"""

from trainyard_client.areas.rows import Ingested
from trainyard_client.client import Client
from trainyard_client.errors import ApiError, ClientError, UnreachableError, WaitTimeoutError
from trainyard_client.watching import Progress

__all__ = ["ApiError", "Client", "ClientError", "Ingested", "Progress", "UnreachableError", "WaitTimeoutError"]
