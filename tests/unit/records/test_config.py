"""The profile: read, completed, and refused with everything that is wrong with it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from m43.records import profile_check
from m43.records.profile import SELF_VENV, Contract

ACCEPTANCE = Path(__file__).parents[3] / "acceptance"
PRODUCTION = ACCEPTANCE / "production.toml"


FIRST_SIZE = '"model-00001-of-00002.safetensors" = 4_945_242_264'
DIGESTS = "[contract.file_sha256]\n"


def changed(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    """Write a copy of the production profile with some text replaced."""
    text = PRODUCTION.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "profile.toml"
    path.write_text(text)
    return path


def test_the_benchmarks_say_only_in_what_they_differ_from_a_rehearsal() -> None:
    """Their profile is read like any other, over the rehearsal's."""
    bench = profile_check.load(ACCEPTANCE.parent / "tests" / "benchmarks" / "bench.toml")
    rehearsal = profile_check.load(ACCEPTANCE / "rehearsal.toml")

    assert bench.contract == rehearsal.contract
    assert bench.data == rehearsal.data
    assert bench.training.batch_rows == 4


def test_production_holds_the_locked_decisions() -> None:
    """The bundled profile is the run that was agreed, to the letter."""
    contract = profile_check.load(PRODUCTION).contract
    # Its keys of config.json are held against the model itself where the plan is made from them.
    assert replace(contract, config={}) == Contract(
        name="m43",
        repo="google/gemma-2b",
        revision="9cf48e52b224239de00d483ec8eb84fb8d0f3a3a",
        architecture="GemmaForCausalLM",
        parameters=2_506_172_416,
        file_bytes={
            "model-00001-of-00002.safetensors": 4_945_242_264,
            "model-00002-of-00002.safetensors": 67_121_608,
        },
        platform="gpu",
        device_kind="NVIDIA GeForce RTX 5090",
        optimizer_steps=300,
        epochs_at_most=1.0,
        train_minutes_at_most=60.0,
        eval_rows=100,
    )


def test_rehearsal_differs_in_the_world_but_not_in_the_promises() -> None:
    """Steps, epochs, minutes and evaluation rows are production's."""
    production, rehearsal = (
        profile_check.load(PRODUCTION),
        profile_check.load(ACCEPTANCE / "rehearsal.toml"),
    )
    ours, theirs = rehearsal.contract, production.contract
    assert (rehearsal.kind, production.kind) == ("rehearsal", "production")
    assert ours.optimizer_steps == theirs.optimizer_steps
    assert ours.epochs_at_most == theirs.epochs_at_most
    assert ours.train_minutes_at_most == theirs.train_minutes_at_most
    assert ours.eval_rows == theirs.eval_rows
    assert rehearsal.data == production.data
    assert rehearsal.template == production.template


def test_paths_are_relative_to_the_profile(tmp_path: Path) -> None:
    """A profile may lie anywhere; its paths start where it lies."""
    profile = profile_check.load(changed(tmp_path))
    assert profile.data.train == tmp_path / "data" / "train.jsonl"
    assert profile.venv.path == str(tmp_path.parent / ".venv-gpu")


def test_the_interpreters_own_environment_is_no_path(tmp_path: Path) -> None:
    """The word "self" stays a word."""
    profile = profile_check.load(changed(tmp_path, ('"../.venv-gpu"', '"self"')))
    assert profile.venv.path == SELF_VENV


