"""omr-train evaluate: readings are counted, and the last line is JSON."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from runtime.errors import run_command
from training.__main__ import main
from training.evaluation.evaluate import Reading, score


def reading(reference: list[int], ids: list[int]) -> Reading:
    texts = ["".join(chr(97 + i) for i in part) for part in (reference, ids)]
    return Reading("line", texts[0], reference, ids, texts[1])


def test_scores_are_percentages_over_all_lines() -> None:
    found = score([reading([1, 2, 3, 4], [1, 2, 3, 4]), reading([5, 6, 7, 8, 9, 10], [5, 6, 0, 8, 9])])
    assert found["ser"] == pytest.approx(20.0)
    assert found["sequence_accuracy"] == pytest.approx(50.0)


def test_evaluate_ends_in_one_json_line_that_the_run_keeps(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    dump = tmp_path / "readings.jsonl"
    capsys.readouterr()
    assert main(["evaluate", str(copy), str(data), "--limit", "3", "--batch-size", "2", "--dump", str(dump)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    found = json.loads(last)
    assert {"ser", "cer", "note_accuracy", "sequence_accuracy", "column_accuracy", "loss"} <= set(found)
    assert (found["lines"], found["split"], found["degrade"]) == (3, "test", "")
    assert found["parameters"] > 1e6 and found["processor"]
    assert (copy / "evaluations.jsonl").read_text() == last + "\n"
    rows = [json.loads(line) for line in dump.read_text().splitlines()]
    assert sorted(row["name"] for row in rows) == [f"test/{number}.png" for number in range(3)]
    assert all(row["reference"].startswith("X:1\n") for row in rows)


def test_the_batch_size_changes_nothing(run: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for size in ("1", "4"):
        assert main(["evaluate", str(run), str(data), "--split", "val", "--batch-size", size]) == 0
        found.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
    for name in ("ser", "cer", "sequence_accuracy", "column_accuracy"):
        assert found[0][name] == found[1][name]
    assert found[0]["loss"] == pytest.approx(found[1]["loss"], rel=1e-4)
    (run / "evaluations.jsonl").unlink()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "DATA"], "nowhere holds no checkpoint"),
        (["RUN", "nowhere"], "data set 'nowhere' can't be opened"),
        (["RUN", "DATA", "--split", "later"], "has no split 'later' (it has train, val, test)"),
        (["RUN", "DATA", "--device", "tpu"], "hardware.device is 'tpu'"),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: list[str], message: str, run: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = [{"RUN": str(run), "DATA": str(data)}.get(part, part) for part in arguments]
    assert run_command(lambda: main(["evaluate", *call])) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ") and message in last
