"""The TransformerLens of vision-language models."""
