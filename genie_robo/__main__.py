"""`python -m genie_robo` and `torchrun -m genie_robo` are `genie-robo`."""

import sys

from genie_robo.cli import main

sys.exit(main())
