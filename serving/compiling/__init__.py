"""The author's side of engines: from a fitted pipeline to what is proven to answer as it does."""
