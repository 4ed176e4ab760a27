"""Settings of the three parts of Genie."""

from dataclasses import dataclass, field
from enum import StrEnum

from genie_robo.settings import bounded

MAX_CODES = 2**20
_MAX_STEPS = 2**40
_MAX_WIDTH = 2**16
_MAX_SIDE = 2**13
"""Pixels of an image side, so also of a patch."""


class Backend(StrEnum):
    """How attention is computed; `auto` measures on a GPU and goes by dtype on a CPU."""

    auto = "auto"
    xformers = "xformers"
    sdpa = "sdpa"
    matmul = "matmul"


class TokenizerKind(StrEnum):
    """Attention of the tokenizer, as in the paper's ablation."""

    st_vivit = "st_vivit"
    vit = "vit"
    c_vivit = "c_vivit"


class PatchLayers(StrEnum):
    """First and last layers of the tokenizer."""

    linear = "linear"
    convolutional = "convolutional"


class Joining(StrEnum):
    """How latent actions condition the tokens of a frame, in the LAM's decoder and the dynamics."""

    additive = "additive"
    concatenated = "concatenated"
    prepended = "prepended"


class Space(StrEnum):
    """Space of encodings and codes."""

    sphere = "sphere"
    box = "box"


class QuantizerKind(StrEnum):
    """How encodings are quantised."""

    vq = "vq"
    fsq = "fsq"
    continuous = "continuous"


class LatentActionInput(StrEnum):
    """What latent actions are inferred from, and what they predict."""

    pixels = "pixels"
    tokens = "tokens"


class DecoderView(StrEnum):
    """Frames that the decoder of latent actions gets."""

    previous_frame = "previous_frame"
    history = "history"


class Target(StrEnum):
    """Output of the decoder of latent actions."""

    change = "change"
    frame = "frame"
    flow = "flow"
    """The optical flow of every patch."""


class Penalty(StrEnum):
    """Error of a pixel."""

    absolute = "absolute"
    squared = "squared"


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """A stack of blocks; a space-time block has two of the layers that the paper counts."""

    num_blocks: int = bounded(4, least=1, most=1000)
    dim: int = bounded(128, least=1, most=_MAX_WIDTH)
    num_heads: int = bounded(4, least=1, most=1024)
    """Heads times head_dim need not equal dim."""
    head_dim: int = bounded(32, least=1, most=4096)
    """Even; a multiple of 8 with model.attention=xformers."""
    ff_multiplier: float = bounded(4.0, least=0.01, most=64)
    """Hidden width of the feed-forward, in units of dim."""


_LATENT_ACTION_STACK = TransformerConfig(num_blocks=2, dim=64, num_heads=4, head_dim=16)


@dataclass(frozen=True, kw_only=True)
class QuantizerConfig:
    """A codebook; fsq uses num_codes, levels and reset_after only."""

    kind: QuantizerKind = QuantizerKind.vq
    """vq: learned codes; fsq: a fixed grid; continuous: encodings pass to the decoder unquantised,
    and codes are their clusters, which only the dynamics gets."""
    num_codes: int = bounded(1024, least=1, most=MAX_CODES)
    levels: tuple[int, ...] = bounded((), least=2, most=MAX_CODES)
    """Levels of every dimension of an fsq grid; by default those for about num_codes."""
    code_dim: int = bounded(32, least=1, most=_MAX_WIDTH)
    """Width of a code; an fsq grid has one dimension per entry of its levels instead."""
    commitment: float = bounded(0.25, least=0, most=1e6)
    reset_after: int = bounded(50, least=1, most=_MAX_STEPS)
    """Training steps without use after which a code restarts from a live one."""
    warmup_steps: int = bounded(0, least=0, most=_MAX_STEPS)
    """Training steps before encodings are quantised; the codebook then starts at their centres.
    Runs that are not longer than this quantise after a third of their steps."""
    space: Space = Space.sphere
    """sphere: encodings and codes of length 1; box: encodings keep their size, below 1 in every
    dimension."""
    entropy_weight: float = bounded(0.0, least=0, most=1e6)
    """Weight of the joint code entropy term that works against collapse."""


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """VQ-VAE of video (paper section 2.1)."""

    kind: TokenizerKind = TokenizerKind.st_vivit
    """st_vivit: space, then time; vit: space only; c_vivit: space, then all of space-time."""
    patch_size: int = bounded(8, least=1, most=_MAX_SIDE)
    patch_layers: PatchLayers = PatchLayers.convolutional
    """linear: one matrix product per patch, the paper's; convolutional: overlapping windows, for
    patch sizes that are powers of two."""
    skips: bool = True
    """A patch that does not change keeps its token, and a token that stays keeps its pixels. Not in
    the paper."""
    colour_weight: float = bounded(4.0, least=0, most=1e6)
    """Squared errors count 1 + this times the pixel's saturation (max - min of its channels)."""
    encoder: TransformerConfig = field(default_factory=lambda: TransformerConfig(num_blocks=2))
    decoder: TransformerConfig = field(default_factory=lambda: TransformerConfig(num_blocks=2))
    quantizer: QuantizerConfig = field(default_factory=lambda: QuantizerConfig(warmup_steps=350))


