"""The key of a row as a query parameter says it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard import strict_json
from trainyard.errors import Problem, ServiceError
from trainyard.schema import check_value, parse_text, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.schema import Column, Schema


def read_key(schema: Schema, text: str) -> dict[str, Any]:
    """Return clean values by the names of all key columns.

    ``text`` is the value itself where one column is the key, as a CSV cell would hold it, and a JSON object
    ``{column: value}`` where several are.

    Raises:
        ServiceError: ``bad_request``: the dataset has no key, or the text is none of it; the details say why.
    """
    keys = schema.keys
    if not keys:
        raise ServiceError("bad_request", "the dataset has no key column, so no row can be named")
    if len(keys) == 1:
        return {keys[0].name: _checked(keys[0], _value(keys[0], text), text)}
    given = _object(text, [column.name for column in keys])
    return {
        column.name: _checked(column, check_value(column, given[column.name]), given[column.name]) for column in keys
    }


def _value(column: Column, text: str) -> tuple[Any, str | None]:
    """Read a cell; the empty text is a value of a column of texts, for nobody can mean the missing one."""
    return check_value(column, text) if column.type in ("text", "category") else parse_text(column, text)


def _checked(column: Column, read: tuple[Any, str | None], given: object) -> Any:
    value, expected = read
    if value is None:
        problem = Problem(None, column.name, expected or "a value", shown(given))
        raise ServiceError("bad_request", f"this cannot be a key: '{column.name}' takes {problem.expected}", [problem])
    return value


def _object(text: str, names: list[str]) -> Mapping[str, Any]:
    expected = f"a JSON object of {', '.join(names)}"
    try:
        given = strict_json.loads(text.encode())
    except (ServiceError, UnicodeEncodeError) as e:
        raise ServiceError(
            "bad_request", f"key must be {expected}", [Problem(None, "key", expected, shown(text))]
        ) from e
    if not isinstance(given, dict) or set(given) != set(names):
        raise ServiceError("bad_request", f"key must be {expected}", [Problem(None, "key", expected, shown(text))])
    return given
