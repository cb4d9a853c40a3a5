"""Writes the work as token ids, for contenders that have no m43: write_work FOLDER OUT."""

import sys
from pathlib import Path

from m43 import typed_json
from m43.records.run_dir import write_record
from m43.training.data.examples import read_questions
from m43.training.data.template import Template, read_decoding
from m43.training.data.tokenizer import read_tokenizer
from tests.benchmarks.contenders.training_rows import Assignment, assign
from tests.benchmarks.measured import Written
from tests.benchmarks.work import TokenRow, Work


def main(folder: Path, out: Path) -> Written:
    """Give away the rows that m43's own plan puts into each step, in that order."""
    work = work_of(assign(folder))
    write_record(out, work)
    return Written(rows=len(work.rows), prompts=len(work.prompts))


def work_of(given: Assignment) -> Work:
    """Lay out what an assignment trains and asks."""
    data, profile, folder = given.data, given.profile, given.folder
    examples = [data.examples[index] for planned in data.plan for index in planned.examples]
    tokenizer = read_tokenizer(folder, given.config)
    template = Template(profile.template, tokenizer, given.config)
    longest = profile.evaluation.prompt_tokens
    file = read_questions(profile.data.evaluation, template, longest)
    decoding = read_decoding(folder, given.config, tokenizer, profile)
    return Work(
        rows=tuple(TokenRow(tokens=one.tokens, completion=one.completion) for one in examples),
        prompts=tuple(question.tokens for question in file.rows),
        stop_ids=decoding.stop_ids,
        pad_id=given.config.pad_id,
    )


if __name__ == "__main__":
    sys.stdout.write(typed_json.dump_line(main(Path(sys.argv[1]), Path(sys.argv[2]))))
