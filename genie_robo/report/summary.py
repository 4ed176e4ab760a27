"""The top of a report: three sentences, and five numbers with a verdict on each."""

from collections.abc import Mapping
from typing import NamedTuple

from genie_robo.build import is_steered_by_robot
from genie_robo.checkpoint import has_weights
from genie_robo.config_file import read_config
from genie_robo.eval_suites.results import format_number, format_value
from genie_robo.eval_suites.table import Metric
from genie_robo.provenance import read_provenance
from genie_robo.run_folder import RunFolder
from genie_robo.train.settings import TrainConfig

MOST_NUMBERS = 5

Headlines = Mapping[str, Mapping[str, Metric]]
"""Headline numbers by suite."""


class Question(NamedTuple):
    """A headline number that decides whether a part of the model works."""

    text: str
    suite: str
    ending: str
    """Of the metric's name, from a slash on."""
    to_beat: tuple[str, ...]
    """Baselines; the best of them counts."""
    sentence: str = ""
    """With the number in the place of {}."""
    lower_is_better: bool = False


FLOW = ("dense_flow_clusters", "optical_flow_clusters", "untrained_encoder", "previous_action")
"""Baselines without labels: the supervised references of the probe may be above any code."""
HELD = ("copy_last",)
LATENT_ACTIONS = Question(
    "latent actions: R2 of the robot's motion",
    "latent_probe",
    "r2",
    FLOW,
    "Its latent actions predict the robot's motion in test episodes with an R2 of {}",
)
IMAGINED = (
    Question(
        "imagined under robot actions: error of the tool",
        "sim_rollout",
        "tool_error/robot_control",
        HELD,
        "Under the recorded robot actions, its imagined tool is {} from MuJoCo's on average",
        lower_is_better=True,
    ),
    Question(
        "imagined: error of the objects", "sim_rollout", "box_error", HELD, lower_is_better=True
    ),
    Question(
        "imagined under latent actions: error of the tool",
        "sim_rollout",
        "tool_error",
        HELD,
        "Under the inferred latent actions, its imagined tool is {} from MuJoCo's on average",
        lower_is_better=True,
    ),
    Question(
        "imagined frames: PSNR",
        "video",
        "psnr",
        HELD,
        "Its imagined frames have a PSNR of {} against the true ones",
    ),
)
STEERING = Question(
    "steering: PSNR gained over random latent actions",
    "controllability",
    "delta_psnr/uniform/t4",
    HELD,
    "Its imagined frames are {} closer to the true ones than under random latent actions",
)
QUESTIONS = (
    Question("tokenizer: PSNR of rebuilt frames", "tokenizer", "psnr", HELD),
    LATENT_ACTIONS,
    STEERING,
    *IMAGINED,
)
"""In the order of importance: the first ones that were measured are shown."""


def summary_lines(run: RunFolder, headlines: Headlines) -> list[str]:
    """Three sentences: what was trained, what its latent actions are, what it imagines."""
    asked = [q for q in (*IMAGINED, STEERING) if q.sentence and find(headlines, q)]
    sentences = (
        _model(run),
        _sentence(headlines, LATENT_ACTIONS)
        or "Its latent actions were not compared with robot actions.",
        _sentence(headlines, asked[0]) if asked else "What it imagines was not measured.",
    )
    return [" ".join(sentences), ""]


def verdict_lines(headlines: Headlines) -> list[str]:
    """A table of the most important numbers, what they must beat, and whether they do."""
    asked = ((question, find(headlines, question)) for question in QUESTIONS)
    shown = [(question, metric) for question, metric in asked if metric][:MOST_NUMBERS]
    if not shown:
        return []
    lines = ["| number | value [95 % interval] | baseline | best possible | verdict |"]
    lines.append("|---|---|---|---|---|")
    for question, metric in shown:
        baseline = best_baseline(question, metric)
        cells = (
            question.text,
            _value(metric),
            "" if baseline is None else f"{format_number(baseline[1])} ({baseline[0]})",
            "" if metric.ceiling is None else format_number(metric.ceiling),
            verdict(question, metric),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def verdict(question: Question, metric: Metric) -> str:
    """Whether the interval of a number is on the right side of its best baseline."""
    baseline = best_baseline(question, metric)
    if baseline is None or metric.value is None:
        return "no baseline"
    low, high = metric.ci95 or (metric.value, metric.value)
    above, below = low > baseline[1], high < baseline[1]
    if not above and not below:
        return "as good as the baseline, within the interval"
    is_better = below if question.lower_is_better else above
    return "better than the baseline" if is_better else "**worse than the baseline**"


def best_baseline(question: Question, metric: Metric) -> tuple[str, float] | None:
    """Name and value of the baseline that is hardest to beat."""
    named = ((name, metric.baselines.get(name)) for name in question.to_beat)
    known = [(name.replace("_", " "), value) for name, value in named if value is not None]
    best = min if question.lower_is_better else max
    return best(known, key=lambda pair: pair[1], default=None)


def find(headlines: Headlines, question: Question) -> Metric | None:
    """The first headline number that answers a question; None where it is not measured."""
    for name, metric in headlines.get(question.suite, {}).items():
        if f"/{name}".endswith(f"/{question.ending}") and metric.value is not None:
            return metric
    return None


def _sentence(headlines: Headlines, question: Question) -> str:
    """A number in words, next to its baseline and the best possible one; empty without it."""
    metric = find(headlines, question)
    if metric is None:
        return ""
    baseline, compared = best_baseline(question, metric), []
    if baseline is not None:
        compared.append(f"{baseline[0]}: {format_number(baseline[1])}")
    if metric.ceiling is not None:
        compared.append(f"best possible: {format_number(metric.ceiling)}")
    value = format_value(metric) if metric.unit == "R2" else _value(metric)
    text = question.sentence.format(value)
    return f"{text} ({', '.join(compared)})." if compared else f"{text}."


def _value(metric: Metric) -> str:
    return f"{format_value(metric)} {metric.unit}"


def _model(run: RunFolder) -> str:
    """What was trained, on what."""
    text, provenance = "This is a Genie world model", read_provenance(run)
    if provenance is not None:
        text += f", trained on {len(provenance['episodes'].get('train', ()))} episodes"
    if not run.config.exists():
        return f"{text}."
    config = read_config(run, TrainConfig)
    text += f" of {config.data.image_height} x {config.data.image_width} pixels"
    if is_steered_by_robot(config.model):
        return f"{text} with the robot's actions."
    labels = config.latent_action_labels.num_transitions
    text += f" with {labels} labelled transitions" if labels else " without labels"
    if has_weights(run, "robot_dynamics"):
        text += "; robot control learned the robot's actions afterwards"
    return f"{text}."
