"""The routes of pull sources over a real Postgres, asked through Flask's test client."""

from __future__ import annotations

import certifi

from trainyard.adapters.postgres.sources import PostgresSources
from trainyard.adapters.postgres.warehouse import PostgresWarehouse
from trainyard.adapters.web import Route, make_app, principal, read_object
from trainyard.auth import KEYS_OBJECT, KeyRing, LiveKey, encode_keys, make_key, parse_key
from trainyard.clock import SystemClock
from trainyard.schema import Schema
from trainyard.testing.fakes import MemoryBlobs
from trainyard_ingest.pulling.addresses import AddressRule
from trainyard_ingest.pulling.fetching import Limits, UrlFetcher
from trainyard_ingest.web import sources


class Service:
    """The routes, and a key of each scope; ``files.internal`` is a host that may be pulled from."""

    def __init__(self, engine):
        self._engine = engine
        warehouse, clock = PostgresWarehouse(engine, SystemClock()), SystemClock()
        rule = AddressRule(["files.internal"], resolve=lambda host, port: ["10.0.0.1"])
        fetcher = UrlFetcher(rule, clock, Limits(1), http=False, ca_file=certifi.where())
        self.keys = {scope: make_key() for scope in ("admin", "operate", "ingest", "read")}
        live = []
        for scope, key in self.keys.items():
            parsed = parse_key(key)
            live.append(LiveKey(parsed.key_id, parsed.secret_sha256, (scope,), None))
        blobs = MemoryBlobs()
        blobs.put(KEYS_OBJECT, encode_keys(live))
        ring = KeyRing(blobs, clock)
        ring.refresh()

        def make(name):
            schema = Schema.from_dict(read_object(required=["columns"]))
            return 201, warehouse.create(name, schema, actor=principal().key_id)[0].as_dict()

        routes = sources.routes(PostgresSources(engine), warehouse, fetcher, clock)
        routes.append(Route("PUT", "/v1/datasets/<name>", make, "operate", "Make a dataset"))
        self._app = make_app("ingest", routes, ring=ring, clock=clock, ready=dict, hosts=["localhost"], version="1")

    def call(self, method, path, body=None, *, scope="admin", **headers):
        """Send a request; ``headers`` by their names with _ for -. Return the response."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if scope is not None:
            sent["Authorization"] = f"Bearer {self.keys[scope]}"
        return self._app.test_client().open(path, method=method, json=body, headers=sent)

    def close(self):
        """Give the connections back."""
        self._engine.dispose()
