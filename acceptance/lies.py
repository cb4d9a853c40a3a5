"""The table of lies: for each promise what a record would have to say to break it, and no other.

    pytest acceptance -m rehearsal    # once, so that there are records to lie about
    pytest acceptance/lies.py         # each lie is told over them, and nothing is run again

A promise that no lie breaks might be one that never fails. A name on the left is what a promise
asks of a record; a lie that touches two promises is told consistently.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest

from m43.errors import M43Error
from m43.evidence.run import broken_by, records_of, untold

FOLDER = Path(__file__).parent
ANOTHER = "0" * 64
LIES = {
    "test_auth_belongs_to_the_only_attempt_under_this_name": {"opening.attempts_of_this_run": 2},
    "test_auth_finds_the_token_in_hf_token": {"auth.token_source": "a file"},
    "test_auth_is_granted_access_to_the_model": {"auth.access_statuses": (200, 403, 404)},
    "test_auth_is_offered_the_weights": {"auth.weights_statuses": (404,)},
    "test_auth_resolves_the_pinned_revision_of_the_model": {"auth.repo": "another/model"},
    "test_auth_finds_every_file_of_the_model": {"auth.missing_files": ("model.safetensors",)},
    "test_auth_finds_weights_of_the_promised_sizes": {"auth.weight_sizes": {}},
    "test_auth_finds_the_promised_digests": {"contract.known_sha256": (("a file", ANOTHER),)},
    "test_auth_moves_no_weights": {"auth.weight_bytes": 1},
    "test_venv_is_the_environment_that_was_named": {"venv.path": "/another"},
    "test_venv_runs_on_linux": {"venv.probe.system": "Windows"},
    "test_venv_holds_every_package_that_training_needs": {"venv.unsatisfied": ("jax",)},
    "test_venv_computes_on_the_promised_device": {
        "venv.device": "cpu:another",
        "train.device": "cpu:another",
        "evaluation.device": "cpu:another",
    },
    "test_venv_finds_the_card_by_its_driver_as_well": {"plan.card_by_driver": "another card"},
    "test_venv_device_computes_right_numbers": {"venv.probe.numerics.product_relative_error": 0.5},
    "test_venv_device_takes_right_steps": {"venv.probe.numerics.loss_relative_error": 0.5},
    "test_venv_devices_exchange_right_bits": {"venv.right_devices": 0},
    "test_venv_loads_packages_as_their_wheels_brought_them": {"venv.altered": ("jax/__init__.py",)},
    "test_venv_plans_for_the_promised_model": {"plan.parameters": 1},
    "test_venv_has_the_memory_that_training_takes": {"plan.memory_bytes": 0},
    "test_venv_has_the_disk_that_the_run_takes": {"plan.run.needed_bytes": 2**60},
    "test_train_ends_by_itself_and_well": {"train.process.exit_status": 1},
    "test_train_uses_jax_on_the_device_of_the_environment": {"train.backend": "torch"},
    "test_train_runs_on_as_many_devices_as_promised": {"train.devices": 2, "evaluation.devices": 2},
    "test_train_is_done_by_as_many_processes_as_promised": {"contract.processes": 2},
    "test_train_processes_are_alike": {"train.kinds_of_process": ("one", "another")},
    "test_train_processes_compute_the_same": {"train.computed_by_processes": ("one", "another")},
    "test_train_runs_the_code_that_was_digested": {"train.imported.changed": ("m43/core/step.py",)},
    "test_train_loads_packages_as_their_wheels_brought_them": {
        "train.imported.altered": ("jax/__init__.py",)
    },
    "test_train_starts_from_the_pinned_files": {"train.download.files": ()},
    "test_train_trains_the_promised_model": {"train.parameters": 1},
    "test_train_takes_exactly_the_promised_steps": {
        "train.optimizer_steps": 1,
        "train.losses_nats": (1.0,),
        "train.process.steps_seen": 1,
    },
    "test_train_steps_are_counted_alike_by_three": {"train.process.steps_seen": 1},
    "test_train_learns_from_answers_at_every_step": {"train.supervised_tokens": (0,)},
    "test_train_uses_the_rows_that_were_given": {"train.train_rows_sha256": ANOTHER},
    "test_train_is_one_epoch_at_most": {"train.epochs": 1e9},
    "test_train_stays_within_its_time": {"train.process.duration_s": 1e9},
    "test_train_moves_the_weights": {"train.parameters_moved": 0},
    "test_train_saves_a_model_that_reads_back": {"train.reloaded_sha256": ANOTHER},
    "test_train_process_knows_no_token": {
        "train.process.variables": ("HF_HUB_OFFLINE", "HF_TOKEN")
    },
    "test_eval_ends_by_itself_and_well": {"evaluation.process.exit_status": 1},
    "test_eval_runs_the_code_that_was_digested": {
        "evaluation.imported.changed": ("m43/core/decode.py",)
    },
    "test_eval_loads_packages_as_their_wheels_brought_them": {
        "evaluation.imported.altered": ("jax/__init__.py",)
    },
    "test_eval_judges_the_model_that_was_trained": {"evaluation.model_sha256": ANOTHER},
    "test_eval_runs_where_training_ran": {"evaluation.device": "cpu:another"},
    "test_eval_reads_the_evaluation_file_that_was_given": {"evaluation.eval_rows_sha256": ANOTHER},
    "test_eval_answers_every_row_once": {"evaluation.rows_in_file": 1},
    "test_eval_scores_every_row": {"evaluation.recomputed_results": None},
    "test_closing_finds_the_environment_unchanged": {"closing.packages_sha256": ANOTHER},
    "test_closing_finds_the_working_tree_unchanged": {"closing.changed_paths": ("README.md",)},
    "test_closing_finds_the_trained_model_unchanged": {"closing.model_sha256": ANOTHER},
    "test_closing_finds_exactly_one_document": {"closing.documents": ()},
    "test_closing_finds_the_code_of_m43_in_its_place": {"closing.foreign_code": ("m43.gate",)},
    "test_closing_judges_with_packages_as_their_wheels_brought_them": {
        "closing.altered": ("_pytest/runner.py",)
    },
}


@pytest.fixture(scope="module")
def records() -> Mapping[str, object]:
    """Those of the last accepted rehearsal of this contract; without one, no lie can be told."""
    try:
        return records_of(FOLDER)
    except M43Error as error:
        pytest.exit(str(error), returncode=1)


def test_every_promise_has_its_lie() -> None:
    """And every lie its promise."""
    assert untold(FOLDER, LIES) == ()


@pytest.mark.parametrize("promise", LIES)
def test_a_lie_breaks_its_promise_and_no_other(promise: str, records: Mapping[str, object]) -> None:
    """Whatever else the records say stays as it was recorded."""
    assert broken_by(FOLDER, records, LIES[promise]) == (promise,)
