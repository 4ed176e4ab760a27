import io
import json
import re
import tracemalloc
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from genie_robo.cli import main
from genie_robo.eval_suites.audit import checks, trials
from genie_robo.eval_suites.audit.checks import STATISTICS, audit
from genie_robo.eval_suites.audit.claims import claims
from genie_robo.eval_suites.audit.page import audit_figure, audit_json, audit_page
from genie_robo.eval_suites.audit.trials import MOST_BLOCKS, Outcomes, Trials
from genie_robo.eval_suites.audit.trials_file import read_trials
from genie_robo.eval_suites.metrics.ranking import pearson


def outcomes(predicted, true, **settings) -> Outcomes:
    """Trials of arrays policies x starts, all policies from the same starts."""
    predicted, true = np.array(predicted, float), np.array(true, float)
    count, starts = true.shape
    return Outcomes(
        policy=[f"p{i}" for i in range(count) for _ in range(starts)],
        trial=[f"s{j}" for _ in range(count) for j in range(starts)],
        predicted=predicted.ravel(),
        true=true.ravel(),
        **settings,
    )


def drawn(rates, *, num_trials, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.random((len(rates), num_trials)) < np.array(rates)[:, None]).astype(float)


@pytest.fixture
def noisy() -> Outcomes:
    rates = np.linspace(0.1, 0.9, 12)
    return outcomes(drawn(rates, num_trials=24, seed=1), drawn(rates, num_trials=24, seed=2))


def test_correlations_and_fishers_interval_are_those_of_scipy(noisy):
    found = audit(noisy)
    linear = stats.pearsonr(found.predicted, found.true)
    assert found.findings["pearson"].value == pytest.approx(linear.statistic)
    assert found.findings["pearson"].fisher == pytest.approx(tuple(linear.confidence_interval()))
    ranks = stats.spearmanr(found.predicted, found.true).statistic
    assert found.findings["spearman"].value == pytest.approx(ranks)


def test_few_policies_are_permuted_in_all_orders():
    found = audit(outcomes([[0.1], [0.2], [0.3], [0.4]], [[0.0], [0.1], [0.5], [0.7]]))
    ranks = found.findings["spearman"]
    assert ranks.is_exact
    assert ranks.p_value == pytest.approx(1 / 24)
    assert found.findings["mmrv"].p_value == pytest.approx(1 / 24)


def test_sampled_orders_agree_with_the_exact_test_of_scipy(noisy):
    chosen = noisy.where([name in {f"p{i}" for i in range(9)} for name in noisy.policy])
    found = audit(chosen)
    rng = np.random.default_rng(0)
    known = stats.permutation_test(
        (found.predicted,),
        lambda x: stats.pearsonr(x, found.true).statistic,
        permutation_type="pairings",
        alternative="greater",
        n_resamples=5000,
        rng=rng,
    )
    assert not found.findings["pearson"].is_exact
    assert found.findings["pearson"].p_value == pytest.approx(known.pvalue, abs=2e-3)


def test_a_judge_that_guesses_is_not_believed():
    rates = np.linspace(0.1, 0.9, 12)
    guessed = drawn(np.full(12, 0.5), num_trials=24, seed=3)
    found = audit(outcomes(guessed, drawn(rates, num_trials=24)))
    assert found.findings["spearman"].p_value > 0.05
    assert any("does not show" in claim for claim in claims(found))
    assert not any("are predicted to be better are better" in claim for claim in claims(found))


def test_a_perfect_judge_is_believed_and_has_no_error():
    true = drawn(np.linspace(0.1, 0.9, 12), num_trials=24)
    found = audit(outcomes(true, true))
    assert found.absolute_error == found.bias == found.findings["mmrv"].value == 0
    assert found.findings["spearman"].over_both.low == pytest.approx(1.0)
    assert "are predicted to be better are better" in claims(found)[0]


def test_one_policy_that_makes_the_correlation_is_named():
    predicted = [[0.5, 0.5], [0.52, 0.5], [0.5, 0.51], [0.51, 0.5], [0.0, 0.0]]
    true = [[0.6, 0.5], [0.5, 0.5], [0.55, 0.6], [0.5, 0.55], [0.0, 0.0]]
    found = audit(outcomes(predicted, true))
    without = found.findings["pearson"].without_one
    left = np.delete(np.arange(5), 4)
    assert without.policy == "p4"
    assert without.low == pytest.approx(
        stats.pearsonr(found.predicted[left], found.true[left]).statistic
    )
    assert any("most on p4" in claim for claim in claims(found))


