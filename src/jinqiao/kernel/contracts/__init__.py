"""What the two planes say to each other: versioned frozen dataclasses, to and from JSON."""
