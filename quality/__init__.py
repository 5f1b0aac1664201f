"""What can be said of a solution by reading it. Nothing is imported or executed."""