def test_intervals_over_trials_cover_what_other_starts_give(monkeypatch):
    """A judge that knows all rates: noise of the starts alone makes its ranking worse."""
    for module in (checks, trials):  # what is resampled is not looked at
        monkeypatch.setattr(module, "RESAMPLES", 20)
    monkeypatch.setattr(checks, "SAMPLED_ORDERS", 20)
    rates, rng = np.concatenate([np.zeros(4), np.linspace(0.1, 0.95, 14)]), np.random.default_rng(0)
    tables = [(rng.random((2, 18, 16)) < rates[:, None]).astype(float) for _ in range(150)]
    found = [audit(outcomes(*table)) for table in tables[:100]]
    for name, statistic in STATISTICS.items():
        others = [statistic(*table.mean(axis=2)) for table in tables]
        values = np.array([one.findings[name].value for one in found])
        low, high = np.array([one.findings[name].over_trials for one in found]).T
        assert ((low <= values) & (values <= high)).all()
        assert ((low <= np.mean(others)) & (np.mean(others) <= high)).mean() >= 0.93
        assert 0.7 < (high - low).mean() / (4 * np.std(others)) < 2.5


def test_many_starts_are_left_out_in_blocks():
    """Nearly the same interval as from every start alone."""
    rates = np.linspace(0.1, 0.9, 8)
    table = outcomes(drawn(rates, num_trials=900, seed=1), drawn(rates, num_trials=900, seed=2))
    of_table = Trials.of(table)
    means, groups = of_table.without_each()
    assert means.true.shape == (MOST_BLOCKS, 8)
    assert set(groups) == {0}
    np.testing.assert_allclose(means.true.mean(axis=0), of_table.means().true[0], atol=1e-3)
    true, predicted = table.true.reshape(8, 900), table.predicted.reshape(8, 900)
    without = [
        pearson(np.delete(predicted, n, 1).mean(1), np.delete(true, n, 1).mean(1))
        for n in range(900)
    ]
    error = np.sqrt(899 / 900 * np.sum((without - np.mean(without)) ** 2))
    low, high = audit(table).findings["pearson"].over_trials
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.25)


def test_paired_trials_are_drawn_together():
    """A start that is hard for all policies moves none of their differences."""
    hard = np.random.default_rng(0).random(16)
    skill = np.linspace(0, 1, 12)[:, None]
    paired = outcomes(skill + hard, skill + hard)
    apart = replace(paired, trial=[f"{n}" for n in range(len(paired.trial))])
    assert audit(paired).is_paired
    assert not audit(apart).is_paired
    assert audit(paired).findings["pearson"].over_trials.low == pytest.approx(1.0)
    assert audit(paired).resolved == 1.0
    assert audit(apart).resolved < 1.0


def of_tasks(table: Outcomes, tasks, **settings) -> Outcomes:
    """The same trials in every task, from the same starts."""
    count = len(tasks)
    return Outcomes(
        policy=[*table.policy] * count,
        trial=[f"{task}/{trial}" for task in tasks for trial in table.trial],
        predicted=np.tile(table.predicted, count),
        true=np.tile(table.true, count),
        **settings,
    )


def test_three_tasks_from_the_same_starts_are_no_new_starts(noisy):
    one = audit(noisy)
    three = audit(of_tasks(noisy, "abc", start=[*noisy.trial] * 3))
    assert three.trials_of_policy == (72, 72)
    assert three.starts_of_policy == one.starts_of_policy == (24, 24)
    for name in ("pearson", "spearman", "mmrv"):
        for kind in ("over_trials", "over_both"):
            wanted = getattr(one.findings[name], kind)
            assert getattr(three.findings[name], kind) == pytest.approx(wanted)
    assert (three.resolved, three.retest) == pytest.approx((one.resolved, one.retest))
    np.testing.assert_allclose(three.true_interval, one.true_interval)
    assert any("72 trials per policy from 24 starts" in claim for claim in claims(three))
    apart = audit(of_tasks(noisy, "abc"))
    assert apart.starts_of_policy == (72, 72)
    assert (
        np.ptp(apart.true_interval, axis=0).mean() < 0.7 * np.ptp(one.true_interval, axis=0).mean()
    )


