"""Other ways to ask: each turns a body into cells, and answers into a body."""
