"""Measurements against MuJoCo: poses read from pixels, tasks, trials, cloned policies."""
