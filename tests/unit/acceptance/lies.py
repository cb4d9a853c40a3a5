"""The table of lies: for every assert of the contract, records that break it and nothing else.

A lie is told consistently: whoever claims 299 steps also shows 299 losses. So each breaks exactly
one promise, and an assert that no lie can break alone says nothing of its own.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from m43.evidence.run.loaded_run import EvaluationFacts, TrainFacts
from m43.records.evaluation_record import EvaluationRecord, Prediction
from m43.records.hub_record import AuthRecord, HubResponse, PinnedFile
from m43.records.plan_record import Disk, PlanRecord, StepPlan
from m43.records.profile import Contract, MeshTable
from m43.records.run_records import ClosingRecord, OpeningRecord, TrainRecord
from m43.records.venv_record import VenvRecord
from m43.rows import scoring
from tests.unit.evidence.good_plan import plan_record
from tests.unit.evidence.good_records import (
    BASE_SHA256,
    DEVICE,
    FILES,
    ROWS,
    STEPS,
    auth_record,
    closing_record,
    digest,
    download_record,
    evaluation_record,
    imported_record,
    mesh_record,
    numerics_record,
    opening_record,
    predictions,
    probe_record,
    process_record,
    profile_of,
    requirement,
    step_metrics,
    step_numerics,
    train_record,
    training_process,
    venv_record,
)
from tests.unit.evidence.on_a_card import card_memory


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a run folder says, under the names by which the promises ask for it."""

    opening: OpeningRecord
    contract: Contract
    auth: AuthRecord
    venv: VenvRecord
    plan: PlanRecord
    train: TrainFacts
    evaluation: EvaluationFacts
    closing: ClosingRecord

    @property
    def records(self) -> Mapping[str, object]:
        """The records by name."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def truth() -> Told:
    """Give the records of a run that kept every promise."""
    profile = profile_of()
    download = download_record(profile.contract.revision)
    metrics = tuple(step_metrics(step) for step in range(1, STEPS + 1))
    train, evaluation = train_record(), evaluation_record()
    return Told(
        opening=opening_record("rehearsal", "rehearsal-1"),
        contract=profile.contract,
        auth=auth_record(profile),
        venv=venv_record(),
        plan=plan_record(),
        train=TrainFacts(
            **{name: getattr(train, name) for name in TrainRecord.__dataclass_fields__},
            process=process_record(),
            download=download,
            imported=imported_record(),
            metrics=metrics,
        ),
        evaluation=EvaluationFacts(
            **{name: getattr(evaluation, name) for name in EvaluationRecord.__dataclass_fields__},
            process=process_record(steps_seen=ROWS),
            imported=imported_record(),
            predictions=tuple(predictions()),
            results=scoring.tally(predictions()),
            recomputed_results=scoring.tally(predictions()),
        ),
        closing=closing_record(),
    )


@dataclass(frozen=True, kw_only=True)
class Lie:
    """One lie: in words, the promise it breaks, which of its asserts (from 1), and the telling."""

    words: str
    promise: str
    number: int
    tell: Callable[[Told], Told]


def _lie(words: str, promise: str, tell: Callable[[Told], Told], number: int = 1) -> Lie:
    return Lie(words=words, promise=promise, number=number, tell=tell)


# --- how records are changed ---------------------------------------------------------------------


def _opening(**changes: object) -> Callable[[Told], Told]:
    return lambda told: replace(told, opening=replace(told.opening, **changes))


def _auth(**changes: object) -> Callable[[Told], Told]:
    return lambda told: replace(told, auth=replace(told.auth, **changes))


def _answers(*statuses: tuple[str, int]) -> Callable[[Told], Told]:
    responses = tuple(HubResponse(step=step, status=code, error="") for step, code in statuses)
    return _auth(responses=responses)


def _venv(**changes: object) -> Callable[[Told], Told]:
    return lambda told: replace(told, venv=replace(told.venv, **changes))


def _probe(**changes: object) -> Callable[[Told], Told]:
    return _venv(probe=probe_record(**changes))


def _numerics(**changes: object) -> Callable[[Told], Told]:
    return _probe(numerics=numerics_record(**changes))


def _gemma2_steps(**changes: object) -> Callable[[Told], Told]:
    first, last = step_numerics("gemma"), step_numerics("gemma3_text")
    return _numerics(steps=(first, step_numerics("gemma2", **changes), last))


def _plan(**changes: object) -> Callable[[Told], Told]:
    return lambda told: replace(told, plan=replace(told.plan, **changes))


def _planned(**changes: object) -> Callable[[Told], Told]:
    """Plan another training."""

    def tell(told: Told) -> Told:
        assert told.plan.training is not None
        return _plan(training=replace(told.plan.training, **changes))(told)

    return tell


def _nothing_planned(told: Told) -> Told:
    """Plan a training that holds nothing at any time."""
    assert told.plan.training is not None
    sizes = (field for field in StepPlan.__dataclass_fields__ if field.endswith("_bytes"))
    step = replace(told.plan.training.step, **dict.fromkeys(sizes, 0))
    empty = dict.fromkeys(("process_bytes", "weights_bytes", "reading_bytes", "read_back_bytes"), 0)
    return _planned(step=step, **empty)(told)


def _memory(memory_bytes: int) -> Callable[[Told], Told]:
    """Plan for a device with another memory."""

    def tell(told: Told) -> Told:
        training = told.plan.training
        assert training is not None
        limits = replace(training.limits, memory_bytes=memory_bytes)
        return _plan(training=replace(training, limits=limits))(told)

    return tell


def _train(**changes: object) -> Callable[[Told], Told]:
    return lambda told: replace(told, train=replace(told.train, **changes))


def _evaluation(**changes: object) -> Callable[[Told], Told]:
    return lambda told: replace(told, evaluation=replace(told.evaluation, **changes))


def _run_by(child: str, told_by: Callable[..., Callable[[Told], Told]]) -> tuple[Lie, ...]:
    """Lie about the code that a child ran."""
    patched, added = ("site-packages/jax/_src/core.py",), ("/srv/m43/jax/__init__.py",)
    digested = f"test_{child}_runs_the_code_that_was_digested"
    brought = f"test_{child}_loads_packages_as_their_wheels_brought_them"
    lies: tuple[tuple[str, str, int, dict[str, object]], ...] = (
        ("m43 as it was exchanged meanwhile", digested, 1, {"changed": ("m43/training/train.py",)}),
        ("a sitecustomize", digested, 2, {"startup": ("sitecustomize",)}),
        ("nothing that ran", digested, 3, {"files": ()}),
        ("a package that was patched", brought, 1, {"altered": patched}),
        ("a package beside the checkout", brought, 2, {"unrecorded": added}),
    )
    return tuple(
        _lie(f"{words}, {child}", promise, told_by(imported=imported_record(**changes)), number)
        for words, promise, number, changes in lies
    )


def _closing(**changes: object) -> Callable[[Told], Told]:
    return lambda told: replace(told, closing=replace(told.closing, **changes))


def _all(*tellings: Callable[[Told], Told]) -> Callable[[Told], Told]:
    def tell(told: Told) -> Told:
        for each in tellings:
            told = each(told)
        return told

    return tell


def _steps(count: int) -> Callable[[Told], Told]:
    """Claim a number of steps everywhere that steps are counted."""
    return _train(
        optimizer_steps=count,
        metrics=tuple(step_metrics(step) for step in range(1, count + 1)),
        process=process_record(steps_seen=count),
    )


def _promised(**changes: object) -> Callable[[Told], Told]:
    return lambda told: replace(told, contract=replace(told.contract, **changes))


def _two_processes(**changes: object) -> Callable[[Told], Told]:
    """Promise two processes, of which the second says something else of itself."""
    second = training_process(process=1, **({"devices": (f"1 {DEVICE}",)} | changes))
    return _all(_promised(processes=2), _train(processes=(training_process(), second)))


def _device(name: str) -> Callable[[Told], Told]:
    return _all(_probe(default_device=name), _train(device=name), _evaluation(device=name))


def _revision(name: str) -> Callable[[Told], Told]:
    return lambda told: _all(
        _auth(revision=name), _train(download=replace(told.train.download, revision=name))
    )(told)


def _files(*files: PinnedFile) -> Callable[[Told], Told]:
    return lambda told: _all(
        _auth(files=files), _train(download=replace(told.train.download, files=files))
    )(told)


def _weights(**changes: object) -> Callable[[Told], Told]:
    """Describe other weights, at the hub and on disk alike."""
    return _files(*FILES[:-1], replace(FILES[-1], **changes))


def _download(**changes: object) -> Callable[[Told], Told]:
    return lambda told: _train(download=replace(told.train.download, **changes))(told)


def _model(train: str, elsewhere: str) -> Callable[[Told], Told]:
    """Claim one digest of the trained model at training, another at every later look."""
    return _all(
        _train(model_sha256=train, reloaded_sha256=train),
        _evaluation(model_sha256=elsewhere),
        _closing(model_sha256=elsewhere),
    )


def _answered(*rows: Prediction) -> Callable[[Told], Told]:
    """Answer other rows, and leave the scores as they were."""
    return _evaluation(predictions=rows)


def _scored(*rows: Prediction) -> Callable[[Told], Told]:
    """Score other rows, and leave the answers as they were."""
    return _evaluation(results=scoring.tally(rows), recomputed_results=scoring.tally(rows))


_ROWS = tuple(predictions())
_TWICE = (*_ROWS[:-1], _ROWS[0])
_UNSEEN = replace(_ROWS[0], id="eval-v2-101")
_OTHER_FILE = replace(FILES[0], digest=digest("another config.json"))
_FULL = Disk(folder="/full", needed_bytes=2, free_bytes=1)
_UNMET = requirement("optax>=0.2.8", "absent", "0.2", satisfied=False)
_UNTESTED = requirement("optax>=0.2.8", "0.2.8", "")

# --- the table -----------------------------------------------------------------------------------

LIES: tuple[Lie, ...] = (
    _lie(
        "a second attempt under the same name",
        "test_auth_belongs_to_the_only_attempt_under_this_name",
        _opening(attempts_of_this_run=2),
    ),
    _lie(
        "an attempt that the ledger does not know",
        "test_auth_belongs_to_the_only_attempt_under_this_name",
        _opening(attempts_of_this_run=0),
    ),
    _lie(
        "a token from a file",
        "test_auth_finds_the_token_in_hf_token",
        _auth(token_source="token file"),
    ),
    _lie(
        "a hub that refused",
        "test_auth_is_granted_access_to_the_model",
        _answers(("whoami", 200), ("auth_check", 403), ("revision", 200), ("weights_head", 302)),
    ),
    _lie(
        "a question that was never asked",
        "test_auth_is_granted_access_to_the_model",
        _answers(("whoami", 200), ("revision", 200), ("weights_head", 302)),
    ),
    _lie(
        "weights that were never asked for",
        "test_auth_is_offered_the_weights",
        _answers(("whoami", 200), ("auth_check", 200), ("revision", 200)),
    ),
    _lie(
        "another model",
        "test_auth_resolves_the_pinned_revision_of_the_model",
        _auth(repo="google/gemma-2-2b"),
    ),
    _lie(
        "another revision",
        "test_auth_resolves_the_pinned_revision_of_the_model",
        _revision("0" * 40),
        number=2,
    ),
    _lie(
        "a file that the hub has not",
        "test_auth_finds_every_file_of_the_model",
        _auth(missing_files=("tokenizer.json",)),
    ),
    _lie(
        "no files at all, and none promised",
        "test_auth_finds_every_file_of_the_model",
        _all(_files(), _promised(file_bytes={}, file_sha256={})),
        number=2,
    ),
    _lie(
        "weights of another size, a byte more",
        "test_auth_finds_weights_of_the_promised_sizes",
        _weights(size_bytes=FILES[-1].size_bytes + 1),
    ),
    _lie(
        "weights under another name, all alike",
        "test_auth_finds_weights_of_the_promised_sizes",
        _promised(file_sha256={}, file_bytes={"model-00001-of-00001.safetensors": 1}),
    ),
    _lie(
        "weights of the right size and another digest",
        "test_auth_finds_the_promised_digests",
        _weights(digest=digest("another model")),
    ),
    _lie(
        "a promised digest that the hub does not tell",
        "test_auth_finds_the_promised_digests",
        _weights(digest_kind="git-sha1"),
    ),
    _lie("weights moved at auth", "test_auth_moves_no_weights", _auth(weight_bytes=1)),
    _lie(
        "another environment",
        "test_venv_is_the_environment_that_was_named",
        _probe(prefix="/another/venv"),
    ),
    _lie("another system", "test_venv_runs_on_linux", _probe(system="Windows")),
    _lie(
        "a package that is missing",
        "test_venv_holds_every_package_that_training_needs",
        lambda told: _venv(requirements=(*told.venv.requirements, _UNMET))(told),
    ),
    _lie(
        "no requirements",
        "test_venv_holds_every_package_that_training_needs",
        _venv(requirements=()),
        number=2,
    ),
    _lie(
        "a package that may be newer than tested, unnamed",
        "test_venv_holds_every_package_that_training_needs",
        lambda told: _venv(requirements=(*told.venv.requirements, _UNTESTED))(told),
        number=3,
    ),
    _lie(
        "another device, everywhere alike",
        "test_venv_computes_on_the_promised_device",
        _device("gpu:another card"),
    ),
    _lie(
        "wrong products",
        "test_venv_device_computes_right_numbers",
        _numerics(product_relative_error=0.01),
    ),
    _lie(
        "products that were never computed",
        "test_venv_device_computes_right_numbers",
        _numerics(product_relative_error=-1.0),
    ),
    _lie(
        "a wrong softmax",
        "test_venv_device_computes_right_numbers",
        _numerics(softmax_relative_error=float("nan")),
        number=2,
    ),
    _lie(
        "ones and one that make 513",
        "test_venv_device_computes_right_numbers",
        _numerics(operation_relative_error=255.5, operation_worst="ones(4) + 1"),
        number=3,
    ),
    _lie(
        "steps of two families for three",
        "test_venv_device_takes_right_steps",
        _numerics(steps=(step_numerics("gemma"), step_numerics("gemma2"))),
    ),
    _lie(
        "a second loss that is not a number",
        "test_venv_device_takes_right_steps",
        _gemma2_steps(losses_nats=(7.0, sys.float_info.max)),
        number=2,
    ),
    _lie(
        "a second loss that was never computed",
        "test_venv_device_takes_right_steps",
        _gemma2_steps(losses_nats=(7.0,)),
        number=2,
    ),
    _lie(
        "a gradient that is wrong in one weight",
        "test_venv_device_takes_right_steps",
        _gemma2_steps(gradient_relative_error=0.06),
        number=3,
    ),
    _lie(
        "an update that goes up instead of down",
        "test_venv_device_takes_right_steps",
        _gemma2_steps(update_relative_error=2.0),
        number=4,
    ),
    _lie(
        "a sum of two devices that is wrong in one value",
        "test_venv_devices_exchange_right_bits",
        _probe(mesh=mesh_record(wrong_values=1)),
    ),
    _lie(
        "a card of the driver's where none was promised",
        "test_venv_finds_the_card_by_its_driver_as_well",
        _plan(card_memory=card_memory()),
    ),
    _lie(
        "a package that was patched in place",
        "test_venv_loads_packages_as_their_wheels_brought_them",
        _venv(altered=("site-packages/flax/nnx/__init__.py",)),
    ),
    _lie(
        "a package that no wheel brought",
        "test_venv_loads_packages_as_their_wheels_brought_them",
        _venv(unrecorded=("site-packages/helper.py",)),
        number=2,
    ),
    _lie(
        "a config.json of another architecture",
        "test_venv_plans_for_the_promised_model",
        _planned(architecture="Gemma3ForCausalLM"),
    ),
    _lie(
        "a config.json of a smaller model",
        "test_venv_plans_for_the_promised_model",
        _planned(parameters=268_098_176),
        number=2,
    ),
    _lie(
        "a config.json of as many parameters, in other heads",
        "test_venv_plans_for_the_promised_model",
        lambda told: _plan(
            config_values={**told.plan.config_values, "num_attention_heads": 8, "head_dim": 16}
        )(told),
        number=3,
    ),
    _lie(
        "a device whose memory is too small by a byte",
        "test_venv_has_the_memory_that_training_takes",
        lambda told: _memory(int(1.15 * told.plan.peak_bytes))(told),
    ),
    _lie(
        "a plan that takes nothing",
        "test_venv_has_the_memory_that_training_takes",
        _nothing_planned,
    ),
    _lie(
        "a cache that is too full",
        "test_venv_has_the_disk_that_the_run_takes",
        _plan(cache=_FULL),
    ),
    _lie(
        "a run folder that is too full",
        "test_venv_has_the_disk_that_the_run_takes",
        _plan(run=_FULL),
        number=2,
    ),
    _lie(
        "a training that was stopped",
        "test_train_ends_by_itself_and_well",
        _train(process=process_record(ended_by_parent="deadline")),
    ),
    _lie(
        "a training that was killed",
        "test_train_ends_by_itself_and_well",
        _train(process=process_record(exit_status=-9)),
        number=2,
    ),
    _lie(
        "another backend",
        "test_train_uses_jax_on_the_device_of_the_environment",
        _train(backend="torch"),
    ),
    _lie(
        "a fallback to another device",
        "test_train_uses_jax_on_the_device_of_the_environment",
        _all(_train(device="cpu:fallback"), _evaluation(device="cpu:fallback")),
        number=2,
    ),
    _lie(
        "one device of two",
        "test_train_runs_on_as_many_devices_as_promised",
        _all(_train(devices=2, mesh=MeshTable(fsdp=2)), _evaluation(devices=2)),
    ),
    _lie(
        "one process of two",
        "test_train_is_done_by_as_many_processes_as_promised",
        _promised(processes=2),
    ),
    *(
        _lie(
            f"two processes with other {words}",
            "test_train_processes_are_alike",
            _two_processes(**changes),
        )
        for words, changes in {
            "code": {"code_sha256": digest("other code")},
            "packages": {"packages_sha256": digest("other packages")},
            "profiles": {"profile_sha256": digest("another profile")},
            "rows": {"train_rows_sha256": digest("other rows")},
            "weights": {"base_weights_sha256": digest("other weights")},
            "devices": {"devices": ("1 gpu:NVIDIA H100",)},
        }.items()
    ),
    *(
        _lie(
            f"two processes with other {words}",
            "test_train_processes_compute_the_same",
            _two_processes(**changes),
        )
        for words, changes in {
            "losses": {"steps_sha256": digest("other losses")},
            "models": {"reloaded_sha256": digest("another model")},
            "counts": {"optimizer_steps": STEPS - 1},
        }.items()
    ),
    *_run_by("train", _train),
    _lie(
        "files of another revision",
        "test_train_starts_from_the_pinned_files",
        _download(revision="0" * 40),
    ),
    _lie(
        "files with other bytes",
        "test_train_starts_from_the_pinned_files",
        _download(files=(_OTHER_FILE, *FILES[1:])),
        number=2,
    ),
    _lie(
        "another architecture, trained",
        "test_train_trains_the_promised_model",
        _train(architecture="Gemma3ForCausalLM"),
    ),
    _lie(
        "a model of one weight less, trained",
        "test_train_trains_the_promised_model",
        lambda told: _train(parameters=told.train.parameters - 1)(told),
        number=2,
    ),
    _lie("a step less", "test_train_takes_exactly_the_promised_steps", _steps(STEPS - 1)),
    _lie("a step more", "test_train_takes_exactly_the_promised_steps", _steps(STEPS + 1)),
    _lie(
        "138 steps, promised and taken",
        "test_train_takes_exactly_the_promised_steps",
        _all(_promised(optimizer_steps=138), _steps(138)),
        number=2,
    ),
    _lie(
        "501 steps, promised and taken",
        "test_train_takes_exactly_the_promised_steps",
        _all(_promised(optimizer_steps=501), _steps(501)),
        number=2,
    ),
    _lie(
        "a metrics file without its last step",
        "test_train_steps_are_counted_alike_by_three",
        lambda told: _train(metrics=told.train.metrics[:-1])(told),
    ),
    _lie(
        "steps that nobody saw",
        "test_train_steps_are_counted_alike_by_three",
        _train(process=process_record(steps_seen=0)),
        number=2,
    ),
    _lie(
        "a step without an answer in it",
        "test_train_learns_from_answers_at_every_step",
        lambda told: _train(
            metrics=(replace(told.train.metrics[0], supervised_tokens=0), *told.train.metrics[1:])
        )(told),
    ),
    _lie(
        "other training rows",
        "test_train_uses_the_rows_that_were_given",
        _train(train_rows_sha256=digest("other rows")),
    ),
    _lie("two epochs", "test_train_is_one_epoch_at_most", _train(epochs=2.0)),
    _lie("no epoch", "test_train_is_one_epoch_at_most", _train(epochs=0.0)),
    _lie(
        "an hour and a second",
        "test_train_stays_within_its_time",
        _train(process=process_record(duration_s=3601.0)),
    ),
    _lie("no weight that moved", "test_train_moves_the_weights", _train(parameters_moved=0)),
    _lie(
        "the base model, saved as trained",
        "test_train_moves_the_weights",
        _model(train=BASE_SHA256, elsewhere=BASE_SHA256),
        number=2,
    ),
    _lie(
        "a folder that reads back as something else",
        "test_train_saves_a_model_that_reads_back",
        _train(reloaded_sha256=digest("something else")),
    ),
    _lie(
        "a training that had the token",
        "test_train_process_knows_no_token",
        _train(process=process_record(variables=("HF_HUB_OFFLINE", "HF_TOKEN"))),
    ),
    _lie(
        "a training that was online",
        "test_train_process_knows_no_token",
        _train(process=process_record(variables=())),
        number=2,
    ),
    _lie(
        "an evaluation that was stopped",
        "test_eval_ends_by_itself_and_well",
        _evaluation(process=process_record(steps_seen=ROWS, ended_by_parent="silence")),
    ),
    _lie(
        "an evaluation that crashed",
        "test_eval_ends_by_itself_and_well",
        _evaluation(process=process_record(steps_seen=ROWS, exit_status=1)),
        number=2,
    ),
    *_run_by("eval", _evaluation),
    _lie(
        "another model, evaluated",
        "test_eval_judges_the_model_that_was_trained",
        _evaluation(model_sha256=digest("a better one")),
    ),
    _lie(
        "another base to compare with",
        "test_eval_judges_the_model_that_was_trained",
        _evaluation(base_weights_sha256=digest("a worse one")),
        number=2,
    ),
    _lie(
        "an evaluation elsewhere",
        "test_eval_runs_where_training_ran",
        _evaluation(device="gpu:another card"),
    ),
    _lie(
        "an evaluation on more devices",
        "test_eval_runs_where_training_ran",
        _evaluation(devices=2),
        number=2,
    ),
    _lie(
        "another evaluation file",
        "test_eval_reads_the_evaluation_file_that_was_given",
        _evaluation(eval_rows_sha256=digest("easier rows")),
    ),
    _lie(
        "a shortened evaluation file",
        "test_eval_answers_every_row_once",
        _evaluation(rows_in_file=20),
    ),
    _lie(
        "a row too many",
        "test_eval_answers_every_row_once",
        _answered(*_ROWS, _ROWS[0]),
        number=2,
    ),
    _lie("a row answered twice", "test_eval_answers_every_row_once", _answered(*_TWICE), number=3),
    _lie(
        "20 of 100 rows, scored",
        "test_eval_scores_every_row",
        _scored(*_ROWS[:20]),
    ),
    _lie(
        "scores of other answers",
        "test_eval_scores_every_row",
        _evaluation(
            results=scoring.tally([replace(row, tuned_correct=True) for row in _ROWS]),
        ),
        number=2,
    ),
    _lie(
        "a package that was upgraded",
        "test_closing_finds_the_environment_unchanged",
        _closing(packages_sha256=digest("upgraded")),
    ),
    _lie(
        "a file of M42 that was touched",
        "test_closing_finds_the_working_tree_unchanged",
        _closing(changed_paths=("submission_runs/m42/summary.md",)),
    ),
    _lie(
        "another tree, and nothing that changed",
        "test_closing_finds_the_working_tree_unchanged",
        _closing(tree_sha256=digest("another tree")),
        number=2,
    ),
    _lie(
        "a model that was swapped after training",
        "test_closing_finds_the_trained_model_unchanged",
        _closing(model_sha256=digest("a better one")),
    ),
    _lie(
        "two documents at once",
        "test_closing_finds_exactly_one_document",
        _closing(documents=("failure_analysis.md", "m43_summary.md")),
    ),
    _lie(
        "a gate that a conftest replaced",
        "test_closing_finds_the_code_of_m43_in_its_place",
        _closing(
            foreign_code=("m43.harness.gates.gates.pass_train (other code, from conftest.py)",)
        ),
    ),
    _lie(
        "a pytest that was edited in place",
        "test_closing_judges_with_packages_as_their_wheels_brought_them",
        _closing(altered=("site-packages/_pytest/runner.py",)),
    ),
    _lie(
        "a module beside pytest that no wheel brought",
        "test_closing_judges_with_packages_as_their_wheels_brought_them",
        _closing(unrecorded=("site-packages/helper.py",)),
        number=2,
    ),
    _lie(
        "a judge of which nothing was looked at",
        "test_closing_judges_with_packages_as_their_wheels_brought_them",
        _closing(judging_files=0),
        number=3,
    ),
)
