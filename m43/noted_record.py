"""The record of what was noted: warnings, and what else the gates' process was told in passing."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NotedRecord:
    """What came up during a run and is judged by nobody. `noted.json`, where there is any."""

    warnings: tuple[str, ...]  # category, message and place of each, once
    stderr: tuple[str, ...]  # lines that were written to standard error, redacted
    left_out: int  # how many more there were of both