def test_all_problems_of_form_are_told_at_once(tmp_path: Path) -> None:
    """A wrong type, an unknown key, a missing key and a wrong word come in one error."""
    path = changed(
        tmp_path, ("seed = 43", "sede = 43"), ("= 300\n", '= "300"\n'), ('"full"', '"fool"')
    )
    with pytest.raises(profile_check.ProfileError) as caught:
        profile_check.load(path)
    assert [problem.where.removeprefix(f"{path}, ") for problem in caught.value.problems] == [
        "contract.optimizer_steps",
        "training.sede",
        "training.method",
        "training.seed",
    ]
    assert "did you mean 'seed'?" in caught.value.problems[1].action


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("optimizer_steps = 300", "optimizer_steps = 1_000_001", "contract.optimizer_steps"),
        ("epochs_at_most = 1.0", "epochs_at_most = 1001.0", "contract.epochs_at_most"),
        ('name = "m43"', 'name = "M 43"', "contract.name"),
        ("epochs_at_most = 1.0", "epochs_at_most = 0.0", "contract.epochs_at_most"),
        ('"9cf48e52b224239de00d483ec8eb84fb8d0f3a3a"', '"main"', "contract.revision"),
        ('"google/gemma-2b"', '"gemma-2b"', "contract.repo"),
        ("eval_rows = 100", "eval_rows = 0", "contract.eval_rows"),
        ("devices = 1", "devices = 2", "contract.devices"),
        ("[run]", "[mesh]\nfsdp = 2\n\n[run]", "contract.devices"),
        ("devices = 1", "devices = 1\nprocesses = 0", "contract.processes"),
        ("[run]", '[launch]\ncommand = ["srun"]\n\n[run]', "launch.command"),
        ("[run]", "[launch]\nmeet_s = 0.0\n\n[run]", "launch.meet_s"),
        ("[run]", "[launch]\nheartbeat_s = 0.5\n\n[run]", "launch.heartbeat_s"),
        ("[run]", "[mesh]\nfsdp = 0\n\n[run]", "mesh.fsdp"),
        ("[run]", "[mesh]\ntensor = -1\n\n[run]", "mesh.tensor"),
        ("train_minutes_at_most = 60.0", "train_minutes_at_most = 0", "contract.train_minutes"),
        ("2_506_172_416", "0", "contract.parameters"),
        ("2_506_172_416", "2_506_172_417", "contract.parameters"),
        ("num_hidden_layers = 18", "num_hidden_layers = 19", "contract.parameters"),
        ("num_hidden_layers = 18\n", "", "contract.config.num_hidden_layers"),
        ("num_hidden_layers = 18", "num_hidden_layers = true", "contract.config.num_hidden_layers"),
        ("head_dim = 256", "head_dim = 256.0", "contract.config.head_dim"),
        ("vocab_size = 256_000", "vocab_size = -1", "contract.config.vocab_size"),
        ('"GemmaForCausalLM"', '"LlamaForCausalLM"', "contract.architecture"),
        ("= 67_121_608", "= 0", "contract.file_bytes.model-00002-of-00002.safetensors"),
        ('"model-00002-of-00002.safetensors" = 67_121_608', "", "contract.file_bytes"),
        (FIRST_SIZE, f'"other.safetensors" = 1\n{FIRST_SIZE}', "contract.file_bytes.other"),
        (FIRST_SIZE, f'"config.json" = 627\n{FIRST_SIZE}', "contract.file_bytes.config.json"),
        (DIGESTS, f'{DIGESTS}"config.json" = "{"A" * 64}"\n', "contract.file_sha256.config.json"),
        (DIGESTS, f'{DIGESTS}"config.json" = "{"a" * 63}"\n', "contract.file_sha256.config.json"),
        (DIGESTS, f'{DIGESTS}"other.json" = "{"a" * 64}"\n', "contract.file_sha256.other.json"),
        ("batch_rows = 8", "batch_rows = 0", "training.batch_rows"),
        ("learning_rate = 1e-5", "learning_rate = -1", "training.learning_rate"),
        ("warmup_steps = 30", "warmup_steps = 300", "training.warmup_steps"),
        ("end_learning_rate_ratio = 0.1", "end_learning_rate_ratio = 2", "training.end_learning"),
        ("weight_decay = 0.0", "weight_decay = -0.1", "training.weight_decay"),
        ('name = "m43_v1"', 'name = "../m42"', "run.name"),
        ('name = "m43_v1"', 'name = ".."', "run.name"),
        ('"config.json"', '"a/config.json"', "hub.files"),
        ('"tokenizer.json"', '"tokenizer.model"', "hub.files"),
        ("Question: {prompt}", "Question:", "template.prompt"),
        ('" {final_answer}"', '" 42"', "template.completion"),
        ("silence_s = 600.0", "silence_s = 0", "deadlines.silence_s"),
        ("accumulate = 1", "accumulate = 0", "training.accumulate"),
        ("accumulate = 1", "accumulate = -2", "training.accumulate"),
        ("accumulate = 1", "accumulate = 3", "training.accumulate"),
        ("accumulate = 1\n", "", "training.accumulate"),
    ],
)
def test_a_value_outside_its_range_is_refused_by_name(
    tmp_path: Path, old: str, new: str, key: str
) -> None:
    """Each rule refuses exactly the key that breaks it."""
    with pytest.raises(profile_check.ProfileError) as caught:
        profile_check.load(changed(tmp_path, (old, new)))
    assert all(key in problem.where for problem in caught.value.problems)


