import json
import re
from dataclasses import replace

import pandas as pd
import pytest
from PIL import Image

from genie_robo.config import Source, TrainConfig
from genie_robo.config_file import conf_dir, write_config
from genie_robo.eval_suites.captions import CAPTIONS, caption
from genie_robo.eval_suites.table import Metric
from genie_robo.models.settings import QuantizerKind
from genie_robo.provenance import read_provenance, write_provenance
from genie_robo.report.page import self_contained
from genie_robo.report.suites import read_suite
from genie_robo.report.summary import Question, best_baseline, verdict
from genie_robo.report.training import draw_curves, draw_training, quantising_starts
from genie_robo.report.write import write_report
from genie_robo.run_folder import RunFolder

METRIC = {
    "value": 0.314,
    "ci95": [0.25, 0.36],
    "n_units": 36,
    "unit": "R2",
    "protocol": "ridge on validation episodes, scored once on test episodes",
    "baselines": {"random codes": -0.01, "optical flow": None},
    "ceiling": 0.62,
}
NOTE = "a note with <script>alert(1)</script> and ![a picture](../outside.png)"
UNDEFINED = METRIC | {"value": None, "ci95": None, "ceiling": None, "reason": "no gripper here"}


@pytest.fixture
def run(tmp_path) -> RunFolder:
    run = RunFolder(tmp_path / "my run")
    suite = run.suite("latent_probe")
    (suite / "figures").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(suite / "figures" / "lag_curve.png")
    content = {
        "suite": "latent_probe",
        "provenance": {},
        "headline": ["r2", "gripper"],
        "notes": ["commanded actions lag the motion", NOTE],
        "metrics": {"r2": METRIC, "gripper": UNDEFINED, "hidden": METRIC},
    }
    (suite / "metrics.json").write_text(json.dumps(content))
    run.rollouts.mkdir()
    for name in ("episode_000", "episode_000-actions_robot", "episode_000_branches"):
        Image.new("RGB", (4, 4)).save(run.rollouts / f"{name}.png")
        (run.rollouts / f"{name}.mp4").write_bytes(b"a video")
        (run.rollouts / f"{name}.rrd").touch()
    Image.new("RGB", (4, 4)).save(tmp_path / "outside.png")
    for stage, name in (("tokenizer", "psnr"), ("world_model", "lam_perplexity")):
        run.log(stage).parent.mkdir()
        lines = [{"step": step, "loss": 1 / step, name: step} for step in (20, 40)]
        run.log(stage).write_text("\n".join(json.dumps(line) for line in lines))
    stamps = run.path / "stages"
    stamps.mkdir()
    stamp = {"settings": {}, "inputs": {}, "finished": True, "seconds": 300.0}
    (stamps / "record.json").write_text(json.dumps(stamp))
    write_provenance(
        run,
        dataset_fingerprints={"": "abc123", "other": "def456"},
        episodes={
            "": {"train": ["x", "y"], "test": ["z"]},
            "other": {"train": ["v"], "test": ["w"]},
        },
        seeds={"train": 7},
    )
    return run


def test_report_has_numbers_pictures_curves_and_origin(run):
    text = write_report(run).read_text()
    assert text.startswith("# my run\n\nThis is a Genie world model, trained on 2 episodes. Its ")
    assert (
        "R2 of 0.31 [0.25, 0.36] (best possible: 0.62). What it imagines was not measured." in text
    )
    row = "| r2 | 0.31 [0.25, 0.36] | R2 | 36 | random codes -0.01, optical flow undefined | 0.62 |"
    assert row in text
    assert "ridge on validation episodes" in text
    assert "- commanded actions lag the motion" in text
    assert "40 steps of latent actions and dynamics" in text
    assert "- record: 5.0 min" in text
    assert "dataset abc123: 2 train, 1 test episodes" in text
    assert "- seeds: train 7" in text
    assert "torch 2" in text


def test_undefined_metrics_come_with_their_reason(run):
    text = write_report(run).read_text()
    assert "| gripper | undefined: no gripper here |" in text
    assert "NaN" not in text
    assert "nan" not in text


