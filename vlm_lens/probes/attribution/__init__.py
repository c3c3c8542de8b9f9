"""What an answer rests on: direct logit attribution, gradients, relevance."""
