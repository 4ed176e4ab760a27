"""The `inspect` command: facts, findings, a proposed mapping and figures of a dataset."""
