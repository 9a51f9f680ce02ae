"""CityHash64 (Pike and Alakuijala, Google, 2011), of which CatBoost takes the low 32 bits as the name of a level.

This is version 1.0 as CatBoost carries it (`util/digest/city.cpp`).
"""

from __future__ import annotations

_MASK = (1 << 64) - 1
_K0 = 0xC3A5C85C97CB3127
_K1 = 0xB492B66FBE98F273
_K2 = 0x9AE16A3B2F90404F
_K3 = 0xC949D7C7509E6557
_MUL = 0x9DDFEA08EB382D69


def level_hash(level: str) -> int:
    """Return CatBoost's name of a level: a signed 32-bit number."""
    low = city_hash(level.encode("utf-8")) & 0xFFFFFFFF
    return low - (1 << 32) if low >> 31 else low


def city_hash(s: bytes) -> int:
    """Return the 64-bit hash of ``s``."""
    n = len(s)
    if n <= 16:
        return _up_to_16(s)
    if n <= 32:
        return _up_to_32(s)
    return _up_to_64(s) if n <= 64 else _long(s)


def _fetch64(s: bytes, at: int) -> int:
    return int.from_bytes(s[at : at + 8], "little")


def _fetch32(s: bytes, at: int) -> int:
    return int.from_bytes(s[at : at + 4], "little")


def _rotate(value: int, shift: int) -> int:
    return value if shift == 0 else (value >> shift | value << (64 - shift)) & _MASK


def _shift_mix(value: int) -> int:
    return value ^ value >> 47


def _of_16(u: int, v: int) -> int:
    a = _shift_mix((u ^ v) * _MUL & _MASK)
    b = _shift_mix((v ^ a) * _MUL & _MASK)
    return b * _MUL & _MASK


def _up_to_16(s: bytes) -> int:
    n = len(s)
    if n > 8:
        a, b = _fetch64(s, 0), _fetch64(s, n - 8)
        return _of_16(a, _rotate((b + n) & _MASK, n)) ^ b
    if n >= 4:
        return _of_16(n + (_fetch32(s, 0) << 3), _fetch32(s, n - 4))
    if n > 0:
        y = s[0] + (s[n >> 1] << 8)
        z = n + (s[n - 1] << 2)
        return _shift_mix((y * _K2 ^ z * _K3) & _MASK) * _K2 & _MASK
    return _K2


def _up_to_32(s: bytes) -> int:
    n = len(s)
    a = _fetch64(s, 0) * _K1 & _MASK
    b = _fetch64(s, 8)
    c = _fetch64(s, n - 8) * _K2 & _MASK
    d = _fetch64(s, n - 16) * _K0 & _MASK
    return _of_16(
        (_rotate((a - b) & _MASK, 43) + _rotate(c, 30) + d) & _MASK, (a + _rotate(b ^ _K3, 20) - c + n) & _MASK
    )


def _up_to_64(s: bytes) -> int:
    n = len(s)
    z = _fetch64(s, 24)
    a = (_fetch64(s, 0) + (n + _fetch64(s, n - 16)) * _K0) & _MASK
    b = _rotate((a + z) & _MASK, 52)
    c = _rotate(a, 37)
    a = (a + _fetch64(s, 8)) & _MASK
    c = (c + _rotate(a, 7)) & _MASK
    a = (a + _fetch64(s, 16)) & _MASK
    vf, vs = (a + z) & _MASK, (b + _rotate(a, 31) + c) & _MASK
    a = (_fetch64(s, 16) + _fetch64(s, n - 32)) & _MASK
    z = _fetch64(s, n - 8)
    b = _rotate((a + z) & _MASK, 52)
    c = _rotate(a, 37)
    a = (a + _fetch64(s, n - 24)) & _MASK
    c = (c + _rotate(a, 7)) & _MASK
    a = (a + _fetch64(s, n - 16)) & _MASK
    wf, ws = (a + z) & _MASK, (b + _rotate(a, 31) + c) & _MASK
    r = _shift_mix(((vf + ws) * _K2 + (wf + vs) * _K0) & _MASK)
    return _shift_mix((r * _K0 + vs) & _MASK) * _K2 & _MASK


def _weak(s: bytes, at: int, a: int, b: int) -> tuple[int, int]:
    w, x, y, z = (_fetch64(s, at + 8 * i) for i in range(4))
    a = (a + w) & _MASK
    b = _rotate((b + a + z) & _MASK, 21)
    c = a
    a = (a + x + y) & _MASK
    b = (b + _rotate(a, 44)) & _MASK
    return (a + z) & _MASK, (b + c) & _MASK


def _long(s: bytes) -> int:
    n = len(s)
    x = _fetch64(s, 0)
    y = _fetch64(s, n - 16) ^ _K1
    z = _fetch64(s, n - 56) ^ _K0
    v = _weak(s, n - 64, n, y)
    w = _weak(s, n - 32, n * _K1 & _MASK, _K0)
    z = (z + _shift_mix(v[1]) * _K1) & _MASK
    x = _rotate((z + x) & _MASK, 39) * _K1 & _MASK
    y = _rotate(y, 33) * _K1 & _MASK
    for at in range(0, (n - 1) & ~63, 64):
        x = _rotate((x + y + v[0] + _fetch64(s, at + 16)) & _MASK, 37) * _K1 & _MASK
        y = _rotate((y + v[1] + _fetch64(s, at + 48)) & _MASK, 42) * _K1 & _MASK
        x ^= w[1]
        y ^= v[0]
        z = _rotate(z ^ w[0], 33)
        v = _weak(s, at, v[1] * _K1 & _MASK, (x + w[0]) & _MASK)
        w = _weak(s, at + 32, (z + w[1]) & _MASK, y)
        z, x = x, z
    return _of_16((_of_16(v[0], w[0]) + _shift_mix(y) * _K1 + z) & _MASK, (_of_16(v[1], w[1]) + x) & _MASK)
