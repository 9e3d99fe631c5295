"""Every kind of alarm is raised by a test: the named one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from invmm.permission import AlarmKind

TESTS = Path(__file__).resolve().parents[1]