def test_all_that_is_wrong_with_the_model_is_told_at_once(tmp_path: Path) -> None:
    """A name, a size and a digest, each under its own key."""
    path = changed(
        tmp_path,
        ("= 67_121_608", "= -1"),
        (DIGESTS, f'{DIGESTS}"nothing.bin" = "x"\n'),
    )
    with pytest.raises(profile_check.ProfileError) as caught:
        profile_check.load(path)
    assert [problem.where.removeprefix(f"{path}, ") for problem in caught.value.problems] == [
        "contract.file_bytes.model-00002-of-00002.safetensors",
        "contract.file_sha256.nothing.bin",
        "contract.file_sha256.nothing.bin",
    ]


def test_a_known_digest_is_a_difference_that_is_listed(tmp_path: Path) -> None:
    """Key by key, like every other value."""
    mine = profile_check.load(
        changed(tmp_path, (DIGESTS, f'{DIGESTS}"config.json" = "{"a" * 64}"\n'))
    )
    (line,) = (
        each
        for each in profile_check.differences(mine, profile_check.load(PRODUCTION))
        if each.startswith("contract.")
    )
    assert line == f"contract.file_sha256.config.json: {'a' * 64!r} instead of None"


def test_a_profile_may_leave_open_what_config_json_says(tmp_path: Path) -> None:
    """Then the plan waits for the file itself."""
    text = PRODUCTION.read_text(encoding="utf-8")
    table = text[text.index("[contract.config]") : text.index("# The SHA-256 of a pinned file")]
    mine = profile_check.load(changed(tmp_path, (table, "")))
    assert mine.contract.config == {}
    assert mine.contract.parameters == 2_506_172_416


@pytest.mark.parametrize(("content", "found"), [("kind =", "TOMLDecodeError"), (None, "no file")])
def test_an_unreadable_profile_is_refused(tmp_path: Path, content: str | None, found: str) -> None:
    """No file and no TOML are told apart."""
    path = tmp_path / "profile.toml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(profile_check.ProfileError, match=found):
        profile_check.load(path)


LORA = "[lora]\nrank = 16\nalpha = 32.0\n\n[evaluation]"


def test_lora_adapts_every_linear_projection_unless_told(tmp_path: Path) -> None:
    """Rank and alpha must be stated; the targets may be."""
    asked = ('method = "full"', 'method = "lora"')
    table = profile_check.load(changed(tmp_path, asked, ("[evaluation]", LORA))).lora
    named = LORA.replace("alpha", 'targets = ["v_proj", "q_proj"]\nalpha')
    chosen = profile_check.load(changed(tmp_path, asked, ("[evaluation]", named))).lora
    assert (table.rank, table.alpha) == (16, 32.0)
    assert table.targets == (
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"
    )  # fmt: skip
    assert chosen.targets == ("v_proj", "q_proj")


