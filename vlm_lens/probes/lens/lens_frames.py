"""A lens's reading as tidy frames."""

from typing import Any

import numpy as np
import pandas as pd


def top_frame(reading: Any) -> pd.DataFrame:
    """One line for each state, place and rank.

    Args:
        reading: a `LensReading`.
    """
    top = reading.top
    frame = _places(reading, top.n_ranks)
    frame["rank"] = np.tile(np.arange(1, top.n_ranks + 1), len(frame) // top.n_ranks)
    frame["top_token"] = pd.Series(top.tokens.ravel(), dtype=object)
    frame["top_id"] = reading.top_ids.ravel()
    frame["probability"] = reading.top_probabilities.ravel()
    return frame


def target_frame(reading: Any) -> pd.DataFrame:
    """One line for each state, place and target."""
    n_targets = len(reading.targets)
    frame = _places(reading, n_targets)
    names = np.array(reading.targets, dtype=object)
    frame["target"] = np.tile(names, len(frame) // n_targets) if n_targets else names
    frame["rank"] = reading.target_ranks.ravel()
    frame["probability"] = reading.target_probabilities.ravel()
    frame["log_probability"] = reading.target_log_probabilities.ravel()
    return frame


def entropy_frame(reading: Any) -> pd.DataFrame:
    """One line for each state and place."""
    frame = _places(reading, 1)
    frame["entropy"] = reading.entropy.ravel()
    return frame


def _places(reading: Any, n_each: int) -> pd.DataFrame:
    """The columns that say where, `n_each` lines for each state and place."""
    n_states, places = len(reading.states), reading.places

    def spread(values: Any) -> Any:
        return np.tile(np.repeat(values, n_each), n_states)

    def patchwise(values: Any) -> Any:
        return pd.Series(spread(values), dtype="Int64").mask(spread(values) < 0)

    n_per_state = n_each * len(places)
    return pd.DataFrame(
        {
            "row": spread(places.rows),
            "state": np.repeat(np.array(reading.states, dtype=object), n_per_state),
            "layer": np.repeat(np.array(reading.layers, dtype=np.int64), n_per_state),
            "position": spread(places.positions),
            "role": spread(places.roles),
            "token": spread(places.tokens),
            "image": patchwise(places.images),
            "patch_row": patchwise(places.patch_rows),
            "patch_col": patchwise(places.patch_cols),
        }
    )
