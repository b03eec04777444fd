"""Pure values: what the specification names, parsed once and valid from then on. No I/O, no state, no logging."""
