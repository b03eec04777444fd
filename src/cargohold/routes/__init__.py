"""One short function an operation: from the operation and its request to an answer."""
