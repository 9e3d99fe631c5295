"""Every compiled module has a .pxd and a hand-written .pyi, and the stub says what the module has."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.project.sources import ROOT, compiled_modules

ALLOWED = ROOT / "tests/project/stubtest_allowed.txt"
MODULES = compiled_modules()


def stub_of(module: str) -> Path:
    return (ROOT / module.replace(".", "/")).with_suffix(".pyi")


@pytest.mark.parametrize("module", MODULES)
def test_a_compiled_module_has_a_declaration_file_and_a_stub(module: str) -> None:
    assert stub_of(module).exists(), f"{module} has no .pyi"
    assert stub_of(module).with_suffix(".pxd").exists(), f"{module} has no .pxd"


def stub_names(tree: ast.Module | ast.ClassDef) -> set[str]:
    """Public names that a stub, or a class in it, defines."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {name for name in names if not name.startswith("_")}


def own_names(module: ModuleType) -> set[str]:
    """Public classes and functions that the compiled module itself defines."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    }


@pytest.mark.parametrize("module", MODULES)
def test_a_stub_names_what_the_module_has_and_nothing_else(module: str) -> None:
    loaded = importlib.import_module(module)
    tree = ast.parse(stub_of(module).read_text())
    stubbed = stub_names(tree)
    missing = {name for name in stubbed if not hasattr(loaded, name) and not _is_only_a_type(tree, name)}
    assert not missing, f"the stub of {module} promises {sorted(missing)}"
    assert own_names(loaded) <= stubbed, f"the stub of {module} lacks {sorted(own_names(loaded) - stubbed)}"
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and hasattr(loaded, node.name):
            actual = {name for name in vars(getattr(loaded, node.name)) if not name.startswith("_")}
            # Attributes that a Python class of the module gives its instances are on no class.
            given = {
                n.target.id
                for n in node.body
                if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)
            }
            assert actual <= stub_names(node), f"the stub of {module}.{node.name} lacks a member"
            assert stub_names(node) - given <= actual, f"the stub of {module}.{node.name} promises a member"


def _is_only_a_type(tree: ast.Module, name: str) -> bool:
    """A TypedDict, Protocol or alias that lives in the stub alone."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
            return bool(bases & {"TypedDict", "Protocol", "NamedTuple"})
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            return isinstance(node.annotation, ast.Name) and node.annotation.id == "TypeAlias"
    return False


def test_stubtest_finds_no_difference() -> None:
    pytest.importorskip("mypy", reason="mypy is a development tool: pip install -e '.[dev]'")
    if not MODULES:
        pytest.skip("nothing is compiled yet")
    command = [
        sys.executable,
        "-m",
        "mypy.stubtest",
        "--allowlist",
        str(ALLOWED),
        "--ignore-unused-allowlist",
    ]
    answer = subprocess.run(
        [*command, *MODULES], cwd=ROOT, capture_output=True, text=True, check=False, timeout=240
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