def test_paired_policies_stay_paired_without_one_of_their_trials():
    rng = np.random.default_rng(0)
    hard, own = rng.random(16), rng.normal(0, 0.05, (12, 16))
    skill = np.linspace(0, 1, 12)[:, None]
    paired = outcomes(skill + hard + own, np.broadcast_to(skill, (12, 16)))
    fewer = paired.where([n != 5 for n in range(len(paired.trial))])
    apart = replace(paired, trial=[f"{n}" for n in range(len(paired.trial))])
    assert not audit(fewer).is_paired
    widths = [np.ptp(audit(one).findings["pearson"].over_trials) for one in (paired, fewer, apart)]
    assert widths[1] < 2 * widths[0]
    assert widths[2] > 4 * widths[0]


def test_policies_without_common_starts_are_drawn_apart():
    rows = [("p0", "a"), ("p0", "b"), ("p1", "b"), ("p1", "c"), ("p2", "d"), ("p2", "e")]
    policy, trial = zip(*rows, strict=True)
    values = np.array([1.0, 2, 3, 4, 5, 6])
    trials = Trials.of(Outcomes(policy=policy, trial=trial, predicted=values, true=-values))
    assert sorted(sorted(group.tolist()) for group in trials.groups) == [[0, 1, 2], [3, 4]]
    drawn = trials.resample(np.random.default_rng(0))
    first, second, third = drawn.predicted.T
    assert set(third) == {5.0, 5.5, 6.0}
    assert np.isnan(first).mean() == pytest.approx(1 / 27, abs=0.01)  # only c was drawn
    known = set(zip(first[first < 9], second[first < 9], strict=True))
    assert (2.0, 3.0) in known  # b three times
    assert (1.0, 3.0) not in known  # b is shared: both have it or neither
    np.testing.assert_array_equal(drawn.true, -drawn.predicted)


def test_halves_hold_every_start_once():
    values = np.random.default_rng(0).random((3, 6))
    trials = Trials.of(
        of_tasks(outcomes(values, values), "ab", start=[f"{n}" for n in range(6)] * 6)
    )
    first, second = trials.halves(np.random.default_rng(1))
    np.testing.assert_allclose((first + second) / 2, values.mean(axis=1))
    known = {
        tuple(np.round(values[:, [*three]].mean(axis=1), 9)) for three in combinations(range(6), 3)
    }
    assert tuple(np.round(first, 9)) in known


def test_below_five_starts_there_is_no_interval_over_trials():
    tables = [
        of_tasks(
            outcomes(values := drawn(np.linspace(0, 1, 8), num_trials=n), values),
            "abc",
            start=[f"{n}" for n in range(n)] * 24,
        )
        for n in (4, 5)
    ]
    few, enough = map(audit, tables)
    for name in ("pearson", "spearman", "mmrv"):
        assert few.findings[name].over_trials is None
        assert few.findings[name].over_both is None
        assert enough.findings[name].over_trials is not None
    assert few.true_interval is None
    assert few.findings["pearson"].over_policies is not None
    assert any("There is no interval over trials" in claim for claim in claims(few))
    assert not any("There is no interval over trials" in claim for claim in claims(enough))
    assert len(audit_figure({"": few}).axes) == 1
    assert json.loads(audit_json({"": few}))["all"]["true_interval"] is None


def test_the_floor_of_a_blind_judge_has_an_interval(noisy):
    rates = np.linspace(0.1, 0.9, 12)
    order = np.random.default_rng(3).permutation(12)
    blind = {
        "same": noisy.predicted,
        "mixed": np.repeat(rates[order], 24),
        "nothing": np.zeros(len(noisy.true)),
    }
    found = audit(replace(noisy, blind=blind))
    for name, finding in found.findings.items():
        same, mixed = finding.beyond_blind["same"], finding.beyond_blind["mixed"]
        assert same == (0.0, (0.0, 0.0))
        assert mixed.value == pytest.approx(finding.value - finding.blind["mixed"])
        low, high = mixed.over_both
        assert low < mixed.value < high
        assert (high < 0) if name == "mmrv" else (low > 0)
    assert found.findings["pearson"].beyond_blind["nothing"] is None
    said = claims(found)
    assert any("does not show that pixels help beyond same: difference" in one for one in said)
    assert not any("Pixels help beyond same" in one for one in said)
    assert any("Pixels help beyond mixed: difference in pearson" in one for one in said)
    assert not any("does not show that pixels help beyond mixed" in one for one in said)
    assert not any("beyond nothing: difference in pearson" in one for one in said)
    apart = found.findings["pearson"].beyond_blind["mixed"]
    shown = "{:+.2f} [{:.2f}, {:.2f}]".format(apart.value, *apart.over_both)
    assert any(shown in line for line in audit_page({"": found}))


