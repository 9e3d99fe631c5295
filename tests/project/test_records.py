"""The numpy dtypes of `invmm.types` and the C structs of `records.pxd` are one layout, and their numbers one
vocabulary.
"""

from __future__ import annotations

import ctypes
import re
from enum import IntEnum, IntFlag

import numpy as np
import pytest

from invmm import types
from tests.project.sources import ROOT

PXD = ROOT / "invmm/_ext/records.pxd"
C_TYPES = {
    "uint8_t": ctypes.c_uint8,
    "uint16_t": ctypes.c_uint16,
    "uint32_t": ctypes.c_uint32,
    "uint64_t": ctypes.c_uint64,
    "int32_t": ctypes.c_int32,
    "int64_t": ctypes.c_int64,
}
ENUMS: list[tuple[str, type[IntEnum] | type[IntFlag]]] = [
    ("", types.Outcome),
    ("", types.Side),
    ("", types.OrderType),
    ("EVENT_", types.EventKind),
    ("COMMAND_", types.CommandKind),
    ("STATUS_", types.OrderStatus),
    ("FLAG_", types.CommandFlag),
    ("FLAG_", types.EventFlag),
    ("MODE_", types.Mode),
    ("GUARD_", types.GuardFact),
    ("SETTLED_", types.SettlementFact),
    ("PRICE_", types.PriceFact),
    ("R_", types.Reason),
]


def struct(name: str) -> type[ctypes.Structure]:
    """The struct as this machine's C compiler lays it out."""
    match = re.search(rf"cdef struct {name}:\n((?:    .*\n|\n)+)", PXD.read_text() + "\n")
    assert match, f"records.pxd has no struct {name}"
    fields: list[tuple[str, type]] = []
    for line in match[1].splitlines():
        code = line.split("#", 1)[0].strip()
        if code:
            kind, field = code.split()
            c_type, _, count = kind.partition("[")
            fields.append((field, C_TYPES[c_type] * int(count.rstrip("]")) if count else C_TYPES[c_type]))
    return type(name, (ctypes.Structure,), {"_fields_": fields})


def field_is_signed(structure: type[ctypes.Structure], field: str) -> bool:
    value = structure()
    if not isinstance(getattr(value, field), int):
        return False
    setattr(value, field, -1)
    return bool(getattr(value, field) < 0)


@pytest.mark.parametrize(
    ("name", "dtype"), [("event_t", types.EVENT_DTYPE), ("command_t", types.COMMAND_DTYPE)]
)
def test_a_dtype_has_the_fields_offsets_and_size_of_its_struct(name: str, dtype: np.dtype[np.void]) -> None:
    c = struct(name)
    fields = [field[0] for field in c._fields_]
    assert list(dtype.names or ()) == fields
    for field in fields:
        own, twin = dtype.fields[field], getattr(c, field)  # type: ignore[index]
        assert (own[1], own[0].itemsize) == (twin.offset, twin.size), field
        assert (own[0].kind == "i") == field_is_signed(c, field), field
    assert dtype.itemsize == ctypes.sizeof(c) == 128


def c_constants() -> dict[str, int]:
    return {
        name: int(value)
        for name, value in re.findall(r"^    ([A-Z_]+) = (\d+)", PXD.read_text(), re.MULTILINE)
    }


@pytest.mark.parametrize(("prefix", "enum"), ENUMS, ids=lambda value: getattr(value, "__name__", None))
def test_a_number_has_one_meaning_in_python_and_in_c(
    prefix: str, enum: type[IntEnum] | type[IntFlag]
) -> None:
    constants = c_constants()
    known = {member.name: member.value for member in enum if prefix + str(member.name) in constants}
    assert known == {name: constants[prefix + str(name)] for name in known}
    if prefix not in ("MODE_", "R_"):  # these two appear in C only where a kernel needs them
        assert len(known) == len(enum), f"records.pxd lacks members of {enum.__name__}"


def test_every_c_constant_is_a_member_of_an_enumeration() -> None:
    named = {prefix + str(member.name) for prefix, enum in ENUMS for member in enum}
    assert set(c_constants()) <= named
