"""What can stand in the place of a Genie: MuJoCo, held frames, oracle codes, your own class."""
