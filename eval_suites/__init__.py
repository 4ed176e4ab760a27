"""Evaluation suites: are the latent actions the robot's, and does the model imagine the truth?

One file and one `conf/suite/NAME.yaml` per suite; what each number means is in docs/metrics.md.
"""
