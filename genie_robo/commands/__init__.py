"""One file per command of `genie-robo`: thin doors that compose, build and call a room."""
