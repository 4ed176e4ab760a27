"""What an action map is worth on held-out episodes."""

import pytest
from toy_labels import labels

from genie_robo.fit_action_map import measure
from genie_robo.inference.action_map import (
    ActionDictionary,
    CodeRegressor,
    LatentRegressor,
    Measured,
)


def test_held_out_error_known_answers():
    fit = labels([0, 0, 1])
    dictionary = ActionDictionary.fit(fit.codes, fit.robot_actions, num_codes=4)
    regressor = CodeRegressor.fit(fit.robot_actions, fit.codes, num_codes=4)

    latents = LatentRegressor.fit(fit.robot_actions, fit.latents)

    test = labels(*[[0, 1, 1, 0, 1]] * 6)
    report = measure(dictionary, regressor, latents, fit=fit, test=test)

    assert report.r2["dx"] == Measured(1.0, (1.0, 1.0))
    assert report.r2["dy"] == Measured(None, None)
    assert report.accuracy == Measured(1.0, (1.0, 1.0))
    assert report.majority == pytest.approx(0.4)
    assert report.latent_r2[0].value == pytest.approx(1.0, abs=1e-4)
    assert report.latent_r2[1] == Measured(None, None)  # it never changes
    assert (report.num_labels, report.num_fit_episodes) == (3, 1)
    assert (report.num_test_steps, report.num_test_episodes) == (30, 6)


def test_wrong_predictions_cost_r2_about_the_mean_of_the_labels():
    fit, test = labels([0, 1]), labels([0, 1], [0, 1])
    swapped = ActionDictionary.fit(1 - fit.codes, fit.robot_actions, num_codes=2)
    regressor = CodeRegressor.fit(fit.robot_actions, fit.codes, num_codes=2)

    latents = LatentRegressor.fit(fit.robot_actions, -fit.latents)

    report = measure(swapped, regressor, latents, fit=fit, test=test)

    assert report.r2["dx"].value == pytest.approx(-3.0)
    assert report.latent_r2[0].value == pytest.approx(-3.0, abs=0.01)
    assert report.r2["dx"].ci95 is None  # two episodes are too few
