"""A single training as a page: what was tracked of it and what the store holds."""
