"""report.md and report.html of a run: a summary, images, numbers, curves and provenance."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from genie_robo.command_line import command_line, write_setting
from genie_robo.eval_suites.captions import caption
from genie_robo.eval_suites.results import metric_table
from genie_robo.eval_suites.table import Metric
from genie_robo.pipeline import seconds_spent, stamps_of
from genie_robo.provenance import read_provenance
from genie_robo.report.page import self_contained
from genie_robo.report.suites import INTERVALS, protocol_lines, read_suite, result_paths
from genie_robo.report.summary import Headlines, summary_lines, verdict_lines
from genie_robo.report.training import STAGES, draw_training
from genie_robo.run_folder import BRANCHES, RunFolder, write_atomic
from genie_robo.train.metrics import read_log

BY_ROBOT = "-actions_robot"
"""Suffix of rollouts that the robot's own actions steer."""
Results = Mapping[str, tuple[Mapping[str, Metric], Sequence[str]]]
"""Headline numbers and notes by suite."""
STARTS = (
    "The dotted line is the step from which encodings have codes; before it they are continuous, "
    "so losses may jump there."
)


def write_report(run: RunFolder) -> Path:
    """Write report.md, the same as report.html, and training curves; what is missing is named.

    report.html needs no other file: images and the first video are inside it.

    Raises:
        ValueError: A metrics.json, the configuration or provenance.json cannot be read.
    """
    results: Results = {path.parent.name: read_suite(path) for path in result_paths(run)}
    headlines = {suite: headline for suite, (headline, _) in results.items()}
    lines = [
        f"# {run.path.name}",
        "",
        *summary_lines(run, headlines),
        *_video_lines(run),
        *verdict_lines(headlines),
        *_rollout_lines(run),
        *_number_lines(run, results),
        *_training_lines(run),
        *_provenance_lines(run),
        *_protocol_lines(headlines),
    ]
    text = "\n".join(lines).rstrip() + "\n"
    write_atomic(run.report, text)
    write_atomic(run.report_page, self_contained(text, folder=run.path, title=run.path.name))
    return run.report


def _strips(run: RunFolder) -> list[Path]:
    """Images of rollouts, those that the robot's own actions steer first."""
    found = (path for path in run.rollouts.glob("*.png") if not path.stem.endswith(BRANCHES))
    return sorted(found, key=lambda path: (not path.stem.endswith(BY_ROBOT), path.name))


def _video_lines(run: RunFolder) -> list[str]:
    """The first rollout as a video; its image is a link to it."""
    videos = [(strip, video) for strip in _strips(run) if (video := _video(strip)).exists()]
    if not videos:
        return []
    strip, video = videos[0]
    text = _about(strip, place="left of")
    return [f"[![{text}]({_link(run, strip)})]({_link(run, video)})", "", f"*{text}*", ""]


def _rollout_lines(run: RunFolder) -> list[str]:
    """True frames above imagined ones, then what each code does."""
    strips = _strips(run)
    if not strips:
        return ["No rollouts yet: " + _command("imagine", run), ""]
    lines = ["## Rollouts", "", f"In the viewer: {_command('view', run)}.", ""]
    for strip in strips:
        lines += _image(run, strip, _about(strip, place="above"), files=_files(run, strip))
    for atlas in sorted(run.rollouts.glob(f"*{BRANCHES}.png")):
        text = (
            f"{atlas.stem}: one prompt under every latent action, held from the prompt on. A code "
            "is named by the direction in which the robot moves in labelled steps with it."
        )
        lines += _image(run, atlas, text, files=_files(run, atlas))
    return lines


def _about(strip: Path, *, place: str) -> str:
    by_robot = strip.stem.endswith(BY_ROBOT)
    how = "the robot's own actions" if by_robot else "latent actions inferred from the true frames"
    return f"{strip.stem}: true {place} imagined, which continues the first frame under {how}."


def _video(strip: Path) -> Path:
    return strip.with_suffix(".mp4")


def _files(run: RunFolder, strip: Path) -> str:
    """Links to the video and the recording of a rollout, where they are."""
    kinds = {"video": _video(strip), "Rerun recording": strip.with_suffix(".rrd")}
    return ", ".join(f"[{k}]({_link(run, path)})" for k, path in kinds.items() if path.exists())


def _number_lines(run: RunFolder, results: Results) -> list[str]:
    if not results:
        return ["## Numbers", "", "Not evaluated yet: " + _command("eval", run), ""]
    lines = ["## Numbers", "", INTERVALS, ""]
    for suite, (headline, notes) in results.items():
        folder = run.suite(suite)
        lines += [f"### {suite}", "", *metric_table(headline), "", *(f"- {n}" for n in notes)]
        lines += [f"- [Every number]({_link(run, folder / 'report.md')})", ""]
        for figure in sorted((folder / "figures").glob("*.png")):
            lines += _image(run, figure, caption(suite, figure.stem))
    return lines


def _protocol_lines(headlines: Headlines) -> list[str]:
    """How all numbers were measured, once."""
    lines = ["## How the numbers were measured", ""] if headlines else []
    for suite, headline in headlines.items():
        lines += [f"### Protocols of {suite}", "", *protocol_lines(headline), ""]
    return lines


def _training_lines(run: RunFolder) -> list[str]:
    lines = ["## Training", ""]
    drawn = draw_training(run)
    if not drawn:
        return [*lines, "No training log in this run.", ""]
    for stage, image in drawn.items():
        steps = read_log(run.log(stage))[-1]["step"]
        text = f"{steps} steps of {STAGES[stage]}. {'' if stage == 'robot_control' else STARTS}"
        lines += _image(run, image, text.strip())
    return lines


def _provenance_lines(run: RunFolder) -> list[str]:
    return ["## Where this comes from", "", *_provenance(run), ""]


def _provenance(run: RunFolder) -> Iterator[str]:
    for name, seconds in seconds_spent(stamps_of(run)).items():
        yield f"- {name}: {seconds:.0f} s" if seconds < 120 else f"- {name}: {seconds / 60:.1f} min"
    content = read_provenance(run)
    if content is None:
        yield "- no provenance.json in this run"
        return
    versions = ", ".join(f"{name} {text}" for name, text in content["versions"].items() if text)
    machine = content["machine"]
    counts = ", ".join(f"{len(ids)} {split}" for split, ids in content["episodes"].items())
    yield f"- versions: {versions}"
    yield f"- commit: {content['commit'] or 'unknown'}"
    yield (
        f"- machine: {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {machine['system']}"
    )
    yield f"- dataset {content['dataset_fingerprint']}: {counts} episodes"
    yield f"- seeds: {', '.join(f'{name} {seed}' for name, seed in content['seeds'].items())}"
    yield "- settings: [config.yaml](config.yaml)"


def _command(name: str, run: RunFolder) -> str:
    return f"`{command_line(name, write_setting('run', run.path))}`"


def _image(run: RunFolder, path: Path, text: str, *, files: str = "") -> list[str]:
    """An image with its caption, and links to files of the same."""
    below = f"*{text}*" + (f" {files}" if files else "")
    return [f"![{path.stem.replace('_', ' ')}]({_link(run, path)})", "", below, ""]


def _link(run: RunFolder, path: Path) -> str:
    """A path relative to the report, as a Markdown link."""
    return path.relative_to(run.path).as_posix().replace(" ", "%20")
