"""The towers: one hooked transformer for decoder and encoder, and what joins them."""