def test_every_link_leads_to_a_file(run):
    text = write_report(run).read_text()
    (run.suite("latent_probe") / "report.md").touch()
    run.config.touch()
    links = [part.split(")")[0].replace("%20", " ") for part in text.split("](")[1:]]
    links.remove("../outside.png")
    assert "rollouts/episode_000.png" in links
    for name in ("episode_000", "episode_000-actions_robot", "episode_000_branches"):
        assert {f"rollouts/{name}.{kind}" for kind in ("png", "mp4", "rrd")} <= set(links)
    assert (
        "(rollouts/episode_000-actions_robot.png)](rollouts/episode_000-actions_robot.mp4)" in text
    )
    assert "eval/latent_probe/figures/lag_curve.png" in links
    assert "report/tokenizer.png" in links
    assert all((run.path / link).exists() for link in links)


def test_curves_are_drawn_for_what_is_logged(run):
    drawn = draw_training(run)
    assert list(drawn) == ["tokenizer", "world_model"]
    with Image.open(drawn["tokenizer"]) as picture:
        assert picture.size == (1110, 450)


def test_report_of_an_empty_run_says_what_is_missing(tmp_path):
    text = write_report(RunFolder(tmp_path)).read_text()
    assert f"`genie-robo imagine run={tmp_path}`" in text
    assert f"`genie-robo eval run={tmp_path}`" in text
    assert "No training log" in text
    assert "no provenance.json" in text


@pytest.mark.parametrize("content", ["{", '{"metrics": {}, "headline": ["r2"], "notes": []}'])
def test_damaged_metrics_are_named(tmp_path, content):
    path = tmp_path / "eval" / "tokenizer" / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(ValueError, match="is not the result of a suite"):
        read_suite(path)


def test_provenance_names_versions_machine_and_split(run):
    content = read_provenance(run)
    assert content is not None
    assert content["episodes"] == {"train": ["x", "y"], "test": ["z"]}
    assert content["versions"]["genie-robo"]
    assert content["machine"]["cores"] >= 1
    assert content["machine"]["memory_gib"] > 0


def test_protocols_come_once_and_last(run):
    text = write_report(run).read_text()
    sections = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert sections == [
        "Rollouts",
        "Numbers",
        "Training",
        "Where this comes from",
        "How the numbers were measured",
    ]
    assert text.count(METRIC["protocol"]) == 1
    assert text.endswith(f"- r2, gripper: {METRIC['protocol']}.\n")


def test_every_image_has_a_caption(run):
    lines = write_report(run).read_text().splitlines()
    images = [n for n, line in enumerate(lines) if line.startswith(("![", "[!["))]
    assert len(images) == 7
    for n in images:
        assert re.match(r"\*[^*]+\*", lines[n + 2]), lines[n]
    assert "*lag curve*" in lines


def test_every_suite_that_draws_has_captions():
    suites = {path.stem for path in (conf_dir() / "suite").glob("*.yaml")}
    assert suites - set(CAPTIONS) == {"selfcheck", "speed"}
    assert caption("latent_probe", "lag").endswith("Aligned codes peak at lag 0.")
    assert caption("video+copy_last", "strip") == CAPTIONS["video"]["strip"]
    assert caption("suite_of_mine", "my_figure") == "my figure"


def test_the_page_needs_no_other_file_and_runs_nothing(run):
    write_report(run)
    page = run.report_page.read_text()
    sources = re.findall(r'src="([^"]*)"', page)
    assert sum(source.startswith("data:image/png;base64,") for source in sources) == 6
    assert [s for s in sources if not s.startswith("data:")] == ["../outside.png"]
    (video,) = (source for source in sources if source.startswith("data:video/mp4;base64,"))
    assert video.endswith("YSB2aWRlbw==")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert not re.search(r"https?://", page)
    assert "default-src 'none'" in page


def test_a_title_and_labels_cannot_break_out_of_the_page(tmp_path):
    (tmp_path / "a.mp4").touch()
    page = self_contained('[![x" onplay="y](a.png)](a.mp4)', folder=tmp_path, title="<b>")
    assert "<title>&lt;b&gt;</title>" in page
    assert 'aria-label="x&quot; onplay=&quot;y"' in page


HIGHER = Question("", "", "", ("held", "flow"))


