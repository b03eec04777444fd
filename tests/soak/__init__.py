"""A registry under everything at once: pushes, pulls, mounts, deletions, collections, kills; for as long as wanted."""
