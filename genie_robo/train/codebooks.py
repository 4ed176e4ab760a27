"""Watches codebooks while they learn, and says so when one collapses."""

import logging
import math

from genie_robo.models.quantizer import CodeUse

_MEMORY = 50
"""Steps over which use is averaged, and between two warnings."""
_EXPONENT = 0.15
"""Collapsed is a perplexity below num_codes to this power: 1.4 of 8 codes, 2.8 of 1,024."""

_log = logging.getLogger(__name__)


class CodebookWatch:
    """The use of one codebook, step by step."""

    def __init__(self, name: str, num_codes: int) -> None:
        self._name = name
        self._num_codes = num_codes
        self._recent: list[float] = []

    def see(self, step: int, use: CodeUse) -> None:
        """Take in the use in a training step; warn when few codes were used for long."""
        if math.isnan(use.perplexity):
            return
        self._recent.append(use.perplexity)
        if len(self._recent) < _MEMORY:
            return
        mean = sum(self._recent) / len(self._recent)
        self._recent.clear()
        if mean < self._num_codes**_EXPONENT:
            _log.warning(
                "step %d: %s has collapsed: %.1f of %d codes in use. Try a lower learning rate, "
                "more quantizer.warmup_steps, a higher quantizer.entropy_weight, a shorter "
                "quantizer.reset_after or larger batches",
                step,
                self._name,
                mean,
                self._num_codes,
            )


def log_names(prefix: str, use: CodeUse) -> dict[str, float]:
    """The use of a codebook as numbers for the log."""
    return {
        f"{prefix}perplexity": use.perplexity,
        f"{prefix}dead_codes": float(use.num_dead),
        f"{prefix}code_resets": float(use.num_restarted),
    }
