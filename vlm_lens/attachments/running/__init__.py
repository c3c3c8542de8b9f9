"""What happens when the model runs: what stands at it, what it is told, what is kept."""
