"""The rooms of the house: who may import whom, and how large a file may grow."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import vlm_lens

PACKAGE = Path(vlm_lens.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# The rooms that each room may import, itself aside. Every room may raise an error of the package.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "_tl": set(),
    "layout": set(),
    "metrics": set(),
    "inputs": {"layout"},
    "data": {"layout", "demo", "inputs"},
    "model": {"layout", "inputs", "_tl"},
    "attachments": {"model", "inputs", "layout", "_tl"},
    "recompute": {"attachments", "model", "inputs", "layout", "_tl"},
    "estimates": {"attachments", "model", "inputs", "layout", "_tl"},
    "interventions": {"estimates", "attachments", "model", "layout", "_tl"},
    "probes": {"interventions", "recompute", "attachments", "model", "layout", "plotting", "_tl"},
    "sweeps": {
        "interventions", "probes", "recompute", "estimates", "attachments", "plotting", "model", "inputs", "layout",
        "_tl",
    },
    "context": {"interventions", "attachments", "model", "inputs", "plotting", "layout"},
    "plotting": {"layout"},
    "hooked_transformer": {"sweeps", "attachments", "model"},
    "hooked_vlm": {
        "hooked_transformer", "context", "sweeps", "interventions", "probes", "attachments", "model", "inputs",
        "layout", "_tl",
    },
    "hooked_clip": {"attachments", "model", "inputs", "layout", "_tl"},
    "demo": {"hooked_vlm", "hooked_clip", "context", "model", "inputs", "layout", "metrics"},
    "report": {"hooked_vlm", "interventions", "probes", "attachments", "plotting", "inputs", "layout", "demo"},
    "experiments": {
        "hooked_vlm", "hooked_clip", "sweeps", "interventions", "probes", "estimates", "attachments", "context",
        "inputs", "layout", "plotting", "data", "metrics", "segmenters",
    },
    "segmenters": {"layout"},
    "cli": {"experiments", "data", "report", "plotting", "hooked_vlm", "demo", "inputs", "layout"},
    "__main__": {"cli"},
}  # fmt: skip

# The façades hand out the bundled model: they ask `vlm_lens.demo` for its folder, and nothing else of it.
MAY_ASK_FOR_THE_DEMO = ("hooked_vlm.py", "hooked_clip.py")

# A library that has its place, and the rooms that are its place.
ONLY_IN: dict[str, set[str]] = {
    "transformer_lens": {"_tl"},
    "plotly": {"plotting", "report"},
    "jinja2": {"report"},
    "typer": {"cli", "demo"},
}

# transformers is imported where checkpoints are read or made.
TRANSFORMERS_IN = ("model/loading/", "demo/", "data/", "segmenters/")

MAX_LINES = 400
NAMELESS = {"utils.py", "helpers.py", "common.py", "misc.py"}


def name_of(file: Path) -> str:
    return file.relative_to(PACKAGE).as_posix()


def room_of(file: Path) -> str:
    """The top-level module or package that a file stands in: `layout`, `cli`."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


@cache
def imported_modules(file: Path) -> frozenset[str]:
    """Every module a file imports when it runs, at its top or inside a function, in full.

    `from vlm_lens.layout import regions` gives `vlm_lens.layout` and `vlm_lens.layout.regions`.
    """
    return frozenset(walked_imports(file))


def walked_imports(file: Path) -> Iterator[str]:
    package = ("vlm_lens", *file.relative_to(PACKAGE).parent.parts)
    nodes: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and is_type_checking(node.test):
            nodes.extend(node.orelse)
            continue
        nodes.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def rooms_imported(file: Path) -> set[str]:
    """The rooms of this package that a file imports from; a public name stands for the façade."""
    rooms = set()
    for module in imported_modules(file):
        first, *rest = module.split(".")
        is_room = rest and ((PACKAGE / rest[0]).is_dir() or (PACKAGE / f"{rest[0]}.py").is_file())
        if first == "vlm_lens" and rest and not rest[0].startswith("__"):
            rooms.add(rest[0] if is_room else "hooked_vlm")
    return rooms


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_run_downwards(file: Path) -> None:
    if name_of(file) == "__init__.py":
        return  # the public names come from every room
    room = room_of(file)
    assert room in MAY_IMPORT, f"{name_of(file)} stands in no room that DESIGN knows"
    allowed = MAY_IMPORT[room] | {room, "errors"}
    if name_of(file) in MAY_ASK_FOR_THE_DEMO:
        from_demo = {module for module in imported_modules(file) if module.startswith("vlm_lens.demo.")}
        assert all(module.endswith("_folder") for module in from_demo), from_demo
        allowed |= {"demo"}
    assert rooms_imported(file) <= allowed, f"{name_of(file)} imports upwards"


def test_the_rooms_have_an_order() -> None:
    below = {room: set(rooms) for room, rooms in MAY_IMPORT.items()}
    while below:
        lowest = {room for room, rooms in below.items() if not rooms & below.keys()}
        assert lowest, f"these rooms import each other: {sorted(below)}"
        below = {room: rooms for room, rooms in below.items() if room not in lowest}


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_stays_in_its_place(library: str) -> None:
    users = {room_of(file) for file in FILES if library in libraries_imported(file)}
    assert users <= ONLY_IN[library]


def libraries_imported(file: Path) -> set[str]:
    return {module.split(".")[0] for module in imported_modules(file)}


def test_transformers_is_imported_only_where_checkpoints_are_read_or_made() -> None:
    users = {name_of(file) for file in FILES if "transformers" in libraries_imported(file)}
    assert {user for user in users if not user.startswith(TRANSFORMERS_IN)} == set()


INTERVENTIONS = sorted(set((PACKAGE / "interventions").glob("*.py")) - {PACKAGE / "interventions" / "__init__.py"})


def test_interventions_do_not_import_each_other() -> None:
    base = "vlm_lens.interventions.base"
    assert INTERVENTIONS
    for file in INTERVENTIONS:
        siblings = {m for m in imported_modules(file) if m.startswith("vlm_lens.interventions.")}
        assert {sibling for sibling in siblings if not sibling.startswith(base)} == set(), file.name


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_file_has_one_idea(file: Path) -> None:
    assert file.name not in NAMELESS, "name the idea that the file holds"
    n_lines = len(file.read_text(encoding="utf-8").splitlines())
    assert n_lines <= MAX_LINES, f"{n_lines} lines: divide it"


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_annotations_are_values_that_can_be_checked(file: Path) -> None:
    """jaxtyping reads shapes when a function is defined, so they must not stay strings."""
    assert "__future__.annotations" not in imported_modules(file)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_the_library_prints_nothing(file: Path) -> None:
    if room_of(file) in ("cli", "__main__") or name_of(file).startswith("demo/"):
        return  # commands speak to whoever ran them
    nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    calls = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
    assert "print" not in calls


def test_every_library_imported_is_a_declared_dependency() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {canonical(re.split(r"[<>=!~\[; ]", line)[0]) for line in project["dependencies"]}
    libraries = set().union(*map(libraries_imported, FILES)) - sys.stdlib_module_names - {"vlm_lens"}
    providers = packages_distributions()
    undeclared = {
        library
        for library in libraries
        if not declared & {canonical(distribution) for distribution in providers.get(library, [library])}
    }
    assert undeclared == set()


def canonical(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()
