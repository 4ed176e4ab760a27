"""Robot episodes: read in place from RLDS folders, cut into windows, streamed in batches."""
