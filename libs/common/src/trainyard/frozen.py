"""Dataclasses whose making costs nothing, for what a cold start imports.

The standard library writes the source of four methods for each dataclass and compiles it: half a millisecond a class,
30 ms for those on the road of a prediction, and 6 ms more for importing ``dataclasses`` itself. Here all classes share
methods that look up the names of their fields. Making an instance takes a little longer than the standard way, until a
class has had so many that an ``__init__`` of its own is worth compiling.

For type checkers these *are* the standard library's; its ``fields``, ``asdict`` and ``replace`` work on them, too.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414 - what this module offers
    from dataclasses import field as field  # noqa: PLC0414
    from dataclasses import replace as replace  # noqa: PLC0414
    from typing import Any
else:

    def dataclass(cls=None, *, frozen=False, repr=True, eq=True):  # noqa: A002 - the standard library's names
        """Make ``cls`` a dataclass; the options mean what the standard library's do."""

        def decorate(cls):
            return _decorated(cls, frozen=frozen, with_repr=repr, with_eq=eq)

        return decorate if cls is None else decorate(cls)

    def field(*, default_factory=None, init=True):
        """Describe a field: how its default is made, or that ``__init__`` does not take it."""
        return _Field(default_factory, init)

    def replace(instance, /, **changes):
        """Return a copy of ``instance`` with other values in some fields."""
        names = [name for name, default in instance.__plain_fields__.items() if not _left_out(default)]
        return type(instance)(**{name: getattr(instance, name) for name in names} | changes)


_REQUIRED: Any = object()
#: So many instances of a class are made by the shared method; then it gets its own.
_COMPILED_FROM = 1_000


class _Field:
    """What :func:`field` describes."""

    def __init__(self, default_factory: Any, init: bool) -> None:
        self.default_factory = default_factory
        self.init = init


def _left_out(default: Any) -> bool:
    return isinstance(default, _Field) and not default.init


def _decorated(cls: Any, *, frozen: bool, with_repr: bool, with_eq: bool) -> Any:
    fields: dict[str, Any] = {}
    for base in reversed(cls.__mro__[1:]):
        fields.update(base.__dict__.get("__plain_fields__", {}))
    for name, annotation in _own_annotations(cls).items():
        if str(annotation).startswith(("ClassVar", "typing.ClassVar")):
            continue
        default = getattr(cls, name, _REQUIRED)
        fields[name] = default
        if isinstance(default, _Field) and name in cls.__dict__:
            delattr(cls, name)
    taken = [name for name, default in fields.items() if not _left_out(default)]
    optional = [fields[name] is not _REQUIRED for name in taken]
    if optional != sorted(optional):
        raise TypeError(f"a field of {cls.__name__} without default stands behind one with a default")
    given = {
        "__plain_fields__": fields,
        "__match_args__": tuple(taken),
        "__dataclass_fields__": _Standard("__dataclass_fields__", frozen),
        "__dataclass_params__": _Standard("__dataclass_params__", frozen),
        "__init__": _init(cls, fields, tuple(taken)),
        **({"__repr__": _repr} if with_repr else {}),
        **({"__eq__": _eq, "__hash__": _hash if frozen else None} if with_eq else {}),
        **({"__setattr__": _refuse_set, "__delattr__": _refuse_delete} if frozen else {}),
    }
    for name, value in given.items():
        # what a class says itself stays; only a bare __eq__ brings a __hash__ of None, which is nobody's wish
        if name not in cls.__dict__ or (name == "__hash__" and cls.__dict__[name] is None):
            setattr(cls, name, value)
    return cls


