"""What things are called: towers, hooks, layers and heads; values in words and hashes."""
