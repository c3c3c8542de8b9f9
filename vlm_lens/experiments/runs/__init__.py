"""A run: a folder with a specification, rows in shards, and a summary; killed at any moment, it goes on."""
