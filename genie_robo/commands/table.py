"""The commands of `genie-robo`: one row each, and how those of other packages are found.

Another package adds a command by an entry point of the group `genie_robo.commands` that names a
`Command`:

    [project.entry-points."genie_robo.commands"]
    cart = "cart.command:COMMAND"
"""

import difflib
from collections.abc import Iterable
from importlib.metadata import entry_points

from genie_robo import config as cfg
from genie_robo.commands.command import Command, UsageError

GROUP = "genie_robo.commands"


def command_names() -> list[str]:
    """Our commands in the order of use, then those of other packages."""
    others = {point.name for point in entry_points(group=GROUP)} - COMMANDS.keys()
    return [*COMMANDS, *sorted(others)]


def load_command(name: str) -> Command:
    """The command of this name.

    Raises:
        UsageError: There is none.
        ImportError: The package that brings it is broken or lacks a dependency.
    """
    if name in COMMANDS:
        return COMMANDS[name]
    for point in entry_points(group=GROUP, name=name):
        return point.load()
    names = command_names()
    raise UsageError(
        f"there is no command {name!r}.{did_you_mean(name, names)} Commands: {', '.join(names)}"
    )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` Did you mean a or b?`, from names spelled alike or with the same last part, or nothing."""
    names = list(known)
    alike = difflib.get_close_matches(word, names, n=3, cutoff=0.6)
    last = word.rpartition(".")[2]
    alike += [name for name in names if name.rpartition(".")[2] == last and name not in alike]
    return f" Did you mean {' or '.join(alike[:3])}?" if alike else ""


_ROWS = (
    Command(
        name="demo",
        summary="the whole pipeline: record, train, evaluate, imagine, report",
        config=cfg.DemoConfig,
        run="genie_robo.commands.demo:run",
        check="genie_robo.commands.checks:check_demo",
        after_sweep="genie_robo.commands.compare:compare_sweep",
        details=(
            "Records scripted episodes in MuJoCo, trains a tokenizer and a world model on them "
            "without action labels, measures how well the latent actions match the robot's "
            "actions, imagines test episodes next to MuJoCo, and writes a report. Finished stages "
            "are skipped, interrupted ones resume, and a run folder of another configuration is "
            "refused. experiment=default takes about 20 minutes on two CPU cores, "
            "experiment=long about three hours, experiment=smoke a few minutes. "
            "data=NAME data.path=FOLDER trains on your own dataset and records nothing. With -m, "
            "the experiments ablation_tokenizer, ablation_latent_action, ablation_objects, "
            "scaling_model and scaling_batch run all their variants and end with one table and one "
            "figure: comparison.md, .csv and .png in "
            "comparison.folder. Run the same line again to resume: finished runs are skipped and "
            "failed ones are repeated. experiment=[NAME,smoke] is a small version of an "
            "experiment. See docs/experiments.md"
        ),
        common=(
            "run",
            "data.path",
            "record.num_episodes",
            "tokenizer.num_steps",
            "world_model.num_steps",
            "labels",
            "imagine.num_episodes",
            "fast",
            "engine.device",
            "seed",
        ),
        examples=(
            "genie-robo demo",
            "genie-robo demo experiment=smoke",
            "genie-robo demo run=runs/longer record.num_episodes=1000 world_model.num_steps=20000",
            "genie-robo demo data=bridge_dataset data.path=~/rlds/bridge_dataset run=runs/bridge",
            "genie-robo demo -m seed=0,1,2 'run=runs/seed_${seed}'",
            "genie-robo demo -m experiment=ablation_tokenizer seed=0,1,2",
            "genie-robo demo -m experiment=ablation_latent_action variant=default,paper_lam,tokens",
        ),
    ),
    Command(
        name="record",
        summary="run scripted policies in MuJoCo and write them as an RLDS dataset",
        config=cfg.RecordConfig,
        run="genie_robo.commands.record:run",
        check="genie_robo.commands.checks:check_record",
        details=(
            "Writes array_record files with RT-1 style 7-D actions and the simulator state of "
            "every step; tfds.builder_from_directory opens them. The folder appears once it is "
            "complete. The robots google_robot and wx250s are read from the folder that "
            "MENAGERIE_ROOT names, or from the package mujoco-menagerie. layout=rt1 writes the "
            "columns, the rate and the image size of RT-1 instead, without the state, to be read "
            "with data=fractal20220817_data."
        ),
        examples=(
            "genie-robo record path=datasets/tabletop",
            "genie-robo record path=datasets/google robot=google_robot",
            "genie-robo record path=datasets/rt1 robot=google_robot layout=rt1",
            "genie-robo record path=datasets/big num_episodes=2000 image_size=128 renderer=egl",
            "genie-robo record path=datasets/pick pick=1 push=0 random=0 control_hz=5",
        ),
    ),
    Command(
        name="inspect",
        summary="what is in an RLDS or LeRobot folder: columns, splits, actions, problems, images",
        config=cfg.InspectConfig,
        run="genie_robo.commands.inspect:run",
        check="genie_robo.commands.checks:check_inspect",
        details=(
            "Reads and checks every record once, then looks at up to 300 episodes one by one. For "
            "a dataset without a file in conf/data/ it proposes the settings to read it with, and "
            "gives the reason for each, also a frame stride at which pixels move enough. "
            "write=FOLDER/data/NAME.yaml writes these settings; --config-dir FOLDER data=NAME "
            "takes them in every command. output=FOLDER receives inspect.json, a contact sheet of "
            "all cameras, histograms of actions and episode lengths, and episodes.rrd: "
            "num_episodes of them one after another for `genie-robo view path=FOLDER` (cameras, "
            "actions, poses, language, and the scene of simulated ones)."
        ),
        common=(
            "path",
            "output",
            "write",
            "data.source.camera",
        ),
        examples=(
            "genie-robo inspect path=runs/demo/dataset",
            "genie-robo inspect path=~/rlds/bridge_dataset output=bridge_report num_episodes=25",
            "genie-robo inspect path=~/rlds/mine data=rlds data.source.camera=observation/image",
            "genie-robo inspect path=~/rlds/mine write=robots/data/mine.yaml",
        ),
    ),
    Command(
        name="datasets",
        summary="the datasets that data=NAME knows: robot, size, rate, actions; a search in them",
        config=cfg.DatasetsConfig,
        run="genie_robo.commands.datasets:run",
        first_word="words",
        details=(
            "Lists the files of conf/data/, mostly Open X-Embodiment, and those of --config-dir "
            "FOLDER. For any other folder, `genie-robo inspect path=FOLDER` proposes the settings "
            "to read it with."
        ),
        examples=(
            "genie-robo datasets",
            "genie-robo datasets franka wrist",
            "genie-robo datasets --config-dir robots",
        ),
    ),
    Command(
        name="train",
        summary="train a Genie on an RLDS or LeRobot folder, without action labels",
        config=cfg.TrainConfig,
        run="genie_robo.commands.train:run",
        check="genie_robo.commands.checks:check_train",
        details=(
            "Stage tokenizer learns video tokens; stage world_model learns latent actions and the "
            "dynamics together; both without labels. Stage robot_control, which comes after them "
            "and only on demand, teaches a copy of the dynamics the robot's actions, from labels=N "
            "transitions or all. Training resumes from the newest checkpoint in the run folder; a "
            "folder made with other settings is refused. viz=live shows losses, codebooks, "
            "reconstructions and rollouts in a running Rerun viewer; training does not wait for "
            "the viewer and continues without it. Under torchrun the processes share each batch."
        ),
        common=(
            "run",
            "data.path",
            "data.source.camera",
            "stage",
            "labels",
            "tokenizer.num_steps",
            "world_model.num_steps",
            "world_model.batch_size",
            "world_model.num_frames",
            "data.image_height",
            "data.image_width",
            "data.frame_stride",
            "engine.device",
            "engine.precision",
            "seed",
        ),
        examples=(
            "genie-robo train run=runs/bridge data=bridge_dataset data.path=~/rlds/bridge_dataset",
            "genie-robo train run=runs/mine data=rlds data.path=~/rlds/mine "
            "data.source.camera=observation/image data.source.action.gripper_format=closed_one",
            "genie-robo train run=runs/mine data.path=~/rlds/mine stage=tokenizer",
            "genie-robo train run=runs/mine data.path=~/rlds/mine stage=robot_control labels=all",
            "genie-robo train run=runs/mine data.path=~/rlds/mine viz=live viewer=127.0.0.1:9876",
            "torchrun --nproc-per-node 8 -m genie_robo train run=runs/big data.path=~/rlds/mine "
            "engine=gpu",
            "genie-robo train -m seed=0,1,2 'run=runs/seed_${seed}' data.path=~/rlds/mine",
        ),
    ),
    Command(
        name="tokenize",
        summary="store the tokens of a run's training windows, for faster training",
        config=cfg.TokenizeConfig,
        run="genie_robo.commands.tokenize:run",
        check="genie_robo.commands.checks:check_tokenize",
        details=(
            "Writes RUN/tokens once the tokenizer is trained. `train` with stage=world_model then "
            "reads the tokens from there instead of computing them for every batch; they are the "
            "same. RUN/tokens appears once it is complete. Run the same command again to resume; "
            "under torchrun the processes share the work."
        ),
        common=(
            "run",
            "data.path",
        ),
        examples=(
            "genie-robo tokenize run=runs/demo",
            "torchrun --nproc-per-node 8 -m genie_robo tokenize run=runs/big",
        ),
    ),
    Command(
        name="eval",
        summary="measure a run on its held-out episodes",
        config=cfg.EvalConfig,
        run="genie_robo.commands.eval:run",
        check="genie_robo.commands.checks:check_eval",
        details=(
            "Every suite writes metrics.json, metrics.csv, per_episode.csv, figures and report.md "
            "to RUN/eval/SUITE. Probes are fitted on validation episodes and reported once on test "
            "episodes; headline numbers come with an interval over episodes and, where they "
            "exist, with baselines and a ceiling. Several runs, run=[A,B], are evaluated one after "
            "the other on the same prompts and then compared: OUTPUT/SUITE receives paired.md, "
            "paired.json, paired.csv and paired.png with the paired differences from the first "
            "run over the test episodes that both have."
        ),
        common=(
            "run",
            "suite",
            "fast",
            "seed",
            "data.path",
        ),
        examples=(
            "genie-robo eval run=runs/demo",
            "genie-robo eval run=runs/demo suite=latent_probe fast=true",
            "genie-robo eval run=runs/demo suite=[tokenizer,controllability] seed=1",
            "genie-robo eval run=[runs/a,runs/b] suite=tokenizer output=runs/a_against_b",
            "genie-robo eval run=runs/franka suite=latent_probe fit_on=train",
            "genie-robo eval suite=selfcheck",
            "genie-robo eval run=runs/demo suite=sim_rollout world_model=mujoco",
            "genie-robo eval run=runs/demo data=bridge_dataset data.path=~/rlds/bridge_dataset",
        ),
    ),
    Command(
        name="compare",
        summary="put the numbers of several runs into one table and one figure",
        config=cfg.CompareConfig,
        run="genie_robo.commands.compare:run",
        check="genie_robo.commands.checks:check_compare",
        details=(
            "Run folders called VARIANT-seedN are seeds of one variant: the table gives their "
            "mean and standard deviation. Columns are addresses of numbers, such as "
            "eval/controllability/delta_psnr/uniform/t4, log/world_model/val_dynamics_loss or "
            "parameters/dynamics; without any, the standard columns that the runs have are "
            "compared. A number that a run lacks is listed as missing, with the reason. Writes "
            "comparison.md, comparison.csv and comparison.png to `folder`. `genie-robo demo -m "
            "experiment=NAME` ends with the same files; see docs/experiments.md"
        ),
        examples=(
            "genie-robo compare runs=[runs/demo,runs/longer]",
            "genie-robo compare 'runs=[runs/ablation_tokenizer/*]' folder=runs/ablation_tokenizer",
            "genie-robo compare runs=[runs/a,runs/b] 'columns={PSNR: eval/tokenizer/psnr}'",
        ),
    ),
    Command(
        name="audit",
        summary="what a table of predicted and true success of policies supports",
        config=cfg.AuditConfig,
        run="genie_robo.commands.audit:run",
        check="genie_robo.commands.checks:check_audit",
        first_word="table",
        details=(
            "For tables of any origin: a judge (a world model, a simulator) predicted the success "
            "of trials of policies, whose true success is known. Prints Pearson, Spearman and "
            "MMRV with bootstrap intervals over policies, over trials and over both, Fisher's "
            "interval, a permutation test, the range when single policies are left out, judges "
            "that see no pixels, and sentences about what the table supports. Columns: policy, "
            "trial, predicted, true; optional: task, start, and blind_NAME with the predictions of "
            "a judge without pixels. Without start, trials of different policies and tasks with "
            "one name share their start. See docs/policies.md"
        ),
        examples=(
            "genie-robo audit trials.csv",
            "genie-robo audit trials.csv output=audited",
        ),
    ),
    Command(
        name="imagine",
        summary="roll the world model out from prompts, next to the ground truth",
        config=cfg.ImagineConfig,
        run="genie_robo.commands.imagine:run",
        check="genie_robo.commands.checks:check_imagine",
        details=(
            "A prompt is a test episode, a fresh simulated scene or an image file. The rollout is "
            "driven by the latent actions inferred from the true frames, by the true robot "
            "actions, by codes or robot actions that you give, or by random codes; branches=true "
            "tries every code. In simulation, MuJoCo is restored at the prompt frame and executes "
            "the same actions (for a code, its mean robot action); elsewhere the dataset's own "
            "frames are the truth as long as they were reached by the same actions. An action map "
            "translates between robot actions and codes; it is fitted to action_map.num_labels "
            "steps of validation episodes and kept in RUN/action_map. For each prompt, "
            "RUN/rollouts receives a Rerun recording, a video, a strip of frames, and an archive "
            "of tokens, actions and uncertainty. run=[A,B] runs several models from the same "
            "prompts and writes one recording with all of them and the truth to OUTPUT/rollouts. "
            "See docs/imagination.md"
        ),
        common=(
            "run",
            "prompt",
            "actions",
            "horizon",
            "num_episodes",
            "start",
            "branches",
            "seed",
            "sampler.temperature",
            "data.path",
        ),
        examples=(
            "genie-robo imagine run=runs/demo",
            "genie-robo imagine run=runs/demo num_episodes=10 horizon=12 start=5",
            "genie-robo imagine run=runs/demo prompt=simulator actions=robot seed=7",
            "genie-robo imagine run=runs/demo prompt=sketch.png actions=[0,3,3,1] horizon=4",
            "genie-robo imagine run=runs/demo branches=true num_episodes=1",
            "genie-robo imagine run=[runs/demo,runs/longer] actions=robot",
            "genie-robo imagine run=runs/demo sampler.temperature=0.5 sampler.guidance=2",
        ),
    ),
    Command(
        name="report",
        summary="write report.md and report.html of a run: numbers, rollouts, training curves",
        config=cfg.ReportConfig,
        run="genie_robo.commands.report:run",
        check="genie_robo.commands.checks:check_report",
        details=(
            "Puts what `train`, `eval` and `imagine` have left in the run onto one page: a "
            "summary, a verdict on the most important numbers, every suite with its figures, "
            "rollouts if there are any, training curves, provenance. report.html needs no other "
            "file. Run it again after another suite; `demo` ends with it."
        ),
        examples=("genie-robo report run=runs/bridge",),
    ),
    Command(
        name="play",
        summary="steer the world model in a web page, one action per key",
        config=cfg.PlayConfig,
        run="genie_robo.commands.play:run",
        check="genie_robo.commands.checks:check_play",
        details=(
            "Serves a web page on this machine: the imagined frame, MuJoCo next to it, a button "
            "and a key for each latent action and, with an action map, for moving the robot. It "
            "starts from the first frame of a test episode; the page offers other episodes, fresh "
            "simulator scenes and image files. Recordings go to RUN/rollouts. ui=terminal draws "
            "in the terminal instead; keys read from a pipe print one line per frame. "
            "docs/play.md lists the keys."
        ),
        common=(
            "run",
            "episode",
            "port",
            "browser",
            "ui",
            "sampler.num_steps",
            "data.path",
        ),
        examples=(
            "genie-robo play run=runs/demo",
            "genie-robo play run=runs/demo port=0 browser=false sampler.num_steps=8",
            "genie-robo play run=runs/demo ui=terminal episode=3",
            "echo 00112u3q | genie-robo play run=runs/demo",
        ),
    ),
    Command(
        name="view",
        summary="open or serve recordings in the Rerun viewer",
        config=cfg.ViewConfig,
        run="genie_robo.commands.view:run",
        check="genie_robo.commands.checks:check_view",
        details=(
            "Opens RUN/rollouts/*.rrd, or the recordings at `path`, in a window. serve=true "
            "serves them as a web page instead, for this machine only, on `port` (the data on the "
            "next port). From another machine: "
            "ssh -L 9090:127.0.0.1:9090 -L 9091:127.0.0.1:9091 HOST, then open the printed "
            "address."
        ),
        examples=(
            "genie-robo view run=runs/demo",
            "genie-robo view run=runs/demo serve=true port=9090",
            "genie-robo view run=runs/demo trial=expert/pick/EPISODE",
            "genie-robo view run=runs/demo trial=expert/pick/EPISODE "
            "results=policy_evaluation+mujoco_coded",
            "genie-robo view path=bridge_report/episodes.rrd",
        ),
    ),
    Command(
        name="export",
        summary="write a run's Genie as a folder that genie_robo.load opens",
        config=cfg.ExportConfig,
        run="genie_robo.commands.export:run",
        check="genie_robo.commands.checks:check_export",
        details=(
            "Writes config.json and model.safetensors, the layout of Hugging Face, with the action "
            "map of the run (fitted now if there is none and the dataset is there), what its "
            "imagined frames usually look like, and a model card. In Python, "
            "`genie_robo.load(FOLDER)` loads it, offline and without executing code of the folder."
        ),
        examples=("genie-robo export run=runs/demo output=exported/demo",),
    ),
    Command(
        name="convert",
        summary="write an RLDS folder as LeRobot v3.0, or a LeRobot folder as RLDS",
        config=cfg.ConvertConfig,
        run="genie_robo.commands.convert:run",
        check="genie_robo.commands.checks:check_convert",
        details=(
            "Keeps what data.source names: cameras, actions, poses, joints and instruction, as "
            "they are stored, under the names that the other format uses; and further columns. "
            "Then opens what was written, compares it with the original, and prints the words to "
            "train on it. The folder appears once it is complete and checked. Episodes get ids of "
            "their own, which decide on train, val and test; the old ones are stored as "
            "source_id. See docs/data.md"
        ),
        common=(
            "data.path",
            "to",
            "output",
            "images",
            "columns",
            "data.source.camera",
        ),
        examples=(
            "genie-robo convert data=fractal20220817_data data.path=~/rlds/rt1 to=lerobot "
            "output=datasets/rt1",
            "genie-robo convert data=lerobot data.path=~/lerobot/mine to=rlds "
            "data.source.camera=observation.images.top 'data.source.action.joints=action[0:6]' "
            "'data.source.pose.joints=observation.state[0:6]' output=datasets/mine/1.0.0",
            "genie-robo convert data=bridge_dataset data.path=~/rlds/bridge_dataset to=lerobot "
            "images=lossless columns=[reward] output=datasets/bridge",
        ),
    ),
    Command(
        name="doctor",
        summary="what works on this machine, and the fix for what does not",
        config=cfg.DoctorConfig,
        run="genie_robo.commands.doctor:run",
        details=(
            "Green works, yellow is optional and missing, red has to be fixed. Each renderer is "
            "tried in a process of its own. The exit status is always 0."
        ),
        examples=("genie-robo doctor",),
    ),
    Command(
        name="completion",
        summary="a script that lets bash or zsh complete commands, settings and choices",
        config=cfg.CompletionConfig,
        run="genie_robo.commands.completion:run",
        first_word="shell",
        details=(
            'Put eval "$(genie-robo completion bash)" into ~/.bashrc, or the same with zsh into '
            "~/.zshrc, behind compinit. The names are those of the version that wrote the script."
        ),
        examples=("genie-robo completion bash", "genie-robo completion zsh"),
    ),
)
COMMANDS = {row.name: row for row in _ROWS}
