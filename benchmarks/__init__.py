"""Side by side with the other tools: the same work on the same weights, equal outputs first, then time and memory."""
