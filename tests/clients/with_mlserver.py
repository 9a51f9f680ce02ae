"""Run by `make clients` with the Python that has MLServer: rows through its pandas codec, there and back.

``python with_mlserver.py URL KEY < rows.json > answer.json``: rows and answer as lists of records.
"""

import json
import sys
import urllib.request

import pandas as pd
from mlserver.codecs import PandasCodec
from mlserver.types import InferenceRequest, InferenceResponse, MetadataModelResponse

#: Columns that stay Python objects: this codec knows numpy's types, and not those that pandas 3 has for texts.
OBJECTS = ("carrier", "remark", "day", "planned", "holiday")


def call(url: str, key: str, body: bytes | None = None) -> bytes:
    """GET, or POST a body."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=20) as answer:  # noqa: S310
        return bytes(answer.read())


def main(url: str, key: str) -> None:
    """Ask once, and check the metadata with MLServer's own types."""
    frame = pd.DataFrame(json.load(sys.stdin)).astype(dict.fromkeys(OBJECTS, object))
    metadata = MetadataModelResponse.model_validate_json(call(f"{url}/v2/models/flights", key))
    assert {tensor.name for tensor in metadata.inputs or []} == set(frame.columns)
    request: InferenceRequest = PandasCodec.encode_request(frame, use_bytes=False)
    answer = call(f"{url}/v2/models/flights/infer", key, request.model_dump_json(exclude_none=True).encode())
    decoded = PandasCodec.decode_response(InferenceResponse.model_validate_json(answer))
    json.dump(decoded.to_dict(orient="records"), sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
