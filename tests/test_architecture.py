"""The rules of the house, executed: direction of imports, single homes, sizes. The contracts are in pyproject.toml."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOUSES = ("rlq_ray", "cluster", "tuning", "pipelines")
SOURCES = sorted(path for house in HOUSES for path in (ROOT / house).rglob("*.py"))
MOST_LINES = 400
"""The aim is 250; beyond this a file is to be parted."""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports_of(path: Path) -> list[ast.Import | ast.ImportFrom]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]


def test_imports_keep_the_contracts():
    lint = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    done = subprocess.run(lint, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[done.stdout.find("Broken contracts") :] + done.stderr


def test_every_room_has_its_floor():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    placed = {room.strip(" ()") for layer in layers for part in layer.split("|") for room in part.split(":")}
    entries = [entry for entry in (ROOT / "rlq_ray").iterdir() if any(entry.glob("*.py")) or entry.suffix == ".py"]
    rooms = {f"rlq_ray.{entry.stem}" for entry in entries if entry.stem != "__init__"}
    assert rooms - placed == set(), "name these in the layers of pyproject.toml"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_file_is_readable(path):
    assert path.stem not in ("utils", "util", "helpers", "misc", "common"), "name it after what it does"
    assert len(path.read_text().splitlines()) <= MOST_LINES
    documented = ast.get_docstring(ast.parse(path.read_text())) or not path.read_text()
    assert documented, "say what the module is and what it must not know"
    starred = [node.lineno for node in imports_of(path) for alias in node.names if alias.name == "*"]
    assert starred == [], "name what is imported"


@pytest.mark.parametrize("path", [path for path in SOURCES if path.name == "__init__.py"], ids=name_of)
def test_a_package_says_what_it_exports(path):
    assigned = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Assign)]
    names = {target.id for node in assigned for target in node.targets if isinstance(target, ast.Name)}
    assert not imports_of(path) or "__all__" in names


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_s3_has_one_home(path):
    modules = [
        node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name for node in imports_of(path)
    ]
    uses_s3 = any(module.partition(".")[0] in ("boto3", "botocore", "s3fs", "aiobotocore") for module in modules)
    assert not uses_s3 or name_of(path) == "rlq_ray/storage/s3.py"


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("rlq_ray.config.schema", {"torch", "ray", "mlflow", "boto3"}),
        ("rlq_ray.storage", {"torch", "ray", "mlflow", "boto3"}),
        ("rlq_ray.tracking", {"torch", "ray", "mlflow"}),
        ("cluster.mlflow_server", {"torch", "ray", "mlflow"}),
        ("pipelines.cli", {"torch", "ray", "mlflow", "boto3", "pyarrow"}),
        ("pipelines.console", {"torch", "ray", "mlflow", "boto3"}),
        ("pipelines.doctor", {"torch", "ray", "mlflow", "boto3"}),
        ("cluster.stack.course", {"torch", "ray", "mlflow", "boto3"}),
    ],
)
def test_a_light_module_stays_light(module, heavy):
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert heavy & set(loaded.split()) == set()
