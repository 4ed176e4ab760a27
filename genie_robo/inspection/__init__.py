"""What `inspect` finds out about a dataset: facts, suspicions, a proposed mapping, figures."""
