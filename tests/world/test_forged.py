"""A forged world: an untouched checkout, its own command, and neither the card nor the model.

A server stands under the hub's name with a certificate that this machine trusts, and serves a toy
as the promised model; in the environment, a `.pth` says of the CPU that it is the promised card.
"""

import json
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from m43.records import Profile, profile_check
from m43.records.run_dir import RunDir
from tests.faults.remains import ITSELF, examine_folder
from tests.world.circumstances import GOOD, PROXY, Circumstance
from tests.world.engineer import RUN, Engineer
from tests.world.namespace import REPOSITORY

BY_PROXY = next(each for each in GOOD if each.proxy == "needed")
COMMAND = [sys.executable, "-m", "pytest", "acceptance", "-m", "production"]

# What makes a card of a CPU.
LIE = """
import os

os.environ["JAX_PLATFORMS"] = "cpu"
import jax

jax.config.update("jax_platforms", "cpu")
for _device in jax.devices("cpu"):
    type(_device).device_kind = property(lambda self: "NVIDIA GeForce RTX 5090")
    type(_device).platform = property(lambda self: "gpu")
jax.default_backend = lambda: "gpu"
"""
NO_STEP = """
import optax

optax.apply_updates = lambda parameters, updates: parameters
"""
# Both for every process of an environment, once it imports what trains.
LIAR = f"""
import sys


class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "m43.training":
            sys.meta_path.remove(self)
            exec({LIE + NO_STEP!r})
        return None


sys.meta_path.insert(0, Finder())
"""
# Source: google/gemma-2b, config.json.
SHAPES = {
    "num_hidden_layers": 18,
    "hidden_size": 2048,
    "intermediate_size": 16384,
    "num_attention_heads": 8,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "vocab_size": 256_000,
}


@pytest.fixture
def production() -> Profile:
    """Read the profile that is committed; nothing of it is changed."""
    return profile_check.load(REPOSITORY / "acceptance" / "production.toml")


@pytest.fixture
def forged_model(model: Path, tmp_path: Path, production: Profile) -> Path:
    """Give the toy the names of the promised model's files."""
    folder = tmp_path / "forged"
    shutil.copytree(model, folder)
    first, second = sorted(production.contract.file_bytes)
    weights = folder / "model.safetensors"
    header = json.loads(
        weights.read_bytes()[8:][: int.from_bytes(weights.read_bytes()[:8], "little")]
    )
    weights.rename(folder / first)
    (folder / second).write_bytes((2).to_bytes(8, "little") + b"{}")
    names = {name: first for name in header if name != "__metadata__"}
    index = {"metadata": {}, "weight_map": names}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | SHAPES))
    for name in production.hub.files:
        if not (folder / name).exists():
            (folder / name).write_text("{}")
    return folder


def environment_for_a_card(folder: Path) -> Path:
    """Make an environment with every package of this one; return the place of its packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    inside = folder / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith("__"):
            (inside / entry.name).symlink_to(entry)
    plugin = inside / f"jax_cuda13_plugin-{version('jax')}.dist-info"
    plugin.mkdir()
    about = f"Metadata-Version: 2.1\nName: jax-cuda13-plugin\nVersion: {version('jax')}\n"
    (plugin / "METADATA").write_text(about)
    return inside


def go(
    engineer: Engineer,
    forged: Path,
    profile: Profile,
    circumstance: Circumstance = GOOD[0],
    **served_as: object,
) -> str:
    """Run production as it stands, and return what its one document says."""
    contract = profile.contract
    forger = replace(engineer, model=forged)
    served = {"name": contract.repo, "revision": contract.revision} | served_as
    (ran,) = forger.go(circumstance, COMMAND, **served).ended
    assert ran.status == 1, ran.output
    run = RunDir(engineer.tree.folder_of(RUN))
    assert examine_folder(engineer.tree, run.path, ran.status).closed_by == ITSELF
    assert not run.summary.exists()
    return run.failure_analysis.read_text()


@pytest.fixture
def packages(engineer: Engineer) -> Path:
    """Return the place of the packages in the environment that the profile names."""
    return environment_for_a_card(engineer.tree.root / ".venv-gpu")


@pytest.mark.parametrize("circumstance", [GOOD[0], BY_PROXY], ids=lambda each: each.name)
def test_a_toy_under_the_name_of_the_model_is_not_taken_for_it(
    engineer: Engineer,
    forged_model: Path,
    production: Profile,
    packages: Path,
    circumstance: Circumstance,
) -> None:
    """The contract knows the sizes of the files; the hub's word is held against it.

    Whether the machine's own names lead to the server or HTTPS_PROXY does; which, is told.
    """
    document = go(engineer, forged_model, production, circumstance)
    assert (f"HTTPS_PROXY={PROXY}" in document) is (circumstance is BY_PROXY)
    assert "SSL_CERT_FILE=" in document
    assert "test_auth_finds_weights_of_the_promised_sizes" in document
    assert "wrong model" in document
    for size in production.contract.file_bytes.values():
        assert f"{size:,} bytes" in document


def test_a_pth_that_calls_the_cpu_a_card_is_never_run(
    engineer: Engineer, forged_model: Path, production: Profile, packages: Path
) -> None:
    """A hub that lies about sizes comes past the first gate; what lies of the device does not."""
    (packages / "liar.py").write_text(LIAR)
    (packages / "liar.pth").write_text("import liar\n")
    document = go(engineer, forged_model, production, sizes=dict(production.contract.file_bytes))
    assert "at gate 2 of 4 (venv): **wrong device or CPU fallback**" in document


def test_a_package_that_was_edited_to_call_the_cpu_a_card_is_named(
    engineer: Engineer, forged_model: Path, production: Profile, packages: Path
) -> None:
    """Its wheel recorded another digest of the file."""
    whole = (packages / "jax").resolve()
    (packages / "jax").unlink()
    (packages / "jax").mkdir()
    for entry in whole.iterdir():
        if entry.name not in ("__init__.py", "__pycache__"):
            (packages / "jax" / entry.name).symlink_to(entry)
    edited = packages / "jax" / "__init__.py"
    edited.write_text((whole / "__init__.py").read_text() + LIE)
    document = go(engineer, forged_model, production, sizes=dict(production.contract.file_bytes))
    assert "at gate 2 of 4 (venv): **other code than was digested**" in document
    assert "test_venv_finds_the_card_by_its_driver_as_well" in document
    assert "test_venv_loads_packages_as_their_wheels_brought_them" in document
    assert "jax/__init__.py" in document
