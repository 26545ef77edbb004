"""docs/architecture.md agrees with the code: who imports whom, and the modules of the gate."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from littlebig_export.repository import SHARED_MODULES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def rules() -> dict[str, set[str]]:
    """The page's table: part -> parts that it may import."""
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", section("Who may import whom"), re.MULTILINE)
    return {part: set(re.findall(r"`(\w+)`", allowed)) for part, allowed in rows}


RULES = rules()


def imported_modules(source: str) -> Iterator[str]:
    """Full names of all modules that a source imports, at any depth; relative imports start with a dot."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def part_of(module: str) -> str | None:
    """The part of the project that a module belongs to; None for all others."""
    top = module.split(".", maxsplit=1)[0]
    if top in ("experiments", "tests"):
        return top
    name = top.removeprefix("littlebig_")
    return name if name in RULES and name != top else None


def forbidden_imports(part: str, source: str) -> list[str]:
    """Imports of a source in `part` that the rules do not allow."""
    allowed = RULES[part] | {part}
    return [
        module
        for module in imported_modules(source)
        if module.startswith(".") or (part_of(module) is not None and part_of(module) not in allowed)
    ]


def sources(part: str) -> list[Path]:
    return sorted((ROOT / part).rglob("*.py"))


def test_the_table_has_every_part_of_the_project():
    packages = {path.parent.parent.name for path in ROOT.glob("*/littlebig_*/__init__.py")}
    assert set(RULES) == packages | {"model_repository"}


@pytest.mark.parametrize("part", RULES)
def test_part_imports_only_what_the_table_allows(part):
    assert sources(part)
    forbidden = {
        str(path.relative_to(ROOT)): modules
        for path in sources(part)
        if (modules := forbidden_imports(part, path.read_text(encoding="utf-8")))
    }
    assert forbidden == {}


def test_code_that_triton_runs_imports_only_modules_beside_it():
    # An export puts the shared modules beside each model. Stages that are Python models are copied from the exporter.
    for path in [*sources("model_repository"), *(ROOT / "export/littlebig_export").glob("*_stage/*.py")]:
        beside = {other.stem for other in path.parent.glob("*.py")} | {Path(name).stem for name in SHARED_MODULES}
        ours = {name for name in imported_modules(path.read_text(encoding="utf-8")) if name.startswith("littlebig")}
        assert ours <= beside, path


@pytest.mark.parametrize(
    ("source", "forbidden"),
    [
        ("import numpy, littlebig_client._options", []),
        ("from littlebig_server import TritonServer", ["littlebig_server"]),
        ("def late():\n    import littlebig_export.pair", ["littlebig_export.pair"]),
        ("from littlebig_contract.text import one_line", []),
        ("from . import _options", ["."]),
        ("import tests.tiny_pair", ["tests.tiny_pair"]),
    ],
)
def test_forbidden_imports_are_found(source, forbidden):
    assert forbidden_imports("client", source) == forbidden


def test_page_lists_every_module_of_the_gate():
    listed = re.findall(r"^\| `(\w+\.py)` \|", section("The gate's modules"), re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in (ROOT / "model_repository/little_big/1").glob("*.py"))


def test_files_that_the_page_names_exist():
    paths = set(re.findall(r"`((?:client|export|calibration|server|benchmarks|model_repository|tests)/[^`*]+)`", PAGE))
    assert len(paths) > 10
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
