"""A pixel's uid and the three ids in it.

From the left: a semantic id (sid, up to 2 digits), an instance id (iid, 3 digits), a part id (pid, 2 digits). 93 is a
tree, 7001 the first car, 1000106 the muzzle of the first cow. An id that is not there is 0; uid 0 is unlabelled. The
format calls the instance id a counter and does not say where it begins: 7000 is a car too. Whether a uid has an
instance is said by its length.

Source: Meletis et al. 2020, Cityscapes-Panoptic-Parts and PASCAL-Panoptic-Parts datasets for scene understanding,
arXiv 2004.07944.
"""

import numpy as np
from jaxtyping import Integer

from vlm_lens.errors import InputError

LARGEST = 9_999_999
LARGEST_WITHOUT_INSTANCE = 99


def split_uids(
    uids: Integer[np.ndarray, "..."], what: str = "Panoptic Parts label"
) -> tuple[Integer[np.ndarray, "..."], Integer[np.ndarray, "..."], Integer[np.ndarray, "..."]]:
    """The semantic, instance and part id of each uid.

    Args:
        uids: of pixels, or those that occur.
        what: where they come from, for the error.

    Raises:
        InputError: a number of 3 digits, of more than 7, or below 0.

    Example:
        >>> [ids.tolist() for ids in split_uids(np.array([93, 7001, 1000106]))]
        [[93, 7, 10], [0, 1, 1], [0, 0, 6]]
    """
    wrong = uids[((uids > LARGEST_WITHOUT_INSTANCE) & (uids < 1_000)) | (uids > LARGEST) | (uids < 0)]
    if wrong.size:
        rule = "uids of 1, 2 or 4 to 7 digits (semantic, instance, part id)"
        raise InputError(what, rule, int(wrong.flat[0]), "Give the int32 TIFF as it was shipped.")
    has_part, has_instance = uids >= 100_000, uids >= 1_000
    semantic = np.select([has_part, has_instance], [uids // 100_000, uids // 1_000], uids)
    instance = np.select([has_part, has_instance], [uids // 100 % 1_000, uids % 1_000], 0)
    return semantic, instance, np.where(has_part, uids % 100, 0)
