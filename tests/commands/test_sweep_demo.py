"""The experiments that compare, end to end at toy size."""

import csv
import json
from pathlib import Path

import pytest

from genie_robo import cli

pytestmark = pytest.mark.slow

TOY = (
    "record.num_episodes=12",
    "record.num_steps=10",
    "record.num_workers=1",
    "engine=exact",
    "engine.accumulate=2",
    "tokenizer.num_steps=2",
    "tokenizer.batch_size=2",
    "tokenizer.validation_windows=2",
    "world_model.num_steps=2",
    "world_model.validation_windows=2",
    "sampler.num_steps=1",
    "imagine.num_episodes=0",
)


def line_of(experiment: str, folder: Path, *words: str) -> tuple[str, ...]:
    joined = f"experiment=[{experiment},smoke]"
    return ("demo", "-m", joined, *TOY, f"comparison.folder={folder}", *words)


def rows_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "comparison.csv").read_text().splitlines()))


@pytest.fixture(scope="module")
def batches(tmp_path_factory) -> tuple[tuple[str, ...], Path, int]:
    """Three batch sizes, the first of which cannot be divided into two parts."""
    folder = tmp_path_factory.mktemp("sweeps") / "batches"
    line = line_of("scaling_batch", folder, "world_model.batch_size=1,2,4")
    return line, folder, cli.main(line)


def own_data(batches) -> str:
    return f"data.path={batches[1] / 'dataset'}"


def test_failed_variant_is_reported_and_the_others_go_on(batches):
    _, folder, status = batches
    assert status == cli.FAILED
    one, two, four = rows_of(folder)
    assert [row["variant"] for row in (one, two, four)] == ["batch_1", "batch_2", "batch_4"]
    assert one["validation cross-entropy (nat)"] == ""
    assert (two["windows seen"], four["windows seen"]) == ("4.0", "8.0")
    assert 0 < float(two["validation cross-entropy (nat)"]) < 10
    page = (folder / "comparison.md").read_text()
    assert "| batch_1 | 1 | missing | missing |" in page
    assert "batch_1, seed 0" in page.split("## Missing")[1]
    assert "a batch of 1 windows cannot be divided" in page
    assert (folder / "comparison.png").stat().st_size > 10_000


def test_runs_share_one_dataset_and_one_tokenizer(batches):
    folder = batches[1]
    assert len(list(folder.rglob("features.json"))) == 1
    found = sorted(folder.glob("*/tokenizer/tokenizer.safetensors"))
    assert [path.parts[-3] for path in found] == [
        *(f"batch_{size}-seed0" for size in (2, 4)),
        "tokenizer-seed0",
    ]
    assert len({path.read_bytes() for path in found}) == 1


def test_same_line_again_trains_only_what_is_not_finished(batches, run_cli):
    line, folder, _ = batches
    (folder / "batch_2-seed0" / "world_model" / "dynamics.safetensors").unlink()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
    rows = rows_of(folder)

    outcome = run_cli(*line)

    assert outcome.status == cli.FAILED
    assert outcome.err.count("error: a batch of 1 windows") == 1
    assert (folder / "batch_2-seed0" / "world_model" / "dynamics.safetensors").exists()
    kept = [path for path in before if "batch_2-seed0/world_model" not in str(path)]
    assert [path.stat().st_mtime_ns for path in kept] == [before[path] for path in kept]
    title = "validation cross-entropy (nat)"
    assert [row[title] for row in rows_of(folder)] == [row[title] for row in rows]


def test_tokenizer_of_other_settings_is_refused(batches, run_cli, tmp_path):
    shared = batches[1] / "tokenizer-seed0"
    words = ("experiment=smoke", *TOY, own_data(batches), f"run={tmp_path}/x")
    outcome = run_cli("demo", *words, f"tokenizer_from={shared}", "tokenizer.num_steps=4")

    assert outcome.status == cli.FAILED
    assert f"the tokenizer of {shared} was made with other settings" in outcome.err
    assert "(tokenizer.num_steps: 2 -> 4)" in outcome.err


def test_own_dataset_is_not_recorded_and_seeds_are_averaged(batches, tmp_path):
    words = ("variant=dynamics_32", "seed=0,1", "world_model.batch_size=2")
    folder = tmp_path / "sizes"
    assert cli.main(line_of("scaling_model", folder, own_data(batches), *words)) == cli.OK

    assert not (folder / "dataset").exists()
    stages = {path.stem for path in (folder / "dynamics_32-seed0" / "stages").iterdir()}
    assert stages == {"tokenizer", "world_model", "report"}
    stamp = json.loads((folder / "dynamics_32-seed0" / "stages" / "tokenizer.json").read_text())
    assert list(stamp["settings"]["dataset"]) == [""]
    rows = rows_of(folder)
    assert [(row["variant"], row["seed"]) for row in rows] == [
        ("dynamics_32", "0"),
        ("dynamics_32", "1"),
    ]
    assert {path.name for path in folder.glob("tokenizer-*")} == {
        "tokenizer-seed0",
        "tokenizer-seed1",
    }
    assert " ± " in (folder / "comparison.md").read_text()


def test_tokenizers_are_compared(batches, tmp_path):
    words = ("variant=st_vivit,c_vivit", "world_model.batch_size=2", own_data(batches))
    assert cli.main(line_of("ablation_tokenizer", tmp_path, *words)) == cli.OK

    rows = rows_of(tmp_path)
    assert [row["variant"] for row in rows] == ["st_vivit", "c_vivit"]
    assert all(value for row in rows for value in row.values())


def test_latent_actions_are_compared_with_the_upper_bound(batches, tmp_path):
    words = ("variant=tokens,robot_actions", "world_model.batch_size=2", own_data(batches))
    assert cli.main(line_of("ablation_latent_action", tmp_path, *words)) == cli.OK

    tokens, bound = rows_of(tmp_path)
    assert all(tokens.values())
    known = {title for title, value in bound.items() if value}
    assert known - {"variant", "seed", "run"} == {
        "validation cross-entropy (nat)",
        "validation accuracy",
        "latent action parameters",
        "training (s)",
    }
    page = (tmp_path / "comparison.md").read_text()
    assert "suite latent_probe has not been evaluated" in page


def test_compare_finds_the_same_numbers(batches, run_cli, tmp_path):
    folder = batches[1]
    outcome = run_cli("compare", f"runs=[{folder}/batch_*]", f"folder={tmp_path}")

    assert outcome.status == cli.OK
    assert "| batch_2 | 1 |" in outcome.out
    title = "validation cross-entropy (nat)"
    # The run that failed in the sweep has left no folder.
    swept = [row[title] for row in rows_of(folder) if row[title]]
    assert [row[title] for row in rows_of(tmp_path)] == swept
