"""The check of a tree that servers use meanwhile, and the repair of what it finds."""
