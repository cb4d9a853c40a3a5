"""A hub that serves another model under the pinned name and revision is refused by what it is."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from m43.errors import FailureClass
from m43.evidence.contract.check import failing
from m43.evidence.contract.checks import auth_checks
from m43.evidence.contract.planned import plan_checks
from m43.harness.gates import auth, plan
from m43.records.plan_record import PlanRecord
from m43.records.profile import Profile
from tests.unit.evidence.good_records import venv_record
from tests.unit.harness.conftest import WEIGHT_BYTES, StartWorld
from tests.unit.harness.copied_tree import CopiedTree

# A Gemma 3 of one layer, with the keys of google/gemma-3-270m.
GEMMA_3 = {
    "architectures": ["Gemma3ForCausalLM"],
    "bos_token_id": 2,
    "eos_token_id": 1,
    "head_dim": 8,
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 16,
    "intermediate_size": 32,
    "layer_types": ["full_attention"],
    "max_position_embeddings": 512,
    "model_type": "gemma3_text",
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "num_key_value_heads": 1,
    "pad_token_id": 0,
    "query_pre_attn_scalar": 8,
    "rms_norm_eps": 1e-06,
    "rope_local_base_freq": 10000.0,
    "rope_theta": 1000000.0,
    "sliding_window": 32,
    "torch_dtype": "bfloat16",
    "vocab_size": 64,
}


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """Make the folder that the hub serves under the pinned name: a Gemma 3."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(GEMMA_3))
    (folder / "tokenizer.json").write_text("{}\n")
    (folder / "model.safetensors").write_bytes(WEIGHT_BYTES)
    return folder


def promising(profile: Profile, **changes: object) -> Profile:
    """Promise another model."""
    return replace(profile, contract=replace(profile.contract, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"file_bytes": {"model.safetensors": 1_281_352}}, "model.safetensors: 307,200 bytes"),
        ({"file_sha256": {"model.safetensors": "0" * 64}}, "model.safetensors: sha256 "),
        ({"file_sha256": {"config.json": "0" * 64}}, "config.json: git-sha1 "),
    ],
)
def test_other_files_are_refused_before_a_byte_of_them_moves(
    start_world: StartWorld, profile: Profile, changes: dict[str, object], found: str
) -> None:
    """The hub itself tells their sizes and digests at gate auth."""
    hub_access, hub = start_world()
    profile = promising(profile, **changes)

    (check,) = failing(auth_checks(auth.measure(hub_access, profile), profile))

    assert check.failure_class is FailureClass.WRONG_MODEL
    assert check.found.startswith(found)
    assert len(hub.requests) == 4


def planned(start_world: StartWorld, profile: Profile, tmp_path: Path) -> PlanRecord:
    """Pass the auth gate, then have the real child plan from the config.json that is served."""
    hub_access, _ = start_world()
    record = auth.measure(hub_access, profile)
    assert failing(auth_checks(record, profile)) == ()
    small = replace(profile.training, batch_rows=1, sequence_tokens=32)
    return plan.measure(
        hub_access,
        replace(profile, training=small),
        record,
        replace(venv_record(), interpreter=sys.executable),
        run_folder=tmp_path / "runs" / "one",
        repository=Path(plan.__file__).parents[3],
    )


def test_another_config_json_is_refused_before_the_weights_are_fetched(
    start_world: StartWorld, profile: Profile, tmp_path: Path
) -> None:
    """Where files of the promised sizes are served, config.json tells which model they are."""
    record = planned(start_world, profile, tmp_path)

    checks = plan_checks(record, profile)

    (check,) = [each for each in checks if each.failure_class is FailureClass.WRONG_MODEL]
    assert record.reason == ""
    assert (check.holds, check.expected) == (False, "GemmaForCausalLM, 639,616 parameters")
    # Embedding 64 x 16, attention 768, feed-forward 1536, norms 5 x 16, those of q and k 16.
    assert check.found == "Gemma3ForCausalLM, 3,424 parameters"


@pytest.mark.parametrize(
    ("old", "new", "gate"),
    [
        ("= 1_281_352", "= 1_281_353", "1 of 4 (auth)"),
        ("12833f73", "02833f73", "1 of 4 (auth)"),
        ("", "", "2 of 4 (venv)"),
    ],
)
def test_a_run_of_another_model_ends_at_the_first_gate_that_can_know(
    copied_tree: CopiedTree, old: str, new: str, gate: str
) -> None:
    """Its class, its sentence and what to do are those of a wrong model."""
    path = copied_tree.root / "acceptance" / "rehearsal.toml"
    path.write_text(path.read_text().replace(old, new, 1))
    if not old:
        copied_tree.misbehave("another model")

    result = copied_tree.pytest("acceptance", "-m", "rehearsal")

    (run,) = (each for each in copied_tree.runs.iterdir() if each.is_dir())
    text = (run / "failure_analysis.md").read_text()
    assert result.returncode == 1
    assert f"at gate {gate}: **wrong model**" in text
    assert "is not the model that the contract describes" in " ".join(result.stdout.split())
    assert not (run / "download.json").exists()


def test_another_contract_is_named_in_the_first_lines_everywhere(copied_tree: CopiedTree) -> None:
    """Terminal, summary and report: which model instead of which, under the verdict itself."""
    path = copied_tree.root / "acceptance" / "mine.toml"
    text = (path.parent / "rehearsal.toml").read_text()
    path.write_text(text)
    bundled = text.replace('repo = "m43/toy-gemma"', 'repo = "m43/another"')
    (path.parent / "rehearsal.toml").write_text(bundled)

    result = copied_tree.pytest("acceptance", "-m", "rehearsal", "--m43-profile", str(path))

    (run,) = (each for each in copied_tree.runs.iterdir() if each.is_dir())
    words = "contract.repo: 'm43/toy-gemma' instead of 'm43/another'"
    assert result.returncode == 0, result.stdout
    end = result.stdout[result.stdout.rindex("m43 rehearsal") :]
    assert "ACCEPTED (rehearsal) under another contract" in end.splitlines()[0]
    assert words in " ".join("".join(end.splitlines()[1:4]).split())
    assert not (run / "m43_summary.md").exists()
    summary = (run / "own_summary.md").read_text().split("## In short")[0]
    assert "under another contract**" in summary
    assert "**Another contract**: own, in 1 point not the M43 contract:" in summary
    assert f"- `{words}`" in summary
    page = (run / "report.html").read_text()
    assert "contract.repo: &#x27;m43/toy-gemma" in page[: page.index('class="figures"')]
