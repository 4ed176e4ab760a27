from contextlib import closing
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from mujoco_fakes import record_context
from small_genie import build_small_genie

from genie_robo.eval_suites import trust
from genie_robo.eval_suites.base import run_suite
from genie_robo.eval_suites.captions import CAPTIONS
from genie_robo.eval_suites.plugs import plug
from genie_robo.eval_suites.rollouts import choose_clips
from genie_robo.eval_suites.trust import CASES, ROBOTS, Trust
from genie_robo.inference.settings import Sampler
from genie_robo.inference.trust import Usual
from genie_robo.inference.world import GenieWorld, HeldFrame, RobotActions
from genie_robo.sim.mujoco_world import MujocoWorld
from genie_robo.sim.restore import stored_scene
from genie_robo.sim.scene import COLORS


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    path = tmp_path_factory.mktemp("trusted")
    return record_context(path, num_frames=7, num_episodes=6, num_steps=12)


class Knowing(HeldFrame):
    """A held frame whose trust falls with the size of the actions."""

    usual: ClassVar = {
        RobotActions: replace(
            Usual.of(np.zeros((20, 1, 3))), least_trust=np.linspace(0.05, 1, 20)[None]
        )
    }

    def start(self, prompts, seeds):
        self.signals = []
        return super().start(prompts, seeds)

    def step(self, actions):
        told = np.abs(actions.values[:, :6]).sum(axis=1)
        self.signals.append(np.stack([told, 0 * told, 0 * told], axis=1))
        return replace(super().step(actions), trust=1 / (1 + np.sum(self.signals, axis=0)[:, 0]))


def measured(recorded, monkeypatch, **settings):
    monkeypatch.setattr(trust, "watch", lambda context: Knowing())
    return run_suite(Trust(num_clips=4, **settings), plug(recorded, world_model="copy_last"))


def test_strange_clips_are_told_by_what_they_are_told_by(recorded, monkeypatch):
    result = measured(recorded, monkeypatch, cases=["recorded", "extreme"])
    metrics = result.metrics
    assert metrics["auroc/strange"].value > 0.9
    assert metrics["auroc/strange"].baselines["signal_latent"] > 0.9
    assert metrics["auroc/strange"].baselines["signal_entropy"] == 0.5
    assert metrics["auroc/strange"].baselines["frame_number"] == 0.5
    assert metrics["trust/extreme"].value < metrics["trust/recorded"].value
    trust = result.table.columns["trust"].reshape(2, 4, 6)
    for case, least in zip(("recorded", "extreme"), trust.min(axis=2), strict=True):
        # Of clips whose least trust is 0.05, 0.1 .. 1: fewer than one in twenty is as strange.
        assert metrics[f"distrusted/{case}"].value == (least < 0.05).mean()
    assert set(result.figures) == {"trust"} == set(CAPTIONS["trust"])


def test_every_case_has_a_row_for_every_frame(recorded, monkeypatch):
    monkeypatch.delenv("MENAGERIE_ROOT", raising=False)
    result = measured(recorded, monkeypatch)
    rows = list(result.table.rows())
    known = CASES.keys() - ROBOTS.keys()
    assert len(rows) == len(known) * 4 * 6
    assert {row["case"] for row in rows} == known
    for robot in ROBOTS:
        assert sum(note.startswith(f"{robot} is left out: ") for note in result.notes) == 1
    for case in ("camera_left", "camera_above", "scene_boxes", "scene_table"):
        seen = [row["psnr"] for row in rows if row["case"] == case and row["frame"] == 1]
        assert min(seen) > 15  # its own picture is the prompt, so the first frames are close


@pytest.mark.parametrize("case", ["random", "extreme"])
def test_what_is_drawn_depends_on_the_clip_alone(recorded, case):
    clips = choose_clips(recorded, num_clips=3, horizon=6, name="trust")
    drawn = trust._case(case, clips, seed=0).robot_actions
    np.testing.assert_array_equal(trust._case(case, clips[::-1], seed=0).robot_actions, drawn[::-1])
    assert (trust._case(case, clips, seed=1).robot_actions[..., :3] != drawn[..., :3]).all()
    recorded_actions = np.stack([clip.robot_actions for clip in clips])
    np.testing.assert_array_equal(drawn[..., 6:], recorded_actions[..., 6:])
    assert (drawn[..., :3] != recorded_actions[..., :3]).all()


