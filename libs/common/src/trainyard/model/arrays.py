"""Arrays as they lie in a file: dtype, shape and little-endian bytes in C order.

numpy takes longer to import than a row takes to answer. So an :class:`Array` is nothing but its bytes until somebody
asks for ``.numpy``, and what must be known of every array of a file is found out without numpy where it is not loaded.
"""

from __future__ import annotations

import math
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    import numpy.typing as npt

#: dtype -> (its code in the struct and memoryview modules and in numpy, bytes of an item); all little-endian
DTYPES = {"float64": ("d", 8), "float32": ("f", 4), "int32": ("i", 4), "uint16": ("H", 2), "uint8": ("B", 1)}
_WORTH_NUMPY = 512  # bytes of an array from which on numpy finds out faster what they hold
if sys.byteorder != "little":  # pragma: no cover - nobody offers us such a machine
    raise ImportError("model files are little-endian, and this machine is not")


def numpy_is_loaded() -> bool:
    """Tell whether somebody has paid for importing numpy already."""
    return "numpy" in sys.modules


class Array:
    """A read-only array of one of DTYPES."""

    __slots__ = ("_numpy", "data", "dtype", "shape")

    def __init__(self, dtype: str, shape: tuple[int, ...], data: bytes) -> None:
        """Take bytes as they are; there must be exactly as many as the shape says."""
        self.dtype, self.shape, self.data = dtype, shape, data
        self._numpy: npt.NDArray[Any] | None = None

    @classmethod
    def of(cls, values: Any, dtype: str, ndim: int, what: str) -> Array:
        """Return an array or nested list as one of this dtype with ``ndim`` axes, copied.

        Raises:
            ValueError: the axes are others, or integers would change their values. ``what`` is named.
        """
        if isinstance(values, Array):
            if (values.dtype, len(values.shape)) != (dtype, ndim):
                raise ValueError(f"{what} is of {values.dtype} with {len(values.shape)} axes, not {dtype} with {ndim}")
            return values
        import numpy as np  # noqa: PLC0415 - see the module

        given = np.asarray(values)
        if given.ndim != ndim:
            raise ValueError(f"{what} has {given.ndim} axes, not {ndim}")
        kept = given.astype(np.dtype(dtype).newbyteorder("<"), order="C")
        if kept.dtype.kind in "iu" and not np.array_equal(kept, given):
            raise ValueError(f"{what} does not fit {dtype}")
        return cls(dtype, kept.shape, kept.tobytes())

    def __len__(self) -> int:
        """Return the length of the first axis."""
        return self.shape[0]

    def __repr__(self) -> str:
        return f"Array({self.dtype}, shape={self.shape})"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Return the numpy array, so that numpy's functions take this one."""
        found = self.numpy
        return found.astype(dtype) if copy or (dtype is not None and found.dtype != dtype) else found

    @property
    def numpy(self) -> npt.NDArray[Any]:
        """The array as numpy sees it, on the same bytes."""
        if self._numpy is None:
            import numpy as np  # noqa: PLC0415 - see the module

            self._numpy = np.frombuffer(self.data, f"<{DTYPES[self.dtype][0]}").reshape(self.shape)
        return self._numpy

    @property
    def flat(self) -> Sequence[Any]:
        """All items in a row, without numpy."""
        code: Any = DTYPES[self.dtype][0]
        items: Sequence[Any] = memoryview(self.data).cast(code)
        return items

    def tolist(self) -> list[Any]:
        """Return the items as Python numbers, nested as the shape says, without numpy."""
        items: list[Any] = list(self.flat)
        for length in reversed(self.shape[1:]):
            items = [items[at : at + length] for at in range(0, len(items), length)] if length else [[]] * len(self)
        return items

    @property
    def is_finite(self) -> bool:
        """Whether no item is NaN or infinite."""
        if not self.dtype.startswith("float"):
            return True
        if len(self.data) > _WORTH_NUMPY and numpy_is_loaded():
            import numpy as np  # noqa: PLC0415 - see the module

            return int(np.count_nonzero(np.isfinite(self.numpy))) == self.numpy.size  # all() takes twice the time
        # a sum is infinite or NaN where an item is, and only rarely where none is
        return math.isfinite(sum(self.flat)) or all(map(math.isfinite, self.flat))

    @property
    def lowest(self) -> Any:
        """The smallest item; there is at least one."""
        return self.numpy.min() if numpy_is_loaded() else min(self.flat)

    @property
    def highest(self) -> Any:
        """The largest item; there is at least one."""
        return self.numpy.max() if numpy_is_loaded() else max(self.flat)


class ArrayField:
    """A field of a frozen dataclass that takes whatever numpy can make an array of and holds an :class:`Array`."""

    def __init__(self, dtype: str, ndim: int) -> None:
        """Take the dtype and the number of axes that every value is to have."""
        self._dtype, self._ndim = dtype, ndim

    def __set_name__(self, owner: type, name: str) -> None:
        self._name, self._what = f"_{name}", f"{owner.__name__}.{name}"

    def __get__(self, holder: Any, owner: type) -> Array:
        if holder is None:  # the dataclass asks for a default: there is none
            raise AttributeError(self._what)
        found: Array = holder.__dict__[self._name]
        return found

    def __set__(self, holder: Any, value: Array | npt.ArrayLike) -> None:
        holder.__dict__[self._name] = Array.of(value, self._dtype, self._ndim, self._what)


class OptionalArrayField(ArrayField):
    """The same for a field that may be None, and is where nothing is given."""

    def __get__(self, holder: Any, owner: type) -> Array | None:  # type: ignore[override]
        return None if holder is None else holder.__dict__[self._name]

    def __set__(self, holder: Any, value: Array | npt.ArrayLike | None) -> None:
        if value is None:
            holder.__dict__[self._name] = None
        else:
            super().__set__(holder, value)