@dataclass(frozen=True, kw_only=True)
class LatentActionDesign:
    """Inputs and outputs of encoder and decoder of latent actions.

    | setting | ours, the defaults | the paper's, conf/variant/paper_lam.yaml |
    |---|---|---|
    | decoder_view | previous_frame | history |
    | target | change | frame |
    | penalty | absolute | squared |
    | sees_difference | true | false |
    | sees_flow | true | false |
    | flow | true | false |
    | decoder_sees_code | false | true |
    | quantizer.kind | continuous | vq |

    Models of tokens (input=tokens) predict the next tokens by cross-entropy, and their decoder
    always gets the code: target, penalty, sees_flow, flow and decoder_sees_code apply to pixels
    only.
    """

    decoder_view: DecoderView = DecoderView.previous_frame
    """The decoder gets the previous frame only, or the whole history."""
    target: Target = Target.change
    """Predict the change from the previous frame, the next frame itself, or the optical flow."""
    penalty: Penalty = Penalty.absolute
    """Penalty of pixel errors."""
    sees_difference: bool = True
    """The encoder also gets the difference of each frame from the previous one."""
    sees_flow: bool = True
    """The encoder also gets the optical flow of every patch."""
    flow: bool = True
    """The decoder warps the previous frame by a flow that is linear in the code; target=flow
    predicts that flow alone, target=frame has none."""
    decoder_sees_code: bool = False
    """The layers of the decoder get the code; otherwise it only scales the flow, so that motions
    are linear in it."""
    codes_per_transition: int = bounded(1, least=1, most=64)
    """Codes per latent action; num_codes to this power make the set of latent actions."""


@dataclass(frozen=True, kw_only=True)
class LatentActionConfig(LatentActionDesign):
    """Latent action model (paper section 2.1)."""

    input: LatentActionInput = LatentActionInput.pixels
    """tokens: the tokenizer's; then downscale and patch_size have no effect."""
    downscale: int = bounded(4, least=1, most=_MAX_SIDE)
    """Frames are scaled down by this before the model gets them."""
    patch_size: int = bounded(4, least=1, most=_MAX_SIDE)
    """Patch side in pixels of the scaled-down frame."""
    encoder: TransformerConfig = _LATENT_ACTION_STACK
    decoder: TransformerConfig = _LATENT_ACTION_STACK
    quantizer: QuantizerConfig = field(
        default_factory=lambda: QuantizerConfig(
            kind=QuantizerKind.continuous,
            num_codes=8,
            code_dim=4,
            space=Space.box,
            warmup_steps=300,
        )
    )

    def __post_init__(self) -> None:
        """Refuse a flow without a previous frame, and a decoder that does not get the code."""
        if self.input is LatentActionInput.tokens:
            return
        if self.flow and self.target is Target.frame:
            raise ValueError(
                "model.latent_action.flow=true moves the frame before, but target=frame predicts "
                "the next one afresh; use target=change, or flow=false decoder_sees_code=true"
            )
        if self.target is Target.flow and not self.flow:
            raise ValueError(
                "model.latent_action.target=flow predicts a flow, but flow=false; leave flow=true, "
                "or predict pixels with target=change"
            )
        if not self.flow and not self.decoder_sees_code:
            raise ValueError(
                "model.latent_action.decoder_sees_code=false leaves the code to the flow, but "
                "flow=false; use flow=true or decoder_sees_code=true"
            )


class Steering(StrEnum):
    """Conditioning of the dynamics."""

    latent_actions = "latent_actions"
    robot_actions = "robot_actions"
    """True robot actions, an upper bound; such a model cannot be rolled out by codes."""


@dataclass(frozen=True, kw_only=True)
class DynamicsConfig:
    """MaskGIT dynamics (paper section 2.1)."""

    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    min_mask_rate: float = bounded(0.5, least=0, most=1)
    """Tokens of frames 2..T are masked at a rate drawn from U(min_mask_rate, 1)."""
    latents_share: float = bounded(0.5, least=0, most=1)
    """Share of training windows that are steered by latents instead of their codes. Above 0, a
    rollout can be steered by either; 0 is the paper's."""
    steered_by: Steering = Steering.latent_actions
    copies: bool = True
    """The token in the same place one frame before gets a learned bonus. Not in the paper."""
    clean_past: bool = True
    """Training shows earlier frames unmasked, as imagination does. False masks them too, as in the
    paper; a step then costs a quarter less."""
    relative_places: bool = True
    """Attention within a frame depends on how many rows and columns patches lie apart. Not in the
    paper."""
    starts_from_codes: bool = True
    """Tokens with similar codes begin with similar embeddings and logits. Not in the paper."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The three parts of Genie."""

    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    latent_action: LatentActionConfig = field(default_factory=LatentActionConfig)
    dynamics: DynamicsConfig = field(default_factory=DynamicsConfig)
    actions: Joining = Joining.additive
    attention: Backend = Backend.auto
