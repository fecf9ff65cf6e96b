"""Who may import whom (DESIGN section 2): the rooms depend downward only, and heavy packages stay where they belong."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BASE = {
    "embodiment",
    "errors",
    "files",
    "page",
    "plots",
    "progress",
    "tables",
    "tpu",
    "images",
    "python_file",
    "spec",
    "typed_json",
    "versions",
}
ROOMS: dict[str, set[str]] = {
    "embodiment": {"errors"},
    "errors": set(),
    "files": {"errors"},
    "page": set(),
    "plots": set(),
    "progress": set(),
    "python_file": {"errors"},
    "tables": set(),
    "images": {"embodiment", "errors"},
    "tpu": set(),
    "spec": {"embodiment", "errors"},
    "typed_json": {"errors"},
    "versions": {"page"},
    "robots": BASE,
    "data": BASE | {"robots"},
    "models": BASE,
    "train": BASE | {"data", "models"},
    "serve": BASE | {"models", "robots", "train.checkpoint", "data.protobuf", "data.tfrecord"},
    "eval": BASE | {"serve", "robots", "data", "control"},
    "control": BASE | {"robots", "drivers.driver", "serve.rlds"},
    "doctor": BASE | {"data", "robots", "serve", "drivers", "control"},
    "drivers": BASE | {"robots", "eval.sim"},
    "plan": BASE | {"data", "models", "train"},
    "reproduce": BASE | {"data", "models", "train", "serve", "eval", "robots"},
    "finetune": BASE | {"data", "models", "train", "robots", "plan"},
    "quickstart": BASE | {"data", "models", "train", "serve", "eval", "robots", "reproduce.stages"},
    "cli": BASE
    | {"data", "models", "train", "serve", "eval", "robots", "quickstart", "reproduce", "plan", "finetune"}
    | {"control", "drivers", "doctor"},
    "__init__": BASE | {"serve"},
}
FORBIDDEN_PACKAGES = {"robots": {"jax", "tensorflow"}, "data": {"jax"}, "models": {"tensorflow"}, "train": {"tensorflow"}}


def imported_modules(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def modules_of(room: str) -> list[Path]:
    folder = ROOT / "rtx" / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [ROOT / "rtx" / f"{room}.py"]


def test_every_module_belongs_to_a_room():
    names = {p.stem if p.suffix == ".py" else p.name for p in (ROOT / "rtx").iterdir() if p.suffix == ".py" or p.is_dir()}
    assert names - {"__pycache__"} == set(ROOMS)


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_imports_only_downward(room):
    allowed = ROOMS[room] | {room}
    for path in modules_of(room):
        for name in imported_modules(path):
            if name.startswith("rtx.") and name not in ("rtx.__version__",):
                inside = name.removeprefix("rtx.")
                ok = inside.split(".")[0] in allowed or any(inside == a or inside.startswith(a + ".") for a in allowed)
                # `from rtx.train import checkpoint` names the package on the way to the module it may use
                ok = ok or any(a.startswith(inside + ".") for a in allowed)
                assert ok, f"{path.relative_to(ROOT)} imports {name}; {room} may import {sorted(allowed)}"


@pytest.mark.parametrize("room", sorted(FORBIDDEN_PACKAGES))
def test_heavy_packages_stay_out(room):
    for path in modules_of(room):
        if path.name == "write.py":  # where RLDS is written, and only there
            continue
        packages = {name.split(".")[0] for name in imported_modules(path)}
        assert not packages & FORBIDDEN_PACKAGES[room], path


def test_the_client_never_imports_rtx():
    for path in (ROOT / "rtx_client").rglob("*.py"):
        assert not {name for name in imported_modules(path) if name.split(".")[0] == "rtx"}, path


def test_import_rtx_is_light():
    code = "import rtx, rtx.spec, rtx.cli, sys; print(sorted({'jax', 'tensorflow', 'mujoco', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
