"""Whatever does not fit on the disk is one sentence with its path and the space that it needs."""

import errno
import os
from types import SimpleNamespace

import numpy as np
import pytest
import rerun as rr
import rerun.blueprint as rrb
from matplotlib.figure import Figure
from PIL import Image

from genie_robo import cli, disk_space
from genie_robo.atomic import replacing
from genie_robo.config import RecordConfig
from genie_robo.data.tokens import TokenManifest, begin_store
from genie_robo.disk_space import NoSpaceError, no_space
from genie_robo.eval_suites.base import SuiteResult
from genie_robo.eval_suites.results import write_result
from genie_robo.run_folder import write_atomic
from genie_robo.sim.record import record_dataset
from genie_robo.video_files import write_mp4, write_png
from genie_robo.viz.recording import write_recording

NOISE = np.random.default_rng(0).integers(0, 256, (12, 256, 256, 3), np.uint8)


def write_noise(path):
    def log(recording):
        recording.log("noise", rr.Tensor(NOISE))

    write_recording(
        path, application_id="a", recording_id="r", log=log, blueprint=rrb.Blueprint(rrb.Grid())
    )


def write_suite(path):
    figure = Figure()
    figure.subplots().imshow(NOISE[0])
    result = SuiteResult(metrics={}, headline=(), figures={"noise": figure})
    write_result(path, result, suite=SimpleNamespace(name="noise", summary="noise"))


def begin_tokens(path):
    manifest = TokenManifest(
        tokenizer="t",
        windows="w",
        num_codes=16,
        num_windows=1_000,
        num_frames=4,
        tokens_per_frame=16,
    )
    begin_store(path, manifest)


def record_episodes(path):
    size = {"num_episodes": 4, "num_steps": 20, "image_size": 64, "num_workers": 1}
    record_dataset(RecordConfig(path=str(path), **size))


WRITERS = {
    "file": lambda path: write_atomic(path, bytes(30_000)),
    "recording": write_noise,
    "video": lambda path: write_mp4(path, NOISE, fps=3.0),
    "image": lambda path: write_png(path, Image.fromarray(NOISE[0])),
    "suite": write_suite,
    "tokens": begin_tokens,
    "dataset": record_episodes,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_what_does_not_fit_is_named_and_leaves_nothing(tmp_path, small_files_only, kind):
    path = tmp_path / kind
    with small_files_only(20_000), pytest.raises(NoSpaceError) as raised:
        WRITERS[kind](path)
    text = str(raised.value)
    assert text.startswith(f"cannot write {path}")
    assert "which needs " in text
    assert text.endswith("raise the limit (ulimit -f), then run the same command again")
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == []


@pytest.mark.parametrize(
    ("number", "free_inodes", "reason"),
    [
        (errno.ENOSPC, 5, r"\(1\.5 MB are free\): the disk is full; make room"),
        (errno.ENOSPC, 0, "no inodes left, which means too many files"),
        (errno.EDQUOT, 5, "the quota on this disk is used up"),
    ],
)
def test_the_cause_decides_the_advice(tmp_path, monkeypatch, number, free_inodes, reason):
    free = SimpleNamespace(free=1_500_000)
    inodes = SimpleNamespace(f_files=9, f_favail=free_inodes)
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _: free)
    monkeypatch.setattr(disk_space.os, "statvfs", lambda _: inodes)
    path = tmp_path / "not there" / "file"
    with pytest.raises(NoSpaceError, match=reason) as raised, replacing(path):
        raise OSError(number, os.strerror(number))
    assert f"cannot write {path}, which needs more space" in str(raised.value)
    assert "needs 2.5 MB" in str(no_space(OSError(number, ""), path, num_bytes=2_500_000))


def test_other_errors_stay_as_they_are(tmp_path):
    with pytest.raises(PermissionError), replacing(tmp_path / "file"):
        raise PermissionError(errno.EACCES, "denied")


def test_an_error_that_nothing_explained_is_no_bug_either(monkeypatch, capsys):
    def run(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "/somewhere/file")

    monkeypatch.setattr(cli, "_dispatch", run)
    assert cli.main(["eval"]) == cli.FAILED
    assert capsys.readouterr().err.startswith("error: cannot write /somewhere/file, which needs")
