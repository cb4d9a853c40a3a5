"""The benchmarks as a whole, with contenders that answer at once."""

import json
from pathlib import Path

import pytest

from tests.benchmarks import __main__ as bench
from tests.benchmarks.children import Contender
from tests.benchmarks.measured import Answers, Depth, Share, Start, Steps, Tuned, Written

CANNED = {
    Share: Share(step_flop=3, step_s=1.0, product_flop_per_s=4.0),
    Answers: Answers(compile_s=1.0, decode_s=2.0, tokens=((1, 2), (3,)), peak_bytes=5),
    Start: Start(import_s=1.0, rows_s=1.0, weights_s=1.0, compile_s=1.0, step_s=1.0),
    Tuned: Tuned(loss_nats=0.5),
    Written: Written(rows=48, prompts=100),
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that looks like a model."""
    (tmp_path / "model.safetensors").touch()
    return tmp_path


def answer(contender: Contender, cls: type) -> object:
    """Be four times as slow as m43, where not m43."""
    if cls is Depth:
        return Depth(layers=int(contender.arguments[-1]), compile_s=1.0, step_s=1.0)
    if cls is Steps:
        steps, slow = 12 if "5" not in contender.arguments else 5, 1 + 3 * (contender.home != "m43")
        return Steps(
            ready_s=1.0,
            compile_s=1.0,
            step_s=(2.0 * slow,) * steps,
            cpu_s=(1.0,) * steps,
            losses_nats=(1.0,) * steps,
            real_tokens=100 * steps if steps == 12 else 1000 * steps,
            peak_bytes=7,
        )
    return CANNED[cls]


def test_every_line_is_printed_and_written(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """20 lines, one of them without a bar; what does not hold makes the status 1."""
    asked: list[Contender] = []

    def run(contender: Contender, cls: type) -> object:
        asked.append(contender)
        return answer(contender, cls)

    monkeypatch.setattr(bench, "run", run)
    out = model / "bench.json"
    status = bench.main({bench.FOLDER: str(model)}, ["--out", str(out)])
    report = json.loads(out.read_text())
    captured = capsys.readouterr()
    table = captured.out
    assert (model / "bench.md").read_text(encoding="utf-8").endswith(f"\n\n{table}")
    assert captured.err.startswith("about ")
    assert f" {len(asked)} processes " in captured.err
    assert status == 1  # generate is as fast as m43 here
    assert len(report["lines"]) == table.count("\n") - 2 == 20
    assert report["holds"].count(None) == 1
    failed = [
        line["text"]
        for line, holds in zip(report["lines"], report["holds"], strict=True)
        if holds is False
    ]
    assert [text.rpartition(":")[2] for text in failed] == [" generate / m43"] * 2
    shipped = [one for one in asked if not one.told]
    assert {one.script for one in shipped} == {"trl_sft", "tunix_peft"}
    assert report["machine"]["cores"] >= 1


@pytest.mark.parametrize("given", [{}, {bench.FOLDER: "/nowhere"}])
def test_without_the_model_it_says_what_to_do(
    given: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is measured."""
    assert bench.main(given, []) == 2
    error = capsys.readouterr().err
    assert "M43_GEMMA_270M=FOLDER make bench" in error
    assert "google/gemma-3-270m" in error
