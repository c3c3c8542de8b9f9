"""The mean that ablations write: over many pictures, made once for a run and kept in its folder."""

from vlm_lens.data import Dataset, open_data
from vlm_lens.estimates import Mean, MeanEstimator
from vlm_lens.estimates.mean_file import read_moments
from vlm_lens.experiments.context import Context

OTHER_SCENES = "scenes,n=64,first=9900000"
"""Far behind the scenes that runs are made of."""


def pictures_for_mean(context: Context, given: str) -> Dataset:
    """The pictures whose mean is taken.

    Args:
        context: of the run.
        given: data as one line; "" takes other scenes for scenes, and else the run's own pictures.
    """
    if given:
        return open_data(given).some()
    return open_data(OTHER_SCENES) if context.data.name.startswith("scenes") else context.data


def write_mean(context: Context, given: str) -> None:
    """Estimate the mean of what the decoder is given for a patch, into the run's folder; a broken-off one goes on."""
    place = context.folder / "mean.safetensors"
    if place.exists() and read_moments(place)[1].is_complete:
        return  # the folder is of one run, and its data are the same
    pictures = (example.image for example in pictures_for_mean(context, given))
    MeanEstimator(context.vlm).estimate(pictures, out=place, shows_progress=context.shows_progress)


def mean_of(context: Context) -> Mean:
    """The mean that `write_mean` made, read once in a process."""
    return context.once("mean", lambda: Mean.load(context.folder / "mean.safetensors"))


def told_of_mean(context: Context, given: str) -> str:
    """Where the mean is from, in words."""
    pictures = pictures_for_mean(context, given)
    return f"{len(pictures)} pictures of {pictures.name}" + ("" if given else _WHY[pictures is context.data])


_WHY = {True: " (the run's own: name others with mean_pictures)", False: ""}
