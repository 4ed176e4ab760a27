"""The whole demo at toy size, as a user runs it."""

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

NOTEBOOKS = Path(__file__).parents[1] / "docs/notebooks"


@pytest.fixture(scope="session")
def run(tmp_path_factory, genie_robo):
    folder = tmp_path_factory.mktemp("demo") / "run"
    done = genie_robo("demo", "experiment=smoke", f"run={folder}")
    assert done.returncode == 0, done.stderr
    (folder / "console.txt").write_text(done.stdout + done.stderr)
    return folder


@pytest.mark.slow
def test_demo_leaves_numbers_recordings_and_a_report(run):
    suites = ("tokenizer", "latent_probe", "controllability", "sim_rollout")
    for suite in suites:
        metrics = json.loads((run / "eval" / suite / "metrics.json").read_text())
        assert metrics, suite
        assert list((run / "eval" / suite / "figures").glob("*.png"))
    episodes = ["episode_000", "episode_001"]
    names = sorted(
        [*episodes, *(f"{name}-actions_robot" for name in episodes), "episode_000_branches"]
    )
    for kind in ("rrd", "mp4", "png", "npz"):
        assert sorted(path.stem for path in (run / "rollouts").glob(f"*.{kind}")) == names
    report = (run / "report.md").read_text()
    assert "(rollouts/episode_000_branches.png)" in report
    assert all(suite in report for suite in suites)


@pytest.mark.slow
def test_demo_ends_with_the_command_that_opens_the_viewer(run):
    last = (run / "console.txt").read_text()

    assert f"genie-robo view run={run}" in last.replace("\n", "")
    assert "report.md" in last


@pytest.mark.slow
def test_second_demo_skips_every_stage(run, genie_robo):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*.safetensors")}

    again = genie_robo("demo", "experiment=smoke", f"run={run}")

    assert again.returncode == 0, again.stderr
    assert (again.stdout + again.stderr).count("already there") >= 5
    assert before == {path: path.stat().st_mtime_ns for path in before}


@pytest.mark.slow
def test_demo_with_other_settings_in_the_same_folder_is_refused(run, genie_robo):
    refused = genie_robo("demo", "experiment=smoke", f"run={run}", "seed=7")

    assert refused.returncode == 1
    assert "seed" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.slow
def test_imagined_tokens_are_stored_and_in_range(run):
    found = sorted((run / "rollouts").glob("*.npz"))

    with np.load(found[0]) as stored:
        assert stored["tokens"].max() < 64
        assert stored["tokens"].ndim >= 2


@pytest.fixture
def notebook(run, tmp_path, monkeypatch):
    """Run the code cells of a notebook in order, beside a run, and return its variables."""
    shutil.copytree(run, tmp_path / "runs" / "demo")
    monkeypatch.chdir(tmp_path)

    def execute(name):
        module = ModuleType("__main__")
        monkeypatch.setitem(sys.modules, "__main__", module)
        for cell in json.loads((NOTEBOOKS / name).read_text())["cells"]:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), vars(module))
        return vars(module)

    return execute


@pytest.mark.slow
def test_notebook_of_an_own_video_infers_probes_and_imagines(notebook, tmp_path):
    found = notebook("own_video.ipynb")

    assert (tmp_path / "my_video.mp4").is_file()
    assert len(found["found"].codes) == len(found["video"]) - 1
    assert found["result"].num_episodes == len(found["episodes"])
    assert found["result"].r2.value < 1
    assert found["held"].frames.shape[:2] == (found["genie"].num_codes, found["num_frames"])
    names = [f"code {name}" for name in found["genie"].code_names]
    assert list(found["rows"]) == ["video", "its codes", *names]
    assert names != [f"code {code}" for code in range(len(names))]


@pytest.mark.slow
def test_notebook_of_a_policy_judges_it_in_both_worlds(notebook):
    found = notebook("judge_a_policy.ipynb")

    own = found["trials"][found["trials"]["policy"] == found["own"]]
    reached = own[own["task"] == "reach"]
    assert found["trials"]["policy"].nunique() == 7
    assert len(reached) > 0
    assert (reached["true"] == 1).all()
    assert found["result"].metrics["absolute_error"].value is not None
    assert found["rows"]["MuJoCo"].shape == found["rows"]["imagined"].shape
