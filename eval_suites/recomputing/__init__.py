"""A metric from the rows of per_episode.csv: which columns, and what of their total."""