def test_a_floor_below_the_judge_by_chance_is_not_beaten():
    """Both judges know half of the truth, so neither is shown to be better."""
    rates = np.linspace(0.1, 0.9, 8)
    noise = [np.random.default_rng(seed).normal(0, 0.25, 8) for seed in (2, 1)]
    first, second = (np.repeat((rates + one)[:, None], 12, axis=1) for one in noise)
    table = outcomes(first, drawn(rates, num_trials=12))
    found = audit(replace(table, blind={"other": second.ravel()}))
    apart = found.findings["pearson"].beyond_blind["other"]
    assert apart.over_both.low < 0 < apart.value < apart.over_both.high
    assert any("does not show that pixels help beyond other" in claim for claim in claims(found))


def plain_mmrv(predicted, true):
    pairs = range(len(true))
    worst = [
        max(
            abs(true[i] - true[j])
            for j in pairs
            if i == j or (predicted[i] < predicted[j]) != (true[i] < true[j])
        )
        for i in pairs
    ]
    return float(np.mean(worst))


PLAIN = {
    "pearson": lambda predicted, true: np.corrcoef(predicted, true)[0, 1],
    "spearman": lambda predicted, true: stats.spearmanr(predicted, true).statistic,
    "mmrv": plain_mmrv,
}


@pytest.mark.parametrize("name", PLAIN)
def test_checks_over_policies_are_those_of_plain_loops(noisy, name):
    found = audit(noisy, seed=4)
    finding, plain = found.findings[name], PLAIN[name]
    count = len(found.policies)
    left = [np.delete(np.arange(count), k) for k in range(count)]
    without = np.array([plain(found.predicted[rest], found.true[rest]) for rest in left])
    most = int(np.abs(without - plain(found.predicted, found.true)).argmax())
    assert finding.without_one.low == pytest.approx(without.min())
    assert finding.without_one.high == pytest.approx(without.max())
    assert finding.without_one.policy == found.policies[most]
    chosen = np.random.default_rng(4).integers(count, size=(2000, count))
    drawn_again = [plain(found.predicted[rows], found.true[rows]) for rows in chosen]
    if name == "mmrv":  # a policy that is drawn twice is ordered rightly with itself
        error = np.sqrt((count - 1) / count * np.sum((without - without.mean()) ** 2))
        low, high = finding.value + np.array([-1, 1]) * stats.norm.ppf(0.975) * error
        assert finding.over_policies == pytest.approx((max(low, 0), high), abs=1e-6)
    else:
        assert finding.over_policies == pytest.approx(np.percentile(drawn_again, [2.5, 97.5]))


def test_fishers_interval_of_ranks_is_that_of_bonett_and_wright():
    """Twelve policies, two neighbours swapped: r = 1 - 6 * 2 / (12 * 143)."""
    true = np.arange(12.0)[:, None]
    predicted = true.copy()
    predicted[[3, 4]] = predicted[[4, 3]]
    ranks = audit(outcomes(predicted, true)).findings["spearman"]
    r = 1 - 12 / (12 * 143)
    assert ranks.value == pytest.approx(r)
    error = np.sqrt((1 + r**2 / 2) / 9)
    wanted = np.tanh(np.arctanh(r) + np.array([-1, 1]) * stats.norm.ppf(0.975) * error)
    assert ranks.fisher == pytest.approx(wanted, abs=1e-6)


def test_scores_have_ranks_but_no_error(noisy):
    scores = audit(replace(noisy, predicted=900 * noisy.predicted))
    assert scores.absolute_error is scores.bias is None
    assert scores.findings["spearman"] == audit(noisy).findings["spearman"]
    assert not any("mean error of" in claim for claim in claims(scores))
    assert any("no success between 0 and 1" in claim for claim in claims(scores))
    assert json.loads(audit_json({"": scores}))["all"]["bias"] is None


def test_levels_count_different_success():
    found = audit(outcomes([[0, 1], [1, 0], [1, 1], [0, 0.3]], [[0, 0], [0, 0], [1, 1], [0, 1]]))
    assert found.levels == (3, 3)  # predicted 0.5 twice, 1, 0.15; true 0 twice, 1, 0.5
    thirds = audit(outcomes([[0.1, 0.2], [0.3, 0.0], [0.2, 0.1]], [[0], [1], [1]] * np.ones(2)))
    assert thirds.levels == (1, 2)  # equal up to rounding


