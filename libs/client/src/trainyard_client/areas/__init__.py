"""What the SDK can do, area by area; :class:`~trainyard_client.client.Client` is all of them together."""
