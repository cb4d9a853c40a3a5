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
from tests.world.circumstances import GOOD
from tests.world.engineer import RUN, Engineer
from tests.world.namespace import REPOSITORY

COMMAND = [sys.executable, "-m", "pytest", "acceptance", "-m", "production"]

# What makes a card of a CPU, in every process of the environment.
LIAR = """
import os
import sys

os.environ["JAX_PLATFORMS"] = "cpu"


class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "m43.training":
            sys.meta_path.remove(self)
            import jax

            for device in jax.devices("cpu"):
                type(device).device_kind = property(lambda self: "NVIDIA GeForce RTX 5090")
                type(device).platform = property(lambda self: "gpu")
            jax.default_backend = lambda: "gpu"
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


def lying_environment(folder: Path) -> None:
    """Make an environment with every package of this one, and a module that lies of the device."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    inside = folder / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith("__"):
            (inside / entry.name).symlink_to(entry)
    plugin = inside / f"jax_cuda13_plugin-{version('jax')}.dist-info"
    plugin.mkdir()
    about = f"Metadata-Version: 2.1\nName: jax-cuda13-plugin\nVersion: {version('jax')}\n"
    (plugin / "METADATA").write_text(about)
    (inside / "liar.py").write_text(LIAR)
    (inside / "liar.pth").write_text("import liar\n")


def go(engineer: Engineer, forged: Path, profile: Profile, **served_as: object) -> str:
    """Run production as it stands, and return what its one document says."""
    lying_environment(engineer.tree.root / ".venv-gpu")
    contract = profile.contract
    forger = replace(engineer, model=forged)
    served = {"name": contract.repo, "revision": contract.revision} | served_as
    (ran,) = forger.go(GOOD[0], COMMAND, **served).ended
    assert ran.status == 1, ran.output
    run = RunDir(engineer.tree.folder_of(RUN))
    assert examine_folder(engineer.tree, run.path, ran.status).closed_by == ITSELF
    assert not run.summary.exists()
    return run.failure_analysis.read_text()


def test_a_toy_under_the_name_of_the_model_is_not_taken_for_it(
    engineer: Engineer, forged_model: Path, production: Profile
) -> None:
    """The contract knows the sizes of the files; the hub's word is held against it."""
    document = go(engineer, forged_model, production)
    assert "test_auth_finds_weights_of_the_promised_sizes" in document
    assert "wrong model" in document
    for size in production.contract.file_bytes.values():
        assert f"{size:,} bytes" in document


def test_a_module_that_calls_the_cpu_a_card_is_named(
    engineer: Engineer, forged_model: Path, production: Profile
) -> None:
    """A hub that lies about sizes comes past the first gate; what lies of the device does not."""
    document = go(engineer, forged_model, production, sizes=dict(production.contract.file_bytes))
    assert "liar.pth" in document