def test_retest_is_the_correlation_of_halves():
    rates = np.array([0.2, 0.4, 0.6, 0.8])
    steady = np.repeat(rates[:, None], 8, axis=1)
    assert audit(outcomes(steady, steady)).retest == pytest.approx(1.0)
    assert audit(outcomes(steady, steady)).ceiling == pytest.approx(1.0)
    coins = drawn(np.full(40, 0.5), num_trials=8)
    assert abs(audit(outcomes(coins, coins)).retest) < 0.3


def test_a_blind_judge_that_does_as_well_is_named(noisy):
    known = np.repeat(audit(noisy).true, 24)
    found = audit(replace(noisy, blind={"names": known, "coin": np.zeros(len(known))}))
    blind = found.findings["pearson"].blind
    assert blind["names"] == pytest.approx(1.0)
    assert blind["coin"] is None
    assert any("(names) does as well" in claim for claim in claims(found))


def test_equal_policies_have_no_ranks():
    found = audit(outcomes(np.ones((4, 3)), drawn([0.1, 0.5, 0.6, 0.9], num_trials=3)))
    assert found.findings["spearman"].value is None
    assert found.findings["spearman"].p_value is None
    assert "Nothing can be said" in claims(found)[0]
    json.loads(audit_json({"": found}), parse_constant=pytest.fail)


def test_too_few_policies_and_repeated_trials_are_refused(noisy):
    with pytest.raises(ValueError, match="2 policies are in the table"):
        noisy.where([name in {"p0", "p1"} for name in noisy.policy])
    with pytest.raises(ValueError, match="trial 's0' of policy 'p0' is in the table twice"):
        replace(noisy, trial=["s0"] * len(noisy.trial))


def table_text(found: Outcomes, **columns) -> str:
    rows = ["policy,trial,predicted,true" + "".join(f",{name}" for name in columns)]
    for n, cells in enumerate(
        zip(found.policy, found.trial, found.predicted, found.true, strict=True)
    ):
        rows.append(",".join(map(str, (*cells, *(values[n] for values in columns.values())))))
    return "\n".join(rows) + "\n"


def test_the_command_writes_page_numbers_and_figure(noisy, tmp_path, capsys):
    tasks = ["reach" if int(name[1:]) % 2 else "push" for name in noisy.trial]
    path = tmp_path / "trials.csv"
    path.write_text(table_text(noisy, task=tasks, blind_names=np.repeat(np.arange(12), 24)))
    assert main(["audit", str(path), f"output={tmp_path / 'out'}"]) == 0
    shown = capsys.readouterr().out
    content = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert list(content) == ["all", "tasks"]
    assert list(content["tasks"]) == ["push", "reach"]
    value = content["all"]["findings"]["pearson"]["value"]
    assert value == pytest.approx(audit(noisy).findings["pearson"].value)
    assert f"{value:.2f}" in shown
    assert "blind: names" in shown
    page = (tmp_path / "out" / "audit.md").read_text()
    assert all(line in page for line in shown.splitlines() if line.startswith("|"))
    assert (tmp_path / "out" / "audit.png").stat().st_size > 10_000


def test_the_first_word_may_be_named(noisy, tmp_path, capsys):
    path = tmp_path / "trials.csv"
    path.write_text(table_text(noisy))
    assert main(["audit", f"table={path}"]) == 0
    assert "Spearman" in capsys.readouterr().out
    assert main(["audit"]) == 2
    assert "audit needs a value for table" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("policy,trial,predicted\na,1,0.5\n", "lacks the column true"),
        ("", "is no CSV table"),
        ("policy,trial,predicted,true\na,1,0.5,yes\n", "line 2: true is 'yes', not a number"),
        ("policy,trial,predicted,true\na,1,0.5,1\nb,1,,1\n", "line 3: predicted is ''"),
        ("policy,trial,predicted,true\na,1,inf,1\n", "line 2: predicted is 'inf'"),
        ("policy,trial,predicted,true\na,1,0,1\nb,1,0,1\n", "2 policies are in the table"),
        ("policy,trial,predicted,true\na,1,0,1,7\nb,1,0,1,7\n", "more cells than its header"),
        ("policy,trial,predicted,true\na,1,0,1\n ,1,0,1\n", "line 3: policy is empty"),
        ("policy,trial,predicted,true\n\na,1,0,1\n\n\nb,1,x,1\n", "line 6: predicted is 'x'"),
        ("policy,trial,predicted,true\na,1,1_0,1\n", "line 2: predicted is '1_0', not a number"),
        ("policy,trial,predicted,true\na,1,1e308,1\n", "not a number of at most 1e+12"),
        ("policy,trial,predicted,true,true\na,1,0,1,0\n", "has the column true more than once"),
        (
            "policy,trial,predicted,true,task\na,1,0,1,x\nb,1,0,1,x\nc,1,0,1,x\na,1,0,1,y\n",
            "task y: 1 policies are in the table",
        ),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, capsys, text, message):
    path = tmp_path / "trials.csv"
    path.write_text(text)
    assert main(["audit", str(path)]) == 1
    assert message in capsys.readouterr().err


