"""Tensors of the Open Inference Protocol v2, in JSON and in the binary extension, from and to plain lists.

Both forms give the same values: numbers, bools and strings as JSON has them, None where one is missing (``null``; in
binary NaN of a floating-point type, the only one that can say so). The layouts are those of the protocol's REST
specification and of Triton's "binary tensor data" extension: row-major, little-endian, strings with their length in 4
bytes before them.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from trainyard import strict_json
from trainyard.errors import ServiceError
from trainyard.schema import shown

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: datatype -> format of :mod:`struct`
_FORMATS = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}
_MAX_DIMENSIONS = 4
_MAX_ELEMENTS = 4_000_000
#: How a tensor's values may be meant: as they are, as times in ISO 8601, or each as a JSON text of its own (which is
#: how MLServer's pandas codec sends columns of objects that are no strings).
_AS_THEY_ARE = {None, "str", "np", "pd", "datetime"}
_AS_JSON = "pd_json"


@dataclass(frozen=True)
class Tensor:
    """``data`` is flat, in row-major order: a list, or floating-point numbers as they came in binary."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: list[Any] | bytes
    parameters: dict[str, Any]

    @cached_property
    def values(self) -> list[Any]:
        """The elements as JSON has them."""
        if isinstance(self.data, list):
            return self.data
        values = struct.unpack(f"<{len(self)}{_FORMATS[self.datatype]}", self.data)
        return [None if value != value else value for value in values]  # noqa: PLR0124 - NaN

    @property
    def array(self) -> npt.NDArray[np.float64] | None:
        """The elements as float64 in the tensor's shape, NaN where one is missing; None unless they came in binary."""
        if isinstance(self.data, list):
            return None
        import numpy as np  # noqa: PLC0415 - see trainyard.model.arrays

        return np.frombuffer(self.data, f"<{_FORMATS[self.datatype]}").reshape(self.shape).astype(np.float64)

    def __len__(self) -> int:
        return math.prod(self.shape)


def read_tensors(given: object, binary: bytes | None) -> list[Tensor]:
    """Read the ``inputs`` of a request; ``binary`` is what follows the JSON, None where nothing may.

    Raises:
        ServiceError: ``bad_request``: not a list of tensors, or one whose data is not what its shape and type say.
    """
    if not isinstance(given, list) or not given:
        raise _refused("inputs must be a list of tensors, at least one")
    tensors, at = [], 0
    for raw in given:
        tensor, at = _read_tensor(raw, binary or b"", at)
        tensors.append(tensor)
    if at != len(binary or b""):
        raise _refused(f"{len(binary or b'')} bytes of tensors follow the JSON, its binary_data_size add up to {at}")
    names = [tensor.name for tensor in tensors]
    if len(set(names)) != len(names):
        raise _refused("two inputs have the same name")
    return tensors


def parameters_of(raw: dict[str, Any], whose: str) -> dict[str, Any]:
    """Return the ``parameters`` of an object; raises ``bad_request`` where they are not an object."""
    parameters = raw.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise _refused(f"the parameters of {whose} must be an object")
    return parameters


def written(name: str, datatype: str, values: list[Any], *, binary: bool) -> tuple[dict[str, Any], bytes]:
    """Return an output of one value for each row: its JSON, and what goes behind it where ``binary`` is asked for."""
    tensor: dict[str, Any] = {"name": name, "shape": [len(values)], "datatype": datatype}
    parameters: dict[str, Any] = {"content_type": "str"} if datatype == "BYTES" else {}
    packed = b""
    if binary:
        packed = _packed(datatype, values)
        parameters["binary_data_size"] = len(packed)
    if parameters:
        tensor["parameters"] = parameters
    if not binary:
        tensor["data"] = values
    return tensor, packed


def _refused(message: str) -> ServiceError:
    return ServiceError("bad_request", message)


def _read_tensor(raw: object, binary: bytes, at: int) -> tuple[Tensor, int]:
    """Return one tensor, and where in ``binary`` the next one begins."""
    if not isinstance(raw, dict) or not isinstance(raw.get("name"), str):
        raise _refused('an input is {"name", "shape", "datatype", "data"}')
    name, whose = raw["name"], f"input {shown(raw['name'])!r}"
    datatype, shape = raw.get("datatype"), _shape(raw.get("shape"), whose)
    if not isinstance(datatype, str) or (datatype not in _FORMATS and datatype != "BYTES"):
        raise _refused(f"{whose}: the datatype {shown(datatype)} is none of {', '.join([*_FORMATS, 'BYTES'])}")
    parameters = parameters_of(raw, whose)
    if any(key.startswith("shared_memory") for key in parameters):
        raise _refused(f"{whose}: shared memory is not offered here; send the data")
    meant = parameters.get("content_type")
    if not isinstance(meant, str | None) or meant not in {*_AS_THEY_ARE, _AS_JSON}:
        raise _refused(f"{whose}: the content type {shown(meant)} is not read here; leave it out")
    size = parameters.get("binary_data_size")
    count = math.prod(shape)
    values: list[Any] | bytes
    if size is None:
        values = _from_json(raw.get("data"), datatype, count, whose)
    elif "data" in raw:
        raise _refused(f"{whose} has data and binary_data_size")
    elif type(size) is not int or not 0 <= size <= len(binary) - at:
        raise _refused(f"{whose}: binary_data_size is not the length of bytes that follow the JSON")
    else:
        values, at = _from_binary(binary[at : at + size], datatype, count, whose), at + size
    if meant == _AS_JSON:
        values = _from_texts(values, whose)
    return Tensor(name, datatype, shape, values, parameters), at


