import json
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import pytest

from genie_robo.config_file import plain
from genie_robo.pipeline import (
    Stage,
    Stamp,
    Verdict,
    digest,
    judge,
    read_settings,
    run_stages,
    seconds_spent,
    stamps_of,
)
from genie_robo.run_folder import RunFolder, write_atomic


class Job:
    """Two stages: `cook` writes a meal, `eat` reads it. Counts what really ran."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ran: list[str] = []
        self.lines: list[str] = []
        self.salt = 1
        self.bites = 3
        self.stop_in = ""

    def stages(self, *, is_long: bool = False) -> list[Stage]:
        return [
            Stage(
                name="cook",
                settings={"pan": {"salt": self.salt}},
                folder=self.folder / "kitchen",
                outputs=(self.folder / "kitchen" / "meal",),
                run=lambda: self._do("cook", "kitchen", "meal", f"salt {self.salt}"),
            ),
            Stage(
                name="eat",
                settings={"bites": self.bites},
                folder=self.folder / "table",
                outputs=(self.folder / "table" / "plate",),
                run=lambda: self._do("eat", "table", "plate", "empty"),
                needs=("cook",),
                is_long=is_long,
            ),
        ]

    def _do(self, name: str, folder: str, file: str, text: str) -> None:
        (self.folder / folder).mkdir(parents=True, exist_ok=True)
        (self.folder / folder / "crumbs").touch()
        self.ran.append(name)
        if name == self.stop_in:
            raise KeyboardInterrupt
        (self.folder / folder / file).write_text(text)

    def run(self, *, is_long: bool = False) -> list[str]:
        self.ran.clear()
        self.lines.clear()
        stages = self.stages(is_long=is_long)
        run_stages(stages, self.folder / "stages", announce=self.lines.append)
        return self.ran


@pytest.fixture
def job(tmp_path) -> Job:
    return Job(tmp_path / "run")


def test_every_stage_runs_once(job):
    assert job.run() == ["cook", "eat"]
    assert job.lines == ["[1/2] cook  done (0 s)", "[2/2] eat   done (0 s)"]
    assert job.run() == []
    assert job.lines == ["[1/2] cook  already there", "[2/2] eat   already there"]


def test_stamp_is_finished_only_after_success(job):
    job.stop_in = "eat"
    with pytest.raises(KeyboardInterrupt):
        job.run()
    stamps = {p.stem: json.loads(p.read_text()) for p in (job.folder / "stages").glob("*.json")}
    assert (stamps["cook"]["finished"], stamps["eat"]["finished"]) == (True, False)
    assert job.lines[-1] == "[2/2] eat   stopped (0 s)"
    assert list(seconds_spent(stamps_of(RunFolder(job.folder)))) == ["cook"]


@pytest.mark.parametrize("is_long", [False, True])
def test_interrupted_stage_runs_again_and_only_long_ones_keep_partial_results(job, is_long):
    job.stop_in = "eat"
    with pytest.raises(KeyboardInterrupt):
        job.run(is_long=is_long)
    job.stop_in = ""
    (job.folder / "table" / "crumbs").write_text("of the first meal")
    assert job.run(is_long=is_long) == ["eat"]
    assert bool((job.folder / "table" / "crumbs").read_text()) is is_long
    assert ("resumed" in job.lines[-1]) is is_long


def test_missing_output_is_made_again(job):
    job.run()
    (job.folder / "table" / "plate").unlink()
    assert job.run() == ["eat"]


def test_changed_settings_are_refused_before_any_work(job):
    job.run()
    job.salt, job.bites = 2, 4
    with pytest.raises(ValueError, match="another configuration") as refusal:
        job.run()
    text = str(refusal.value)
    assert "pan.salt: 1 -> 2; bites: 3 -> 4" in text
    assert "run=FOLDER" in text
    kitchen, table = job.folder / "kitchen", job.folder / "table"
    assert text.endswith(f"delete {kitchen} {table} to make them again")
    assert job.ran == []


def test_deleting_the_folder_makes_changed_settings_good(job):
    job.run()
    job.bites = 4
    (job.folder / "table" / "plate").unlink()
    (job.folder / "table" / "crumbs").unlink()
    (job.folder / "table").rmdir()
    assert job.run() == ["eat"]


def test_unfinished_short_stage_takes_new_settings(job):
    job.stop_in = "eat"
    with pytest.raises(KeyboardInterrupt):
        job.run()
    job.stop_in, job.bites = "", 4
    assert job.run() == ["eat"]


def test_unfinished_long_stage_refuses_new_settings(job):
    job.stop_in = "eat"
    with pytest.raises(KeyboardInterrupt):
        job.run(is_long=True)
    job.stop_in, job.bites = "", 4
    with pytest.raises(
        ValueError, match=rf"bites: 3 -> 4.* delete {job.folder} to make them again"
    ):
        job.run(is_long=True)


def test_changed_input_makes_a_short_stage_again(job):
    job.run()
    (job.folder / "kitchen" / "meal").write_text("something else")
    assert job.run() == ["eat"]
    assert "done again, its input had changed" in job.lines[-1]


def test_changed_input_of_a_long_stage_is_refused(job):
    job.run(is_long=True)
    (job.folder / "kitchen" / "meal").write_text("something else")
    with pytest.raises(ValueError, match="made from another result of stage cook"):
        job.run(is_long=True)
    assert (job.folder / "table" / "plate").exists()


def test_results_without_a_stamp_are_never_deleted(job):
    (job.folder / "kitchen").mkdir(parents=True)
    (job.folder / "kitchen" / "recipe").touch()
    job.run()
    assert (job.folder / "kitchen" / "recipe").exists()


def test_damaged_stamp_is_named(job):
    job.run()
    (job.folder / "stages" / "cook.json").write_text('{"settings": ')
    with pytest.raises(ValueError, match=r"cook\.json is not a stage stamp"):
        job.run()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"settings": 7}',
        '{"settings": {}, "more": 1}',
        '{"settings": {}, "seconds": "x"}',
    ],
)
def test_a_damaged_stamp_is_named_by_every_reader(tmp_path, text):
    (tmp_path / "imagine.json").write_text(text)
    for read in (seconds_spent, lambda stamps: read_settings(stamps, "imagine")):
        with pytest.raises(ValueError, match=r"imagine\.json is not a stage stamp"):
            read(tmp_path)


def test_time_adds_up_over_interruptions(job):
    job.stop_in = "eat"
    with pytest.raises(KeyboardInterrupt):
        job.run(is_long=True)
    path = job.folder / "stages" / "eat.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seconds": 100.0}))
    job.stop_in = ""
    job.run(is_long=True)
    assert 100.0 <= seconds_spent(job.folder / "stages")["eat"] < 101.0


def test_judge_without_a_stamp_begins(job):
    stage = job.stages()[0]
    assert judge(stage, None, {}) is Verdict.begin
    stage.folder.mkdir(parents=True)
    unfinished = Stamp(settings=plain(stage.settings))
    assert judge(stage, unfinished, {}) is Verdict.begin
    assert judge(replace(stage, is_long=True), unfinished, {}) is Verdict.resume


def test_digest_sees_names_and_bytes(tmp_path):
    def make(name: str, text: str) -> str:
        folder = tmp_path / "folder"
        folder.mkdir(exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        (folder / name).write_text(text)
        return digest((folder,))

    first = make("a", "text")
    assert make("a", "text") == first
    assert len({first, make("a", "other"), make("b", "text")}) == 3
    assert make("a", "text") == first
    (tmp_path / "folder" / ".index").touch()
    (tmp_path / "folder" / ".git" / "objects").mkdir(parents=True)
    (tmp_path / "folder" / ".git" / "objects" / "head").touch()
    assert digest((tmp_path / "folder",)) == first


@pytest.mark.parametrize("name", ["notes.md", "deep/notes.md", ".notes", ".git/head", "plate.bak"])
@pytest.mark.parametrize("is_interrupted", [False, True])
def test_a_stage_is_not_made_again_over_files_of_the_user(job, name, is_interrupted):
    job.run()
    notes = job.folder / "table" / name
    notes.parent.mkdir(exist_ok=True)
    notes.write_text("mine")
    (job.folder / "kitchen" / "meal").write_text("something else")
    if is_interrupted:
        (job.folder / "stages" / "eat.json").write_text(
            json.dumps({"settings": {"bites": 3}, "inputs": {}, "finished": False})
        )

    with pytest.raises(ValueError, match=rf"table has to be made again.*write: {name}\. Move"):
        job.run()

    assert notes.read_text() == "mine"
    assert (job.folder / "table" / "plate").exists()
    notes.unlink()
    assert job.run() == ["eat"]


def test_every_file_of_the_user_is_named(job):
    job.run()
    for number in range(7):
        (job.folder / "table" / f"{number}.txt").touch()
    (job.folder / "kitchen" / "meal").write_text("something else")
    with pytest.raises(ValueError, match=r"write: 0\.txt, 1\.txt, .*4\.txt and 2 more"):
        job.run()


def test_a_hidden_file_does_not_make_a_stage_again(job):
    job.run()
    (job.folder / "kitchen" / ".git").mkdir()
    (job.folder / "kitchen" / ".git" / "head").touch()
    assert job.run() == []


def test_files_of_a_killed_stage_are_its_own(job, monkeypatch):
    """Nothing after the last write happens in a process that is killed."""
    job.run()
    (job.folder / "kitchen" / "meal").write_text("something else")

    def killed(name, folder, file, text):
        write_atomic(job.folder / folder / "half", text)
        os._exit(9)

    monkeypatch.setattr(job, "_do", killed)
    child = multiprocessing.get_context("fork").Process(target=job.run)
    child.start()
    child.join()
    assert child.exitcode == 9
    assert (job.folder / "table" / "half").exists()
    monkeypatch.undo()
    assert job.run() == ["eat"]
    assert not (job.folder / "table" / "half").exists()
