"""Good bodies among those that a schema describes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import schemathesis


def good_in_place_of(
    context: schemathesis.HookContext, body: Any, good: Mapping[str, Sequence[Any]]
) -> st.SearchStrategy[Any]:
    """Send, in place of a body that conforms, a good one of its path as often as not.

    What was made to break the schema is sent as it is.
    """
    choices = good.get(context.operation.path if context.operation else "")
    if not choices or isinstance(body, bytes) or not _conforms(context.operation, body):
        return st.just(body)
    return st.sampled_from([body, *choices]) | st.just(body)


def _conforms(operation: Any, body: Any) -> bool:
    document = operation.schema.raw_schema
    described = document["paths"][operation.path][operation.method].get("requestBody")
    if described is None:
        return False
    schema = described["content"]["application/json"]["schema"]
    return Draft202012Validator({**schema, "components": document["components"]}).is_valid(body)