@pytest.mark.parametrize("case", ["scene_boxes", "scene_table"])
def test_foreign_scenes_differ_in_their_colours_alone(recorded, case):
    context = plug(recorded, world_model="copy_last")
    clips = choose_clips(context, num_clips=2, horizon=3, name="trust")
    prompt = clips[0].prompt
    other = trust._case(case, clips, np.random.default_rng(0)).prompts[0]
    own, foreign = (stored_scene(one.recording) for one in (prompt, other))
    assert foreign != own
    kept = {"table": own.table, "light": own.light}
    boxes = tuple(
        replace(box, color=before.color, rgba=before.rgba)
        for box, before in zip(foreign.boxes, own.boxes, strict=True)
    )
    assert replace(foreign, boxes=boxes, **kept) == own
    colors = {box.color for box in foreign.boxes}
    assert colors == {box.color for box in own.boxes} or not colors & COLORS.keys()
    with closing(MujocoWorld(renderer="raycast")) as simulator:
        before, shown = simulator.start([prompt, other], [0, 0]).frames
    np.testing.assert_array_equal(shown, other.frames[0])
    changed = (shown != before).any(axis=-1).mean()
    assert 0.005 < changed < 0.2 if case == "scene_boxes" else changed > 0.5


@pytest.mark.usefixtures("menagerie")
def test_another_robot_stands_before_the_same_boxes(recorded):
    context = plug(recorded, world_model="copy_last")
    clips = choose_clips(context, num_clips=2, horizon=3, name="trust")
    prompt = clips[0].prompt
    other = trust._with_robot(prompt, "google_robot")
    for one in (prompt, other):
        assert stored_scene(one.recording).boxes == stored_scene(prompt.recording).boxes
    assert stored_scene(other.recording).robot == "google_robot"
    with closing(MujocoWorld(renderer="raycast")) as simulator:
        shown = simulator.start([other], [0]).frames
    np.testing.assert_array_equal(shown[0], other.frames[0])
    assert (other.frames != prompt.frames).any(axis=-1).mean() > 0.1


def test_lost_frames_are_those_far_from_mujoco(recorded, monkeypatch):
    cases = ["recorded", "random"]
    limit = float(np.median(measured(recorded, monkeypatch, cases=cases).table.columns["psnr"]))
    result = measured(recorded, monkeypatch, cases=cases, lost_below_db=limit)
    psnr, lost = (result.table.columns[name] for name in ("psnr", "lost"))
    assert ((psnr < limit) == (lost > 0)).all()
    assert 0 < lost.mean() < 1
    share = result.metrics["lost/random"].value
    assert share == pytest.approx(result.table.with_key("case", "random").columns["lost"].mean())


def test_lost_frames_of_few_episodes_have_no_auroc(recorded, monkeypatch):
    psnr = measured(recorded, monkeypatch, cases=["recorded"]).table.columns["psnr"]
    limit = float(np.median(psnr))
    metrics = measured(recorded, monkeypatch, cases=["recorded"], lost_below_db=limit).metrics
    assert metrics["auroc"].value is None
    assert "are from 4 test episodes" in metrics["auroc/recorded"].reason
    none = measured(recorded, monkeypatch, cases=["recorded"], lost_below_db=-1.0).metrics
    assert "frames that have left reality are from 0 test" in none["auroc/recorded"].reason


def test_a_genie_distrusts_what_its_action_map_never_saw(tmp_path):
    """The map sends fast motions far away from all latents, where an untrained Genie is lost.

    The distance of latents tells every frame of extreme clips from those of recorded ones, the
    rebuilding error of the prompt, which they share, none.
    """
    genie = build_small_genie()

    def to_latents(actions):
        latents = np.zeros((len(actions), genie.latent_action.code_dim))
        latents[:, 0] = 100 * np.linalg.norm(actions[:, :3], axis=1)
        return latents

    world = GenieWorld(genie, sampler=Sampler(num_steps=2), robot_map=lambda: to_latents)
    context = record_context(tmp_path, num_frames=4, num_episodes=7, num_steps=16)
    context = replace(context, world=world, to_latents=to_latents)
    suite = Trust(num_clips=5, cases=["recorded", "extreme"])
    result = run_suite(suite, context)
    metrics, columns = result.metrics, result.table.columns
    assert metrics["auroc/strange"].value > 0.8
    assert metrics["auroc/strange"].baselines["signal_latent"] == 1.0
    assert metrics["auroc/strange"].baselines["signal_prompt"] == pytest.approx(0.5)
    assert metrics["distrusted/extreme"].value == 1.0
    assert metrics["trust/extreme"].value < metrics["trust/recorded"].value
    assert ((columns["trust"] > 0) & (columns["trust"] <= 1)).all()
    assert len(result.table) == 2 * 5 * 3


def test_a_world_that_is_no_genie_is_undefined_with_the_reason(recorded):
    metrics = run_suite(Trust(), plug(recorded, world_model="copy_last")).metrics
    assert "only a Genie infers latent actions" in metrics["auroc"].reason


def test_unknown_cases_are_refused(recorded):
    with pytest.raises(ValueError, match=r"\['upside_down'\] are not known; choose from recorded"):
        Trust(cases=["upside_down"]).evaluate(plug(recorded, world_model="copy_last"))
