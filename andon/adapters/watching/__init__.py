"""What a release measures of the world at each look: increments, and never all of it again."""