@pytest.mark.parametrize(
    ("question", "ci95", "baselines", "expected"),
    [
        (HIGHER, (0.3, 0.5), {"held": 0.1, "flow": 0.2}, "better than the baseline"),
        (HIGHER, (0.3, 0.5), {"held": 0.1, "flow": 0.35}, "as good as the baseline"),
        (HIGHER, (0.3, 0.5), {"held": 0.6, "flow": None}, "**worse than the baseline**"),
        (HIGHER, None, {"held": 0.39}, "better than the baseline"),
        (HIGHER, (0.3, 0.5), {"oracle": 0.9}, "no baseline"),
        (HIGHER._replace(lower_is_better=True), (3, 5), {"held": 6.0, "flow": 7.0}, "better"),
        (HIGHER._replace(lower_is_better=True), (3, 5), {"held": 4.0, "flow": 7.0}, "as good"),
        (HIGHER._replace(lower_is_better=True), (3, 5), {"held": 2.0, "flow": 7.0}, "**worse"),
    ],
)
def test_a_verdict_compares_the_interval_with_the_best_baseline(
    question, ci95, baselines, expected
):
    value = 0.4 if ci95 is None else sum(ci95) / 2
    metric = Metric(
        value=value, ci95=ci95, n_units=9, unit="dB", protocol="known", baselines=baselines
    )
    assert verdict(question, metric).startswith(expected)


def test_the_best_baseline_of_an_error_is_the_lowest():
    metric = Metric(value=1.0, n_units=1, unit="mm", protocol="", baselines={"held": 3, "flow": 2})
    assert best_baseline(HIGHER, metric) == ("held", 3)
    assert best_baseline(HIGHER._replace(lower_is_better=True), metric) == ("flow", 2)


def test_five_numbers_at_most_and_only_measured_ones(run):
    suite = run.suite("sim_rollout")
    suite.mkdir(parents=True)
    error = METRIC | {"value": 20.0, "ci95": [17, 22], "unit": "mm", "baselines": {"copy_last": 99}}
    names = ["tool_error", "tool_error/latents", "tool_error/robot_control", "box_error", "psnr"]
    metrics = dict.fromkeys(names, error) | {"box_error": UNDEFINED}
    content = {"headline": names, "notes": [], "metrics": metrics}
    (suite / "metrics.json").write_text(json.dumps(content))
    text = write_report(run).read_text()
    table = text.split("| number |")[1].split("\n\n")[0].splitlines()[2:]
    assert [row.split(" | ")[0] for row in table] == [
        "| latent actions: R2 of the robot's motion",
        "| imagined under robot actions: error of the tool",
        "| imagined under latent actions: error of the tool",
    ]
    assert "its imagined tool is 20 [17, 22] mm from MuJoCo's on average (copy last: 99" in text


def test_the_start_of_quantising_is_marked(run):
    config = TrainConfig(run=str(run.path))
    config = replace(config, data=replace(config.data, path="set", source=Source(camera="image")))
    model = config.model
    quantizer = replace(model.tokenizer.quantizer, warmup_steps=30)
    tokenizer = replace(model.tokenizer, quantizer=quantizer)
    write_config(run, replace(config, model=replace(model, tokenizer=tokenizer)))
    assert quantising_starts(run)["tokenizer"] == 30
    grid = replace(quantizer, kind=QuantizerKind.fsq)
    model = replace(model, tokenizer=replace(tokenizer, quantizer=grid))
    write_config(run, replace(config, model=model))
    assert quantising_starts(run)["tokenizer"] == 0, "a fixed grid quantises from the first step"


def test_all_panels_of_training_curves_show_the_same_steps_and_the_mark():
    log = pd.DataFrame({"step": [20, 40], "loss": [2.0, 1.0], "psnr": [None, 20.0]})
    first, second = draw_curves(log, ["loss", "psnr"], quantised_from=30).axes
    assert first.get_xlim() == second.get_xlim()
    for axes in (first, second):
        assert [30, 30] in [list(line.get_xdata()) for line in axes.lines]
    unmarked = draw_curves(log, ["loss"], quantised_from=0).axes[0]
    assert len(unmarked.lines) == 1