def _init(cls: Any, fields: dict[str, Any], taken: tuple[str, ...]) -> Any:
    """Return ``__init__``: values go into the instance's dict, or through the descriptors that the class has."""
    described = any(hasattr(type(cls.__dict__.get(name)), "__set__") for name in taken)
    missing = {name: default for name, default in fields.items() if name in taken and default is not _REQUIRED}
    known = frozenset(taken)
    after = hasattr(cls, "__post_init__")
    quick, count = not described and not after, len(taken)
    to_come = _COMPILED_FROM

    def __init__(self: Any, *args: Any, **named: Any) -> None:  # noqa: N807 - it becomes the method
        nonlocal to_come
        to_come -= 1
        if to_come == 0 and not described and cls.__dict__["__init__"] is __init__:
            cls.__init__ = _compiled(cls, taken, missing)
        if quick and not named and len(args) == count:
            self.__dict__.update(zip(taken, args))  # noqa: B905 - counted above, and this is the hot path
            return
        values = dict(zip(taken, args, strict=False))
        if len(args) > len(taken) or not named.keys() <= known or not named.keys().isdisjoint(values):
            raise TypeError(f"{type(self).__name__}() takes {', '.join(taken)}, each once")
        values.update(named)
        if len(values) < len(taken):
            for name, default in missing.items():
                if name not in values:
                    values[name] = default.default_factory() if isinstance(default, _Field) else default
            if len(values) < len(taken):
                raise TypeError(f"{type(self).__name__}() needs {', '.join(n for n in taken if n not in values)}")
        if described:
            for name, value in values.items():
                object.__setattr__(self, name, value)
        else:
            self.__dict__.update(values)
        if after:
            self.__post_init__()

    __init__.__qualname__ = f"{cls.__qualname__}.__init__"
    return __init__


def _compiled(cls: Any, taken: tuple[str, ...], missing: dict[str, Any]) -> Any:
    """Return an ``__init__`` written for the class, as the standard library would write it."""
    at = {name: f"a{number}_" for number, name in enumerate(taken)}  # no field's name may hide another
    parameters = [f"{name}=default_{at[name]}" if name in missing else name for name in taken]
    lines = [f"def __init__({', '.join(['self_', *parameters])}):", "    values_ = self_.__dict__"]
    for name in taken:
        default = f"default_{at[name]}"
        factory = isinstance(missing.get(name), _Field)
        value = f"{default}.default_factory() if {name} is {default} else {name}" if factory else name
        lines.append(f"    values_[{name!r}] = {value}")
    if hasattr(cls, "__post_init__"):
        lines.append("    self_.__post_init__()")
    space: dict[str, Any] = {f"default_{at[name]}": default for name, default in missing.items()}
    exec("\n".join(lines), space)  # noqa: S102 - the names are those of the class's own fields
    own = space["__init__"]
    own.__qualname__ = f"{cls.__qualname__}.__init__"
    return own


def _own_annotations(cls: Any) -> dict[str, str]:
    # inspect.get_annotations does the same, and its import costs as much as six dataclasses
    found: dict[str, str] = cls.__dict__.get("__annotations__", {})  # noqa: RUF063
    return found


class _Standard:
    """What the standard library keeps of a dataclass, made when somebody asks for it first."""

    def __init__(self, name: str, frozen: bool) -> None:
        self._name = name
        self._frozen = frozen
        self._made: dict[Any, Any] = {}  # by the class that is asked: one below may have more fields

    def __get__(self, instance: Any, owner: Any) -> Any:
        if owner not in self._made:
            self._made[owner] = self._make(owner)
        return self._made[owner]

    def _make(self, owner: Any) -> Any:
        import dataclasses  # noqa: PLC0415 - see above

        made = []
        for name, default in owner.__plain_fields__.items():
            options: dict[str, Any] = {}
            if isinstance(default, _Field):
                options["init"] = default.init
                if default.default_factory is not None:
                    options["default_factory"] = default.default_factory
            elif default is not _REQUIRED:
                options["default"] = default
            made.append((name, _annotation(owner, name), dataclasses.field(**options)))
        standard = dataclasses.make_dataclass(owner.__name__, made, frozen=self._frozen)
        return getattr(standard, self._name)


def _annotation(owner: Any, name: str) -> str:
    return next(own[name] for own in map(_own_annotations, owner.__mro__) if name in own)


def _values(instance: Any) -> tuple[Any, ...]:
    return tuple([getattr(instance, name) for name in instance.__plain_fields__])


def _repr(self: Any) -> str:
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__plain_fields__)
    return f"{type(self).__qualname__}({shown})"


def _eq(self: Any, other: Any) -> Any:
    return _values(self) == _values(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_values(self))


def _refuse_set(self: Any, name: str, value: Any) -> None:  # noqa: ARG001 - as Python calls it
    from dataclasses import FrozenInstanceError  # noqa: PLC0415 - see above

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_delete(self: Any, name: str) -> None:  # noqa: ARG001 - as Python calls it
    from dataclasses import FrozenInstanceError  # noqa: PLC0415 - see above

    raise FrozenInstanceError(f"cannot delete field {name!r}")
