"""What a run shows: report.md, the same page as report.html, and training curves."""