@pytest.mark.parametrize(
    ("method", "old", "new", "key"),
    [
        ("lora", LORA, "[evaluation]", "lora"),
        ("full", LORA, LORA, "lora"),
        ("lora", "rank = 16", "rank = 0", "lora.rank"),
        ("lora", "rank = 16\n", "", "lora.rank"),
        ("lora", "alpha = 32.0", "alpha = 0", "lora.alpha"),
        ("lora", "rank", "targets = []\nrank", "lora.targets"),
        ("lora", "rank", 'targets = ["q_proj", "q_proj"]\nrank', "lora.targets"),
        ("lora", "rank", 'targets = ["q_proj", "lm_head"]\nrank', "lora.targets[1]"),
    ],
)
def test_a_lora_that_does_not_fit_is_refused_by_name(
    tmp_path: Path, method: str, old: str, new: str, key: str
) -> None:
    """The table is there exactly when the method asks for it, and makes sense."""
    path = changed(
        tmp_path,
        ('method = "full"', f'method = "{method}"'),
        ("[evaluation]", LORA.replace(old, new)),
    )
    with pytest.raises(profile_check.ProfileError) as caught:
        profile_check.load(path)
    assert [problem.where for problem in caught.value.problems] == [f"{path}, {key}"]


COLUMNS = '[data.columns.train]\nprompt = "q"\nanswer = "a"\n\n'
ASKED = '[data.columns.evaluation]\nmessages = "chat"\nid = "n"\n\n'


def test_each_file_of_rows_has_columns_of_its_own(tmp_path: Path) -> None:
    """Training as pairs, evaluation as chats; without a table the schema is m43's own."""
    path = changed(tmp_path, ("[template]", f"{COLUMNS}{ASKED}[template]"))
    columns = profile_check.load(path).data.columns

    assert columns.train is not None
    assert columns.evaluation is not None
    assert (columns.train.prompt, columns.train.answer) == ("q", "a")
    assert (columns.evaluation.messages, columns.evaluation.id) == ("chat", "n")
    assert profile_check.load(PRODUCTION).data.columns.train is None
    assert "data.columns.train.prompt: 'q' instead of None" in profile_check.differences(
        profile_check.load(path), profile_check.load(PRODUCTION)
    )
    assert "section" not in str(
        profile_check.differences(profile_check.load(path), profile_check.load(PRODUCTION))
    )


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('prompt = "q"\n', "", "data.columns.train"),
        ('answer = "a"', 'answer = ""', "data.columns.train"),
        ('answer = "a"', 'answer = "a\\n"', "data.columns.train"),
        ('answer = "a"', 'answer = "q"', "data.columns.train"),
        ('answer = "a"', 'answer = "a"\nmessages = "chat"', "data.columns.train"),
        ('answer = "a"', 'answer = "a"\nid = "n"', "data.columns.train"),
        ('answer = "a"', 'answer = "a"\nreply = "r"', "data.columns.train.reply"),
        ('messages = "chat"', "", "data.columns.evaluation"),
        ('id = "n"', 'id = "chat"', "data.columns.evaluation"),
        ('" {final_answer}"', '"{steps} {final_answer}"', "template.completion"),
    ],
)
def test_columns_that_make_no_row_are_refused_by_name(
    tmp_path: Path, old: str, new: str, key: str
) -> None:
    """A question and its answer, once each; steps no such row has."""
    path = changed(tmp_path, ("[template]", f"{COLUMNS}{ASKED}[template]"), (old, new))
    with pytest.raises(profile_check.ProfileError) as caught:
        profile_check.load(path)
    assert [problem.where for problem in caught.value.problems] == [f"{path}, {key}"]


def test_a_table_that_one_profile_has_alone_is_a_difference(tmp_path: Path) -> None:
    """Key by key, whichever of the two has it."""
    asked = ('method = "full"', 'method = "lora"')
    mine = profile_check.load(changed(tmp_path, asked, ("[evaluation]", LORA)))
    locked = profile_check.load(PRODUCTION)
    assert "lora.rank: 16 instead of None" in profile_check.differences(mine, locked)
    assert "lora.rank: None instead of 16" in profile_check.differences(locked, mine)


