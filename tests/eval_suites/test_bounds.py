"""Settings of suites that no evaluation could use are refused before anything runs."""

from dataclasses import dataclass, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest
import yaml
from hydra.utils import get_class

from genie_robo.config.sim import Renderer
from genie_robo.config_file import conf_dir
from genie_robo.eval_suites.behaviour_cloning import BehaviourCloning
from genie_robo.eval_suites.bounds import check_names, check_settings, check_window, whole_number
from genie_robo.eval_suites.counterfactual import Counterfactual
from genie_robo.eval_suites.policy_evaluation import PolicyEvaluation
from genie_robo.eval_suites.rollouts import room_for
from genie_robo.eval_suites.selfcheck import SelfCheck
from genie_robo.eval_suites.tokenizer import TokenizerSuite
from genie_robo.eval_suites.video import VideoSuite
from genie_robo.settings import bounded

SUITES = [
    get_class(yaml.safe_load(path.read_text())["_target_"])
    for path in sorted(Path(conf_dir()).glob("suite/*.yaml"))
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mine:
    name: ClassVar[str] = "mine"
    number: Any = whole_number(3)  # noqa: RUF009 it gives a field
    sizes: Any = whole_number((2, 4))  # noqa: RUF009
    share: Any = bounded(0.5, least=0.0, most=1.0)  # noqa: RUF009
    renderer: Renderer = Renderer.auto


@pytest.mark.parametrize("suite", SUITES)
def test_every_number_of_a_suite_has_a_range_and_its_default_is_inside(suite):
    check_settings(suite())
    numbers = {item.name for item in fields(suite) if isinstance(item.default, int | float)}
    bounds = {item.name for item in fields(suite) if "range" in item.metadata}
    assert numbers - bounds <= {"lost_below_db"}  # any level of PSNR is allowed


@pytest.mark.parametrize(
    ("suite", "message"),
    [
        (TokenizerSuite(max_episodes=0), r"suite\.tokenizer\.max_episodes=0 must be at least 1"),
        (Mine(number="many"), r"suite\.mine\.number=many must be a whole number"),
        (Mine(number=2.5), r"number=2\.5 must be a whole number"),
        (Mine(number=True), "number=True must be a whole number"),
        (
            Mine(renderer=cast(Any, "gone")),
            "mine.renderer=gone is unknown; use auto or egl",
        ),
        (Mine(sizes=[3, 0]), r"suite\.mine\.sizes=0 must be at least 1"),
        (Mine(share="half"), r"suite\.mine\.share=half must be a number"),
        (Mine(share=1.5), r"suite\.mine\.share=1\.5 must be from 0 to 1"),
    ],
)
def test_what_is_out_of_range_or_unknown_is_refused(suite, message):
    with pytest.raises(ValueError, match=message):
        check_settings(suite)


def test_whole_numbers_fit_where_any_number_does_and_names_become_members():
    suite = Mine(share=1, renderer=cast(Any, "egl"))
    check_settings(suite)
    assert suite.renderer is Renderer.egl


def test_a_suite_that_is_no_dataclass_is_left_alone():
    suite = SimpleNamespace(name="mine", max_episodes=0)
    check_settings(suite)
    assert vars(suite) == {"name": "mine", "max_episodes": 0}


@pytest.mark.parametrize(
    ("suite", "num_frames"),
    [
        (VideoSuite(num_prompt_frames=8), 8),
        (VideoSuite(num_prompt_frames=0), 8),
        (VideoSuite(), 1),
    ],
)
def test_a_prompt_without_room_to_imagine_is_refused(suite, num_frames):
    with pytest.raises(ValueError, match=f"the model sees {num_frames} frames at once"):
        check_window(suite, num_frames)


def test_a_window_with_room_and_suites_without_prompts_pass():
    check_window(VideoSuite(num_prompt_frames=7), 8)
    assert room_for(15, 7, num_frames=8, name="video") == 1
    check_window(SelfCheck(), 1)
    assert not hasattr(SelfCheck(), "horizon")


@pytest.mark.parametrize(
    ("names", "message"),
    [([], "suite.mine.tasks is empty; choose from reach"), (["a"], r"=\['a'\] are not known;")],
)
def test_names_that_are_not_known_are_refused(names, message):
    with pytest.raises(ValueError, match=message):
        check_names(names, ["reach", "push"], setting="suite.mine.tasks")


@pytest.mark.parametrize(
    ("suite", "settings"),
    [
        (BehaviourCloning, {"task": "dance"}),
        (Counterfactual, {"tasks": ["dance"]}),
        (PolicyEvaluation, {"tasks": []}),
        (PolicyEvaluation, {"policies": ["dance"]}),
        (PolicyEvaluation, {"policy": "gone.module:Mine"}),
    ],
)
def test_tasks_and_policies_that_are_not_known_are_refused(suite, settings):
    with pytest.raises(ValueError, match=r"dance|is empty|cannot be imported"):
        suite(**settings)
