"""Guess a schema from sample values: what ingest does when a dataset is made from a file."""

from __future__ import annotations

from trainyard.schema.columns import Column, Schema
from trainyard.schema.values import MAX_CATEGORY_BYTES, check_value, parse_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MAX_LEVELS = 10_000
_ALWAYS_FEW = 50
_MAX_SHARE_OF_LEVELS = 0.5
#: No whole number of more digits is a float.
_MOST_DIGITS = 310
_CANDIDATES = ("int", "float", "bool", "date", "timestamp")


def infer_schema(
    samples: Mapping[str, Sequence[object]],
    *,
    label: str | None = None,
    keys: Sequence[str] = (),
    event_time: str | None = None,
    group: str | None = None,
) -> Schema:
    """Return a schema for columns of sample values, CSV cells (str) or JSON values.

    The first of int, float, bool, date, timestamp that every value fits; else category when the strings repeat
    themselves (at most 50 levels, or at most 10,000 and half as many levels as values), else text. Cells such as
    ``007`` are codes, not numbers, and so are whole numbers that a float would round; ``yes`` and ``no`` stay strings.
    Keys are not nullable, everything else is: a sample cannot prove that nothing will ever be missing.

    Args:
        samples: column name -> its values, in column order; "" and None are missing.
        label, keys, event_time, group: names of the columns that get these roles.

    Raises:
        ServiceError: ``invalid_schema`` for bad names, too many columns, or roles that do not fit the types.
    """
    roles: dict[str | None, str] = {event_time: "event_time", group: "group", label: "label"}
    roles.update(dict.fromkeys(keys, "key"))
    columns = []
    for name, values in samples.items():
        role = roles.get(name, "feature")
        kind = _type_of(values)
        if role == "key" and kind == "float":
            kind = "category"  # equality of floats is no identity
        columns.append(Column(name, kind, role=role, nullable=role != "key"))
    return Schema(columns)


def _type_of(values: Sequence[object]) -> str:
    present = [v for v in values if v is not None and v != ""]
    if not present:
        return "text"
    for kind in _CANDIDATES:
        fits = _fitter(kind)
        if all(map(fits, present)):
            return kind
    texts = {v for v in present if isinstance(v, str)}
    few = len(texts) <= min(MAX_LEVELS, max(_ALWAYS_FEW, len(present) * _MAX_SHARE_OF_LEVELS))
    short = all(len(v.encode("utf-8", "surrogatepass")) <= MAX_CATEGORY_BYTES for v in texts)
    return "category" if few and short else "text"


def _fitter(kind: str) -> Callable[[object], bool]:
    column = Column("sample", kind, nullable=False)

    def fits(value: object) -> bool:
        if not isinstance(value, str):
            if kind == "int" and isinstance(value, float):
                return False  # 3.0 in a file of floats is a float
            return check_value(column, value)[1] is None
        word = value.strip()
        if kind in ("int", "float") and _is_code(word):
            return False
        if (kind == "int" and not _is_whole(word)) or (kind == "float" and _is_rounded(word)):
            return False
        if kind == "bool" and word.lower() not in ("true", "false"):
            return False
        return parse_text(column, value)[1] is None

    return fits


def _is_code(word: str) -> bool:
    """Tell whether leading zeros carry meaning, as in post codes."""
    digits = word.lstrip("+-")
    return len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()


def _is_whole(word: str) -> bool:
    return word.lstrip("+-").isdecimal()


def _is_rounded(word: str) -> bool:
    """Tell whether a float would make another whole number of it: a number of an account, say."""
    try:
        return _is_whole(word) and (len(word) > _MOST_DIGITS or float(word) != int(word))
    except ValueError:  # +-1
        return True