def test_differences_name_each_changed_key(tmp_path: Path) -> None:
    """A profile of one's own cannot hide in what it differs."""
    mine = profile_check.load(changed(tmp_path, ("optimizer_steps = 300", "optimizer_steps = 200")))
    locked = profile_check.load(PRODUCTION)
    assert "contract.optimizer_steps: 200 instead of 300" in profile_check.differences(mine, locked)
    assert profile_check.differences(locked, locked) == ()


@pytest.mark.parametrize(
    ("coded", "found"),
    [
        (lambda text: text.encode("utf-16"), "text in UTF-16"),
        (lambda text: b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    ],
)
def test_a_file_that_is_no_text_is_named(
    tmp_path: Path, coded: Callable[[str], bytes], found: str
) -> None:
    """With what to do about it, instead of what a reader of TOML makes of it."""
    path = tmp_path / "mine.toml"
    path.write_bytes(coded(PRODUCTION.read_text("utf-8")))

    with pytest.raises(profile_check.ProfileError, match=f"found {found}"):
        profile_check.load(path)


def test_a_byte_order_mark_before_a_profile_says_nothing(tmp_path: Path) -> None:
    """Notepad writes one; the digest is that of the file as it lies there."""
    plain, marked = tmp_path / "plain.toml", tmp_path / "marked.toml"
    plain.write_bytes(PRODUCTION.read_bytes())
    marked.write_bytes(b"\xef\xbb\xbf" + PRODUCTION.read_bytes())

    assert profile_check.load(marked) == profile_check.load(plain)
    assert profile_check.digest(marked) != profile_check.digest(plain)


@pytest.mark.parametrize(
    ("mesh", "keys"),
    [
        ("fsdp = 4\ntensor = 4", []),
        ("fsdp = 16", ["training.batch_rows"]),
        ("tensor = 16", ["contract.config.num_attention_heads"]),
        ("fsdp = 3\ntensor = 1", ["training.batch_rows", *(
            f"contract.config.{name}"
            for name in ("num_attention_heads", "num_key_value_heads", "hidden_size",
                         "intermediate_size", "vocab_size")
        )]),
    ],
)  # fmt: skip
def test_a_mesh_that_cannot_share_evenly_is_refused_by_name(
    tmp_path: Path, mesh: str, keys: list[str]
) -> None:
    """Rows of a batch and every size of the model, before an attempt is used up."""
    sizes = [int(word) for word in mesh.split() if word.isdigit()]
    devices = f"devices = {sizes[0] * (sizes[1] if len(sizes) > 1 else 1)}\n"
    path = changed(tmp_path, ("devices = 1\n", devices), ("[run]", f"[mesh]\n{mesh}\n\n[run]"))
    if not keys:
        assert profile_check.load(path).mesh.devices == 16
        return
    with pytest.raises(profile_check.ProfileError) as caught:
        profile_check.load(path)
    assert [problem.where.partition(", ")[2] for problem in caught.value.problems] == keys


@pytest.mark.parametrize(
    ("command", "processes", "refused"),
    [
        ('["srun", "--ntasks=2"]', 2, ""),
        ('["srun", ""]', 2, "launch.command"),
        ("[]", 2, "launch.command"),
        ('["srun"]', 3, "contract.processes"),
    ],
)
def test_several_processes_have_a_launcher_and_as_many_devices_each(
    tmp_path: Path, command: str, processes: int, refused: str
) -> None:
    """Of four devices two processes have two each; without a launcher nothing would start them."""
    tables = f"[mesh]\nfsdp = 4\n\n[launch]\ncommand = {command}\n\n[run]"
    devices = ("devices = 1\n", f"devices = 4\nprocesses = {processes}\n")
    path = changed(tmp_path, devices, ("[run]", tables))
    if not refused:
        assert profile_check.load(path).launch.command == ("srun", "--ntasks=2")
        return
    with pytest.raises(profile_check.ProfileError) as caught:
        profile_check.load(path)
    assert [problem.where.partition(", ")[2] for problem in caught.value.problems] == [refused]
