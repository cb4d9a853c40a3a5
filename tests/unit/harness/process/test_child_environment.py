"""The child's environment: what reaches it and what does not."""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m43.harness.process.environment import child_environment
from m43.harness.process.xla_flags import XLA_FLAGS_ON_CPU
from tests.unit.fuzzing import hostile

TOKEN = "hf_" + "NoHubHasEverIssuedThisTokenOfTests"


def made(environment: dict[str, str], **changes: object) -> dict[str, str]:
    """Make an environment on Linux for the CPU, unless said otherwise."""
    options: dict[str, object] = {
        "platform": "cpu",
        "system": "linux",
        "parent_pid": 7,
        "secrets": (TOKEN,),
    }
    return child_environment(environment, **{**options, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    ["PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES",
     "NVIDIA_TF32_OVERRIDE", "HF_HOME"],
)  # fmt: skip
def test_what_a_child_needs_is_passed_on(name: str) -> None:
    """Paths, language, and what chooses the device."""
    assert made({name: "value"})[name] == "value"


HOSTILE = ["a\nb", "\x1b[31mred", "$(touch owned)", "<script>", "\udcff", "-c core.x=y", "../.."]
NAMES = [
    *("HF_HUB_OFFLINE", "HF_ENDPOINT", "HF_HUB_ETAG_TIMEOUT", "HF_DEBUG", "XLA_FLAGS"),
    *(
        "XLA_PYTHON_CLIENT_MEM_FRACTION",
        "XLA_CLIENT_MEM_FRACTION",
        "JAX_PLATFORMS",
        "TF_CPP_VMODULE",
    ),
    *("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONOPTIMIZE", "PYTHONINSPECT", "PYTHONUTF8"),
    *("PYTHONBREAKPOINT", "PYTHONWARNINGS", "PYTHONPYCACHEPREFIX", "PYTEST_ADDOPTS"),
    *("PYTEST_PLUGINS", "LD_PRELOAD", "LD_AUDIT", "GLIBC_TUNABLES", "MALLOC_TOP_PAD_", "BASH_ENV"),
    *("GIT_CONFIG_COUNT", "COLUMNS", "TERM", "IFS", "PS4", "https_proxy", "ALL_PROXY", "a=b"),
]


# What a child is given when it is set; a random text may be one of them.
LISTED = re.compile(
    "PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|TZ|TMPDIR|LD_LIBRARY_PATH|XDG_CACHE_HOME|HF_HOME|"
    "HF_HUB_CACHE|HF_DATASETS_CACHE|(LC|CUDA|NVIDIA)_.*",
    re.DOTALL,
)
some_name = st.text(max_size=9).filter(lambda name: not LISTED.fullmatch(name))


@hostile(40)
@given(st.dictionaries(st.sampled_from(NAMES) | some_name, st.sampled_from(HOSTILE)))
def test_whatever_is_set_the_child_gets_the_same(variables: dict[str, str]) -> None:
    """No variable beyond the list changes a name or a value."""
    kept = {"PATH": "/bin", "LC_ALL": "C", "CUDA_VISIBLE_DEVICES": "0"}

    assert made(variables | kept) == made(kept)


@pytest.mark.parametrize(
    "value",
    [
        *(TOKEN, f"en_{TOKEN}", f"{TOKEN[:9]}\n{TOKEN[9:]}", "hf_" + "x1y2z" * 6),
        *(base64.b64encode(TOKEN.encode()).decode(), TOKEN.encode().hex()),
    ],
)
def test_a_variable_that_holds_a_token_in_any_form_is_not_passed_on(value: str) -> None:
    """Whatever its name, and also one that nobody told m43 of."""
    assert "LC_NOTE" not in made({"LC_NOTE": value})
    assert made({"LC_NOTE": "en"})["LC_NOTE"] == "en"


@pytest.mark.parametrize(
    "name",
    ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "XLA_FLAGS", "PYTHONSTARTUP", "LD_PRELOAD",
     "HTTPS_PROXY", "JAX_ENABLE_X64", "CUDA_INJECTION64_PATH", "ANYTHING"],
)  # fmt: skip
def test_what_is_not_on_the_list_is_not_passed_on(name: str) -> None:
    """The same run in another shell is the same run."""
    assert "value" not in made({name: "value"}).values()


def test_a_variable_that_holds_the_token_is_dropped_whatever_its_name() -> None:
    """The token may stand in a path or a command that somebody exported."""
    assert "PATH" not in made({"PATH": f"/bin:/{TOKEN}/bin"})
    assert TOKEN not in "".join(made({"HOME": TOKEN, "HF_TOKEN": TOKEN}).values())


def test_the_child_is_offline_and_finds_no_token_file() -> None:
    """Three libraries have three switches; the token's file is looked for elsewhere."""
    environment = made({})
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
    assert [environment[name] for name in names] == ["1", "1", "1"]
    assert environment["HF_TOKEN_PATH"] == "/dev/null"


def test_each_platform_is_named_to_jax_and_the_memory_once() -> None:
    """JAX refuses both of its variables for the share of memory at once."""
    cpu, gpu = made({}), made({}, platform="gpu", share=0.87654)
    assert (cpu["JAX_PLATFORMS"], gpu["JAX_PLATFORMS"]) == ("cpu", "cuda")
    assert cpu["XLA_FLAGS"] == XLA_FLAGS_ON_CPU
    assert "XLA_FLAGS" not in gpu
    share = [name for name in gpu if name.endswith("CLIENT_MEM_FRACTION")]
    assert {name: gpu[name] for name in share} == {"XLA_CLIENT_MEM_FRACTION": "0.8765"}
    assert not [name for name in cpu if name.endswith("CLIENT_MEM_FRACTION")]


def test_glibc_is_told_about_memory_on_linux_only() -> None:
    """The settings are read when a process starts."""
    assert made({})["MALLOC_TOP_PAD_"] == "67108864"
    assert "MALLOC_TOP_PAD_" not in made({}, system="darwin")


def test_no_variable_steers_python_and_the_child_is_known() -> None:
    """What Python would read of its own is in no child's environment."""
    environment = made({"PYTHONPATH": "/elsewhere"})
    assert not [name for name in environment if name.startswith("PYTHON")]
    assert environment["M43_PARENT_PID"] == "7"
