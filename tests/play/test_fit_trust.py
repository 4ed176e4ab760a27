"""Trust in the frames of a run: measured once for each kind of actions, and kept in the run."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from genie_robo import fit_trust
from genie_robo.commands.play import make_game
from genie_robo.config import PlayConfig
from genie_robo.fit_trust import watch_run
from genie_robo.inference.settings import Sampler
from genie_robo.inference.trust import WatchedWorld
from genie_robo.inference.world import Codes, GenieWorld, HeldFrame, RobotActions
from genie_robo.play.recording import view_session
from genie_robo.run_folder import RunFolder
from genie_robo.trained_run import open_run

SAMPLER = Sampler(num_steps=2)


@pytest.fixture
def own(run, tmp_path):
    """A copy of the run, with what is usual not measured yet."""
    folder = shutil.copytree(
        run.path, tmp_path / "own", ignore=shutil.ignore_patterns("trust.json")
    )
    return open_run(str(folder), device="cpu")


@pytest.fixture
def count(monkeypatch):
    """The kinds of actions that were measured."""
    measured = []
    real = fit_trust.measure_usual

    def counted(context, world, kind):
        measured.append(kind)
        return real(context, world, kind)

    monkeypatch.setattr(fit_trust, "measure_usual", counted)
    return measured


def watch(trained, *, sampler=SAMPLER, **settings):
    world = GenieWorld(trained.genie, sampler=sampler)
    return watch_run(trained, world, **({"kinds": (Codes,), "num_labels": 200} | settings))


def test_what_is_usual_is_measured_once_and_kept(own, count):
    first = watch(own)
    again = watch(open_run(str(own.folder.path), device="cpu"))
    assert isinstance(again, WatchedWorld)
    assert count == [Codes]
    for name in ("median", "spread", "strangeness", "least_trust"):
        found, kept = (getattr(world.usual[Codes], name) for world in (first, again))
        np.testing.assert_array_equal(found, kept)


def test_another_sampler_and_other_weights_are_measured_anew(own, count):
    watch(own)
    watch(own, sampler=Sampler(num_steps=3))
    stored = json.loads(own.folder.trust.read_text())
    stored["kept"]["dynamics/codes"]["origin"]["tokenizer"] = "of another run"
    own.folder.trust.write_text(json.dumps(stored))
    watch(own, sampler=Sampler(num_steps=3))
    assert count == [Codes] * 3


def test_kinds_that_the_world_does_not_take_are_left_out(own, count):
    assert RobotActions not in GenieWorld(own.genie).takes
    assert isinstance(watch(own, kinds=(RobotActions,)), GenieWorld)
    assert count == []


def test_without_a_dataset_only_what_is_kept_counts(own, count):
    shutil.rmtree(own.folder.dataset)
    assert isinstance(watch(own, may_measure=False), GenieWorld)
    assert count == []
    assert watch_run(own, HeldFrame(), kinds=(Codes,), num_labels=200).takes


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"format_version": 2, "kept": [1]}',
        '{"format_version": 2, "kept": {"dynamics/codes": [1]}}',
        '{"format_version": 2}',
        "9" * 100,
    ],
)
def test_a_damaged_file_is_named_and_nothing_is_claimed(own, caplog, content):
    own.folder.trust.write_text(content)
    assert isinstance(watch(own), GenieWorld)
    assert "trust.json cannot be read" in caplog.text
    assert "Delete the file" in caplog.text


def test_what_an_earlier_version_kept_is_measured_anew(own, count):
    watch(own)
    stored = json.loads(own.folder.trust.read_text())
    own.folder.trust.write_text(json.dumps(stored | {"format_version": 1}))
    assert isinstance(watch(own), WatchedWorld)
    assert json.loads(own.folder.trust.read_text()) == stored
    assert count == [Codes] * 2


def test_damaged_numbers_are_named(own, caplog):
    watch(own)
    stored = json.loads(own.folder.trust.read_text())
    stored["kept"]["dynamics/codes"]["usual"]["spread"][0][1] = -1.0
    own.folder.trust.write_text(json.dumps(stored))
    assert isinstance(watch(own), GenieWorld)
    assert "a spread is not positive" in caplog.text


def test_a_game_knows_trust_and_records_it(own, prompts):
    config = PlayConfig(run=str(own.folder.path), sampler=SAMPLER)
    game = make_game(own, prompts.episode(0).prompt, None, config)
    assert game.now.trust is None
    for _ in range(2):
        game.act(game.code_action(0))
    trust = [moment.trust for moment in game.moments[1:]]
    assert all(0 < value <= 1 for value in trust)
    game.undo()
    game.act(game.code_action(0))
    assert game.now.trust == trust[-1]
    shown = view_session(replace_meanings(game)).trust
    np.testing.assert_array_equal(shown, [np.nan, *trust])


def replace_meanings(game):
    game.meanings = None
    return game


def test_a_run_on_another_dataset_keeps_nothing(own, count):
    other = replace(own, is_own_data=False)
    assert isinstance(watch(other), WatchedWorld)
    assert count == [Codes]
    assert not RunFolder(own.folder.path).trust.exists()
