"""The residual stream in words: the logit lens."""
