"""Register tokens: patches whose norms stand out."""
