"""Statistics of activations over a data set, streamed, saved, and tied to the model that they were made with."""

from vlm_lens.estimates.mean import Mean
from vlm_lens.estimates.mean_estimator import MeanEstimator

__all__ = ["Mean", "MeanEstimator"]