def test_success_may_be_words(tmp_path):
    rows = [f"p{i},1,{i / 4},{word}" for i, word in enumerate(["true", "False", "TRUE", "0"])]
    path = tmp_path / "trials.csv"
    path.write_text("\n".join(["policy,trial,predicted,true", *rows]))
    assert read_trials(path)[""].true.tolist() == [1, 0, 1, 0]


def test_trials_of_one_name_share_their_start_unless_the_file_says_otherwise(tmp_path):
    path = tmp_path / "trials.csv"
    rows = [
        f"p{p},{n},{p / 4},1,{task},s{task}{n}" for p in range(4) for task in "ab" for n in (1, 2)
    ]
    path.write_text("\n".join(["policy,trial,predicted,true,task,begin", *rows]))
    assert audit(read_trials(path)[""]).starts_of_policy == (2, 2)
    path.write_text("\n".join(["policy,trial,predicted,true,task,start", *rows]))
    assert audit(read_trials(path)[""]).starts_of_policy == (4, 4)
    assert audit(read_trials(path)["a"]).starts_of_policy == (2, 2)


def test_names_that_look_like_markup_stay_names(noisy):
    strange = replace(noisy, policy=[f"{name}|[bold]" for name in noisy.policy])
    lines = audit_page({"": audit(strange)})
    assert any("p11/[bold]" in line for line in lines)
    assert all(line.count("|") == 4 for line in lines if re.match(r"\| p\d", line))


def test_control_characters_in_names_are_written_out(tmp_path):
    path = tmp_path / "trials.csv"
    rows = [f"\x1b[31mp{n},1,{n / 4},1" for n in range(4)]
    path.write_text("\n".join(["policy,trial,predicted,true", *rows]))
    assert read_trials(path)[""].policy[0] == r"\x1b[31mp0"


def test_the_figure_has_a_panel_for_each_task(noisy):
    found = audit(noisy)
    assert len(audit_figure({"": found, "reach": found}).axes) == 2


def test_a_judge_that_knows_all_rates_reaches_the_ceiling():
    """The ceiling is that of means over these trials, not of half of them."""
    rates = np.linspace(0.3, 0.7, 12)
    known = np.repeat(rates[:, None], 20, axis=1)
    found = [
        audit(outcomes(known, drawn(rates, num_trials=20, seed=seed)), seed=seed)
        for seed in range(30)
    ]
    reached = np.mean([one.findings["pearson"].value for one in found])
    ceilings = [one.ceiling for one in found if one.ceiling is not None]
    assert np.mean(ceilings) == pytest.approx(reached, abs=0.06)
    assert np.mean([one.retest for one in found]) < reached - 0.1


def test_single_trials_have_no_intervals_over_trials():
    found = audit(outcomes([[0.1], [0.2], [0.3], [0.4]], [[0.0], [1.0], [0.0], [1.0]]))
    assert found.resolved is None
    assert found.findings["pearson"].over_trials is None
    assert found.findings["pearson"].over_both is None
    assert "does not show" in claims(found)[0]


@pytest.mark.slow
def test_many_policies_need_little_memory():
    rates = np.linspace(0.1, 0.9, 160)
    table = outcomes(drawn(rates, num_trials=16), drawn(rates, num_trials=16, seed=1))
    tracemalloc.start()
    found = audit(table)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.findings["spearman"].p_value < 0.01
    assert peak < 300 * 2**20


def test_numbers_in_the_figure_are_those_of_the_whole_table(noisy):
    found = audit(noisy)
    part = audit(noisy.where([name != found.policies[-1] for name in noisy.policy]))
    strange = audit(replace(noisy, policy=[f"_${name}$^{{" for name in noisy.policy]))
    figure = audit_figure({"": found, "reach": part})
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[0] == found.policies[int(np.argmax(found.true))]
    assert len(texts) == len(found.policies)
    audit_figure({"": strange}).savefig(io.BytesIO())
