"""Captions of the suites' figures: what is shown, and what a good model looks like."""

CODE_USE = "How often each latent action occurs in test episodes. Unused codes have no bar."
CAPTIONS = {
    "tokenizer": {
        "reconstruction": "Frames of the test episode with the median PSNR, and what the "
        "tokenizer rebuilds from their tokens.",
        "psnr": "PSNR of rebuilt frames over all test frames, next to a copy of the previous "
        "frame; separately for the pixels that changed.",
        "code_usage": "Share of each token, most used first. A flat line would be equal use; "
        "tokens at 0 are never used.",
    },
    "latent_probe": {
        "r2": "R2 of the robot's motion predicted from the latent action, with its interval. The "
        "dashed line is the ceiling: as many clusters of the true motions. The two ridges use all "
        "labels and continuous inputs, so they may be higher.",
        "gain_over_baselines": "R2 of the latent actions minus that of each baseline on the same "
        "episodes. Intervals right of 0 are gains.",
        "lag": "R2 when codes are shifted against the motion. Aligned codes peak at lag 0.",
        "labels": "R2 on test episodes by the number of labelled transitions that the meaning of "
        "codes is estimated from.",
        "code_usage": CODE_USE,
        "displacement_rose": "Mean motion of the robot in test transitions of each latent action, "
        "from above and upwards. Names are by the labelled steps of the action map.",
    },
    "latent_structure": {
        "transitions": "How often one latent action follows another.",
        "forward_backward": "The latent action of each transition, and of the same transition "
        "played backwards. Opposite motions should have opposite codes.",
        "code_usage": CODE_USE,
    },
    "latent_transfer": {
        "sign_consistency": "Share of the test episodes in which a latent action moves the robot "
        "in the same direction of an axis as in all others.",
    },
    "few_label": {
        "labels": "R2 of robot actions, and error of a replay in MuJoCo, by the number of "
        "labelled transitions.",
    },
    "controllability": {
        "delta_psnr": "PSNR of rollouts under the inferred latent actions minus that under random "
        "ones, with the same prompt and seed. At 0 the actions would change nothing.",
        "psnr": "PSNR of rollouts against the true frames, by the source of latent actions.",
    },
    "action_following": {
        "horizon": "R2 of the motion that is read from imagined frames, over the horizon.",
    },
    "video": {
        "horizon": "Quality of imagined frames over the horizon, between a copy of the last "
        "prompt frame and the tokenizer's reconstruction of the true frames.",
        "strip": "The rollout with the median PSNR: true, imagined, and rebuilt by the tokenizer.",
    },
    "sim_rollout": {
        "horizon": "PSNR of imagined frames against MuJoCo's under the same actions, by what "
        "steers the model; between a copy of the prompt and the tokenizer's reconstruction.",
        "strip": "The prompt with the median PSNR. MuJoCo executes the recorded actions; each row "
        "below is imagined from the prompt under the named actions. MuJoCo coded executes motions "
        "quantised to as many clusters as there are codes.",
    },
    "counterfactual": {
        "scores": "How far beyond success trials end in imagination, for those that succeed and "
        "those that fail in MuJoCo. Apart, they can be told from one another.",
        "sensitivity": "How much a change of the actions changes the imagined motion of the tool, "
        "over the true change. At 1 both are equal.",
    },
    "policy_evaluation": {
        "policies": "Success of each policy in imagination against MuJoCo, with intervals over "
        "trials. Policies are numbered from the best to the worst; on the line both are equal.",
    },
    "behaviour_cloning": {
        "success": "Success in MuJoCo by the number of labelled steps, of a policy that decodes "
        "latent actions and of one cloned from the labels alone.",
    },
    "trust": {
        "trust": "Mean trust over imagined frames: recorded actions should keep it, actions, "
        "scenes, cameras and robots that the model never saw should lose it.",
    },
}
"""By suite and figure."""


def caption(suite: str, figure: str) -> str:
    """The caption of a figure of a suite; of an unknown one its name in words.

    `suite` may be the name of a result, as in `video+copy_last`.
    """
    name = suite.split("+")[0].split("@")[0]
    return CAPTIONS.get(name, {}).get(figure, figure.replace("_", " "))
