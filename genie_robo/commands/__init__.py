"""One module per command of `genie-robo`; the work itself is done in other packages."""
