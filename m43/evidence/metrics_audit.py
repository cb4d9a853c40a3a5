"""The audit of the steps: whether the metrics file can be that of one honest training."""

import math
from collections.abc import Iterator

from m43.errors import Problem
from m43.evidence.child_facts import TrainFacts
from m43.evidence.dossier import Dossier
from m43.profile import Profile
from m43.records import StepMetrics

_FILE = "training_metrics.jsonl"


def audit_metrics(dossier: Dossier) -> Iterator[Problem]:
    """Count the steps, tokens and rows again, and hold them against each other."""
    for number, step in enumerate(dossier.metrics, start=1):
        yield from _step_problems(step, number)
    train, profile = dossier.train, dossier.profile
    if train is None or profile is None:
        return
    most = train.optimizer_steps * profile.training.batch_rows
    if profile.training.packing:
        # Of a packed batch only the file limits the examples.
        most = train.rows_in_file
    if not 0 < train.rows_used <= most:
        expected = f"1 to {most}: what the steps can read"
        yield _problem(f"{train.rows_used} rows used", expected, "train.json")
    epochs = train.rows_used / train.rows_in_file if train.rows_in_file else 0.0
    if not math.isclose(train.epochs, epochs, rel_tol=1e-9):
        expected = f"{epochs:.6g}: rows used by rows in the file"
        yield _problem(f"{train.epochs:.6g} epochs", expected, "train.json")
    if not 0 <= train.parameters_moved <= train.parameters:
        found = f"{train.parameters_moved} parameters moved"
        yield _problem(found, f"at most {train.parameters}", "train.json")
    yield from _method_problems(train, profile)
    spent = sum(step.duration_s for step in train.metrics)
    if spent > train.process.duration_s:
        found = f"steps of {spent:.1f} s in a process of {train.process.duration_s:.1f} s"
        yield _problem(found, "steps that fit into their process", _FILE)


def _method_problems(train: TrainFacts, profile: Profile) -> Iterator[Problem]:
    if train.method != profile.training.method:
        yield _problem(f"method {train.method}", profile.training.method, "train.json")
    full, trained = train.method == "full", train.trained_parameters
    if trained != train.parameters if full else not 0 < trained < train.parameters:
        expected = f"{'all' if full else 'fewer than the'} {train.parameters}"
        yield _problem(f"{trained} parameters trained", expected, "train.json")


def _step_problems(step: StepMetrics, number: int) -> Iterator[Problem]:
    where = f"{_FILE}:{number}"
    if step.step != number:
        yield _problem(f"step {step.step}", f"step {number}", where)
    if not 0 <= step.supervised_tokens <= step.real_tokens <= step.padded_tokens:
        found = (
            f"{step.supervised_tokens} supervised, {step.real_tokens} real, "
            f"{step.padded_tokens} computed tokens"
        )
        yield _problem(found, "supervised at most real, real at most computed", where)
    if step.loss_nats < 0 or step.duration_s < 0:
        found = f"loss {step.loss_nats}, {step.duration_s} s"
        yield _problem(found, "neither below 0", where)


def _problem(found: str, expected: str, where: str) -> Problem:
    action = "do not rely on this folder: these numbers cannot all be true"
    return Problem(found=found, expected=expected, where=where, action=action)
