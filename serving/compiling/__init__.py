"""The author's side of engines: from a fitted pipeline to what computes the same, proven."""
