"""What the experiments about parts of objects share: which pictures, regions, labels and knockouts."""