def _shape(given: object, whose: str) -> tuple[int, ...]:
    """Return the dimensions, each from 0, with at most _MAX_ELEMENTS elements in all."""
    if not isinstance(given, list) or not 1 <= len(given) <= _MAX_DIMENSIONS:
        raise _refused(f"{whose}: the shape must be a list of 1 to {_MAX_DIMENSIONS} dimensions")
    if any(type(size) is not int or size < 0 for size in given) or math.prod(given) > _MAX_ELEMENTS:
        raise _refused(f"{whose}: the shape must be whole numbers from 0, of at most {_MAX_ELEMENTS:,} elements")
    return tuple(given)


# --- JSON ----------------------------------------------------------------------------------------------------------


def _from_json(data: object, datatype: str, count: int, whose: str) -> list[Any]:
    """Return nested or flat data flat, all of one type."""
    if datatype == "FP16":
        raise _refused(f"{whose}: FP16 is read as binary data only")
    if not isinstance(data, list):
        raise _refused(f"{whose}: the data must be a list")
    values = data
    while any(type(value) is list for value in values):
        if not all(type(value) is list for value in values):
            raise _refused(f"{whose}: the data mixes lists and values")
        values = [value for part in values for value in part]
    if len(values) != count:
        raise _refused(f"{whose}: the shape means {count} elements, the data has {len(values)}")
    wrong = {type(value) for value in values} - _ALLOWED[datatype] - {type(None)}
    if wrong:
        at = next(at for at, value in enumerate(values) if type(value) in wrong)
        raise _refused(f"{whose}: element {at} is {shown(values[at])}, which is not of the datatype {datatype}")
    if datatype.startswith(("INT", "UINT")):
        _check_range(values, datatype, whose)
    return values


_ALLOWED: dict[str, set[type]] = {
    "BOOL": {bool},
    "BYTES": {str},
    **{name: {float, int} if name.startswith("FP") else {int} for name in _FORMATS if name != "BOOL"},
}


def _from_texts(values: list[Any] | bytes, whose: str) -> list[Any]:
    """Return what JSON texts say, each one string, number, bool or null; all are read at once.

    No text can be half of a value: strings hold no line break, lists and objects are refused. So as many values as
    texts means one of each.
    """
    texts = [] if isinstance(values, bytes) else ["null" if value is None else value for value in values]
    if isinstance(values, bytes) or not all(isinstance(text, str) for text in texts):
        raise _refused(f"{whose}: of the content type {_AS_JSON} the elements must be JSON texts")
    read = strict_json.loads(("[" + ",\n".join(texts) + "]").encode("utf-8", "surrogatepass"))
    if len(read) != len(texts) or any(isinstance(value, list | dict) for value in read):
        raise _refused(f"{whose}: an element is not the JSON of one value")
    return list(read)


def _check_range(values: list[Any], datatype: str, whose: str) -> None:
    present = [value for value in values if value is not None]
    bits = 8 * struct.calcsize(f"<{_FORMATS[datatype]}")
    low, high = (0, 2**bits - 1) if datatype[0] == "U" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if present and not low <= min(present) <= max(present) <= high:
        raise _refused(f"{whose}: an element is out of the range of {datatype}")


# --- the binary extension -----------------------------------------------------------------------------------------


def _from_binary(data: bytes, datatype: str, count: int, whose: str) -> list[Any] | bytes:
    if datatype == "BYTES":
        return _strings(data, count, whose)
    layout = f"<{count}{_FORMATS[datatype]}"
    if struct.calcsize(layout) != len(data):
        raise _refused(f"{whose}: {count} elements of {datatype} take {struct.calcsize(layout)} bytes, not {len(data)}")
    return data if datatype.startswith("FP") else list(struct.unpack(layout, data))


def _strings(data: bytes, count: int, whose: str) -> list[str]:
    values: list[str] = []
    at = 0
    while at < len(data) and len(values) < count:
        (length,) = struct.unpack_from("<I", data, at) if at + 4 <= len(data) else (len(data),)
        at += 4 + length
        if at > len(data):
            break
        try:
            values.append(data[at - length : at].decode())
        except UnicodeDecodeError:
            raise _refused(f"{whose}: element {len(values)} is not UTF-8") from None
    if at != len(data) or len(values) != count:
        raise _refused(f"{whose}: its bytes are not {count} strings, each behind its length in 4 bytes")
    return values


def _packed(datatype: str, values: list[Any]) -> bytes:
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(data)) + data for data in (value.encode() for value in values))
    return struct.pack(f"<{len(values)}{_FORMATS[datatype]}", *values)
