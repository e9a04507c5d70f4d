"""The package as others install it: one version, a wheel with the library and nothing else, a complete sdist."""

import os
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from importlib.metadata import version
from pathlib import Path

import pytest

import gaussflow

ROOT = Path(__file__).parent.parent
SOURCES = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src" / "gaussflow").rglob("*.py")}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel and the sdist, built from the tree as it is."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", folder], cwd=ROOT, check=True, capture_output=True
    )
    return next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))


def test_one_version(built):
    wheel, sdist = built
    assert version("gaussflow") == gaussflow.__version__
    assert wheel.name == f"gaussflow-{gaussflow.__version__}-py3-none-any.whl"
    assert sdist.name == f"gaussflow-{gaussflow.__version__}.tar.gz"
    done = subprocess.run([sys.executable, "-m", "gaussflow", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"gaussflow {gaussflow.__version__}\n"


def test_the_wheel_holds_the_library_and_nothing_else(built):
    with zipfile.ZipFile(built[0]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        (metadata,) = (wheel.read(name) for name in wheel.namelist() if name.endswith("METADATA"))
    assert names == SOURCES | {"gaussflow/py.typed"}
    fields = message_from_bytes(metadata)
    assert fields["License-Expression"] == "MIT"
    assert {"tabular", "test", "lint", "bench", "dev"} <= set(fields.get_all("Provides-Extra"))
    needs = {entry.split(">")[0] for entry in fields.get_all("Requires-Dist") if "extra ==" not in entry}
    assert needs == {"torch", "numpy", "scipy", "einops", "safetensors", "tqdm", "typing-extensions"}


def test_the_sdist_can_be_worked_from(built):
    with tarfile.open(built[1]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
        modes = {member.name.partition("/")[2]: member.mode for member in sdist.getmembers()}
    wanted = {f"src/{name}" for name in SOURCES} | {
        "run",
        "constraints.txt",
        "README.md",
        "LICENSE",
        "tests/test_package.py",
    }
    assert wanted <= names
    assert modes["run"] & 0o111


def test_the_wheel_works_away_from_the_repository(built, tmp_path):
    code = "import gaussflow as g; print(g.__file__); print(g.Flow(g.Standardize(3)).sample(2).shape)"
    environment = os.environ | {"PYTHONPATH": str(built[0])}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [str(built[0] / "gaussflow" / "__init__.py"), "torch.Size([2, 3])"]
