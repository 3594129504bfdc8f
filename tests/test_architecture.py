"""The shape of the code: what import-linter cannot see."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "gateway"
TESTS = ROOT / "tests"
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")

CLIENTS = {"ClientSession", "TCPConnector", "UnixConnector"}
OTHER_CLIENTS = {"requests", "urllib3", "httpx", "http.client", "urllib.request"}
CONCRETE = ("archive_", "cache", "flights", "redis_")
"""Adapters that `app` alone names; the catalog and the facades know them by protocol."""
CLOCK = {"now", "utcnow", "today"}
TESTED_ELSEWHERE = {
    "__main__": "cli",
    "config_archives": "config",
    "config_servers": "config",
    "config_types": "config",
    "demo_objects": "demo",
    "demo_studies": "demo",
    "model": "catalog",
}
"""Modules whose behaviour only shows through another: the test that covers them."""


def _named(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def _imports(tree: ast.Module) -> Iterator[str]:
    """Every imported module and every name imported from one, dotted."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _names(tree: ast.Module) -> Iterator[str]:
    """Every name and attribute that is used."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr


@pytest.mark.parametrize("path", SOURCES, ids=_named)
def test_only_http_sessions_opens_sessions(path: Path) -> None:
    tree = _tree(path)
    if _named(path) != "adapters/http_sessions.py":
        assert not CLIENTS & (set(_names(tree)) | {name.split(".")[-1] for name in _imports(tree)})
        assert not OTHER_CLIENTS & set(_imports(tree))


@pytest.mark.parametrize("path", SOURCES, ids=_named)
def test_only_the_pool_opens_connections(path: Path) -> None:
    if _named(path) != "adapters/http_pool.py":
        assert not {"create_connection", "open_connection"} & set(_names(_tree(path)))


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if path.parent.name == "rules"], ids=_named
)
def test_rules_are_pure(path: Path) -> None:
    tree = _tree(path)
    waiting = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)
    assert not [node for node in ast.walk(tree) if isinstance(node, waiting)]
    assert not {"open", "input"} & {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name)
    }
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not CLOCK & {func.attr for func in calls if isinstance(func, ast.Attribute)}
    assert not [name for name in _imports(tree) if name.startswith("pydicom.pixel")]


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in SOURCES
        if path.stem in {"catalog", "http_server"} or path.parent.name == "routes"
    ],
    ids=_named,
)
def test_core_and_facades_know_adapters_by_protocol(path: Path) -> None:
    named = {name.removeprefix("gateway.adapters.") for name in _imports(_tree(path))}
    assert not [name for name in named if name.startswith(CONCRETE)]


def test_nothing_at_module_level_can_change() -> None:
    """Tables are tuples, frozensets, or dicts in capitals that nobody assigns to."""
    changed = [
        f"{_named(path)}:{node.lineno} {target.id}"
        for path in SOURCES
        for node in _tree(path).body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name) and isinstance(node.value, ast.List | ast.Set | ast.Dict)
        if not target.id.isupper()
    ]
    assert changed == []


def test_every_module_has_its_test() -> None:
    missing = []
    for path in SOURCES:
        module = path.relative_to(PACKAGE)
        stem = TESTED_ELSEWHERE.get(module.stem, module.stem)
        test = TESTS / module.parent / f"test_{stem}.py"
        if not test.exists():
            missing.append(f"{test.relative_to(ROOT)} for gateway/{module}")
    assert not missing, "\n".join(["no test for a module:", *missing])


def test_every_test_has_its_module() -> None:
    """Tests below a room of the package are named after a module in it."""
    strays = [
        str(test.relative_to(ROOT))
        for room in ("rules", "adapters", "routes")
        for test in sorted((TESTS / room).glob("test_*.py"))
        if not (PACKAGE / room / f"{test.stem.removeprefix('test_')}.py").exists()
    ]
    assert not strays, "\n".join(["named after no module:", *strays])


def test_packages_of_tests_can_share_file_names() -> None:
    folders = {path.parent for path in TESTS.rglob("test_*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_modules_say_in_one_sentence_what_they_are() -> None:
    wordless = [_named(path) for path in SOURCES if not ast.get_docstring(_tree(path))]
    assert wordless == []


@pytest.mark.parametrize("path", SOURCES, ids=_named)
def test_functions_fit_a_screen(path: Path) -> None:
    """Under 60 lines without docstring; nearly all are under 30 and review sees to that."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    long = [
        f"{node.name}: {lines} lines"
        for node in ast.walk(_tree(path))
        if isinstance(node, kinds) and (lines := _lines(node)) > 60
    ]
    assert long == []


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_no_registry_or_absolute_path_stands_in_what_is_shipped() -> None:
    locks = [ROOT / "requirements.lock", ROOT / "requirements-dev.lock"]
    words = ("http://", "https://", "file:", "--index-url", "--extra-index-url", "--find-links")
    lines = itertools.chain.from_iterable(lock.read_text().splitlines() for lock in locks)
    assert [line for line in lines if any(word in line for word in words)] == []
