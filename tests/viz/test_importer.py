"""`rerun PATH` shows runs and RLDS folders, and leaves everything else alone."""

import subprocess
import sys
from pathlib import Path

import pytest
import rerun as rr

from genie_robo.commands.importer import main
from genie_robo.viz.importer import FAILED, NOT_OURS, OK, Kind, find
from genie_robo.viz.rollout import write_rollouts
from genie_robo.viz.viewer import find_viewer

SCRIPT = "import sys; from genie_robo.commands.importer import main; sys.exit(main())"


@pytest.fixture
def run(tmp_path, make_view) -> Path:
    """A run with two recordings, other files and a dataset of its own."""
    folder = tmp_path / "runs" / "my.demo"
    for name in ("a", "b"):
        write_rollouts(folder / "rollouts" / f"{name}.rrd", {name: make_view()}, name=name)
    for name in ("config.yaml", "provenance.json", "tokenizer/checkpoints/best.json"):
        _touch(folder / name)
    _dataset(folder / "dataset" / "tabletop" / "1.0.0")
    return folder


def _touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    return path


def _dataset(folder: Path) -> Path:
    for name in ("features.json", "dataset_info.json", "t-train.tfrecord-00000-of-00001"):
        _touch(folder / name)
    return folder


@pytest.fixture
def open_path(capsysbinary, monkeypatch):
    """Exit status and what the viewer gets; a dataset writes the name of its folder instead."""

    def record(folder: Path, recording: Path) -> None:
        recording.write_text(folder.name)

    monkeypatch.setattr("genie_robo.commands.importer._record", record)

    def run(path: Path, application_id: str) -> tuple[int, bytes]:
        words = [str(path), "--application-id", application_id, "--recording-id", "r"]
        status = main(words)
        return status, capsysbinary.readouterr().out

    return run


def test_a_run_is_left_to_the_viewer_which_reads_its_recordings(run, open_path):
    for path in (run, run / "rollouts", run / "tokenizer" / "checkpoints" / "best.json"):
        assert find(path, application_id="my_demo").kind is Kind.ours
        assert open_path(path, "my_demo") == (OK, b"")


def test_a_file_of_a_run_that_is_opened_alone_shows_its_recordings(run, open_path):
    both = b"".join((run / "rollouts" / name).read_bytes() for name in ("a.rrd", "b.rrd"))
    assert open_path(run / "config.yaml", "config") == (OK, both)
    assert open_path(run / "tokenizer" / "checkpoints" / "best.json", "best") == (OK, both)


@pytest.mark.parametrize("levels", [0, 1, 2])
def test_a_dataset_folder_shows_episodes(tmp_path, levels, open_path):
    folder = _dataset(tmp_path / "rlds" / "bridge" / "1.0.0")
    opened = [folder, *folder.parents][levels]
    assert open_path(opened, opened.name) == (OK, b"1.0.0")
    assert open_path(folder / "features.json", opened.name) == (OK, b""), "while the folder is read"


@pytest.mark.parametrize("levels", [0, 1, 2])
def test_a_lerobot_folder_shows_episodes(tmp_path, levels, open_path):
    folder = tmp_path / "lerobot" / "arms" / "demos"
    info = _touch(folder / "meta" / "info.json")
    table = _touch(folder / "data" / "chunk-000" / "file-000.parquet")
    opened = [folder, *folder.parents][levels]
    assert open_path(opened, opened.name) == (OK, b"demos")
    for file in (info, table):
        assert open_path(file, opened.name) == (OK, b""), "while the folder is read"
    assert open_path(table, "file-000") == (OK, b"demos")


@pytest.mark.parametrize(
    ("name", "application"),
    [("features.json", "features"), ("t-train.tfrecord-00000-of-00001", "t-train")],
)
def test_a_file_of_a_dataset_that_is_opened_alone_shows_episodes(
    tmp_path, name, application, open_path
):
    folder = _dataset(tmp_path / "bridge" / "1.0.0")
    assert open_path(folder / name, application) == (OK, b"1.0.0")


def test_a_dataset_inside_a_run_stays_silent_with_the_run(run, open_path):
    shard = run / "dataset" / "tabletop" / "1.0.0" / "features.json"
    assert open_path(shard, "my_demo") == (OK, b"")
    assert open_path(run / "dataset", "dataset") == (OK, b"1.0.0")


def test_foreign_paths_are_left_to_other_importers(tmp_path, open_path):
    path = _touch(tmp_path / "config.yaml")
    for opened in (path, tmp_path, tmp_path / "gone"):
        assert open_path(opened, opened.stem) == (NOT_OURS, b"")
    assert NOT_OURS == 66, "as the viewer expects"


def test_a_damaged_dataset_is_one_line(tmp_path, capsys):
    folder = _dataset(tmp_path / "bridge" / "1.0.0")
    assert main([str(folder), "--recording-id", "r"]) == FAILED
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "according to features.json it describes a feature without a class" in captured.err
    assert len(captured.err.splitlines()) == 1


def test_identifying_a_file_imports_nothing_heavy(run):
    code = (
        "import sys; from genie_robo.commands.importer import main; main(sys.argv[1:]); "
        "heavy = {'torch', 'numpy', 'rerun', 'rich'} & set(sys.modules); sys.exit(str(heavy or ''))"
    )
    words = [sys.executable, "-c", code, str(run / "config.yaml"), "--application-id", "config"]
    done = subprocess.run(words, capture_output=True, check=False)
    assert done.stderr.decode().strip() == ""
    assert done.stdout.startswith(b"RRF2")


def test_the_viewer_itself_asks_and_shows(run, tmp_path, monkeypatch):
    script = tmp_path / "bin" / "rerun-importer-genie-robo"
    _touch(script).write_text(f'#!/bin/sh\nexec {sys.executable} -c "{SCRIPT}" "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=":")
    saved, errors = _open_in_viewer(run / "config.yaml", tmp_path / "file.rrd")
    assert (saved, errors) == (["a", "b"], [])
    saved, errors = _open_in_viewer(run, tmp_path / "folder.rrd")
    assert (saved, errors) == (["a", "b"], []), "no file in the folder is reported as unknown"
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    _, errors = _open_in_viewer(run, tmp_path / "without.rrd")
    assert any("config.yaml" in line for line in errors), "what the importer is for"


def _open_in_viewer(path: Path, saved: Path) -> tuple[list[str], list[str]]:
    """Names of the rollouts that the viewer gets, and the errors that it reports."""
    words = [find_viewer(), path, "--save", saved, "--port", "auto", "--bind", "127.0.0.1"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    reader = rr.chunk.RrdReader(saved)
    names = [
        str(chunk.to_record_batch()["RecordingInfo:name"][0][0])
        for store in reader.recordings()
        for chunk in reader.stream(store=store)
        if "RecordingInfo:name" in chunk.to_record_batch().schema.names
    ]
    lines = (done.stdout + done.stderr).splitlines()
    return sorted(names), [line for line in lines if "ERROR" in line or "WARN" in line]
