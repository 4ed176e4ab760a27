"""A recording is whole or absent, deterministic, and refused when it is not ours to read."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import rerun as rr
import rerun.blueprint as rrb

from genie_robo.viz.recording import check_recording, time_columns, write_recording
from genie_robo.viz.viewer import find_viewer

EMPTY = rrb.Blueprint(rrb.Spatial2DView(origin="/camera"))


def _write(path: Path, *, values=(1.0, 2.0, 3.0), recording_id: str = "same") -> Path:
    def log(recording: rr.RecordingStream) -> None:
        times = time_columns(np.arange(len(values)), control_hz=2.0)
        recording.send_columns("/curve", times, rr.Scalars.columns(scalars=values))
        recording.log("/words", rr.TextDocument("hello"), static=True)

    return write_recording(
        path,
        application_id="test",
        recording_id=recording_id,
        log=log,
        blueprint=EMPTY,
        name="a name",
    )


def _rerun(*words: str | Path) -> int:
    return subprocess.run([find_viewer(), "rrd", *words], capture_output=True).returncode


def test_recording_holds_data_timelines_identity_and_layout(tmp_path, read):
    contents = read(_write(tmp_path / "a.rrd"))
    curve = contents["/curve:Scalars:scalars"]
    assert curve == ([0, 1, 2], [0.0, 0.5, 1.0], [[1.0], [2.0], [3.0]])
    assert contents["/words:TextDocument:text"].values == [["hello"]]
    assert contents["/__properties:RecordingInfo:name"].values == [["a name"]]
    assert (contents.application_id, contents.recording_id) == ("test", "same")
    assert contents.num_blueprints == 1
    assert contents.timelines == {"step", "seconds"}, "no wall clock"


def test_equal_data_make_equal_recordings(tmp_path):
    first, second = _write(tmp_path / "a.rrd"), _write(tmp_path / "b.rrd")
    other = _write(tmp_path / "c.rrd", values=(1.0, 2.0, 4.0))
    assert _rerun("verify", first, second, other) == 0
    assert _rerun("compare", "--unordered", first, second) == 0
    assert _rerun("compare", "--unordered", first, other) != 0


def test_seconds_are_absent_when_the_rate_is_unknown():
    assert [column.timeline for column in time_columns(np.arange(3), control_hz=0.0)] == ["step"]


def test_failure_while_logging_keeps_the_old_recording(tmp_path):
    path = _write(tmp_path / "a.rrd")
    before = path.read_bytes()

    def log(recording: rr.RecordingStream) -> None:
        recording.log("/words", rr.TextDocument("lost"), static=True)
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        write_recording(path, application_id="t", recording_id="r", log=log, blueprint=EMPTY)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.rrd"]


def test_wrong_use_of_rerun_is_an_error_and_writes_nothing(tmp_path):
    def log(recording: rr.RecordingStream) -> None:
        times = time_columns(np.arange(3), control_hz=1.0)
        recording.send_columns("/curve", times, rr.Scalars.columns(scalars=[1.0, 2.0]))

    with pytest.raises(ValueError, match="length"):
        write_recording(
            tmp_path / "a.rrd", application_id="t", recording_id="r", log=log, blueprint=EMPTY
        )
    assert list(tmp_path.iterdir()) == []
    assert not rr.strict_mode(), "the caller's setting is put back"


def test_disabled_rerun_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("RERUN", "off")
    with pytest.raises(ValueError, match="RERUN=off; unset it"):
        _write(tmp_path / "a.rrd")


@pytest.mark.parametrize("keep", [0.3, 0.7, 0.98])
def test_truncated_recording_is_reported(tmp_path, keep):
    path = _write(tmp_path / "a.rrd", values=tuple(np.arange(500.0)))
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(ValueError, match=r"a\.rrd is cut short or damaged .*record it again"):
        check_recording(path)


def test_foreign_file_is_reported(tmp_path):
    path = tmp_path / "notes.rrd"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(ValueError, match=r"notes\.rrd is not a Rerun recording.*b'vers'"):
        check_recording(path)


def test_recording_of_a_newer_rerun_is_reported(tmp_path):
    path = _write(tmp_path / "a.rrd")
    data = bytearray(path.read_bytes())
    data[5] = 99
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"written by Rerun 0\.99, newer.*rerun-sdk==0\.99"):
        check_recording(path)


def test_missing_file_is_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.rrd does not exist"):
        check_recording(tmp_path / "gone.rrd")


def test_blueprint_alone_is_reported(tmp_path):
    path = tmp_path / "layout.rrd"
    EMPTY.save("test", str(path))
    with pytest.raises(ValueError, match="holds a blueprint and no recording"):
        check_recording(path)
