"""What a collection of garbage must never do, whatever goes on beside it."""
