"""A judge of policies, audited: what a table of predicted and true success supports."""
