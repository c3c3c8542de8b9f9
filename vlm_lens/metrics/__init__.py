"""What the papers count: ranks, F1, accuracy, overlap; their nulls and intervals. Knows no model."""
