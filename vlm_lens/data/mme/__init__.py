"""MME: two yes-or-no questions about each picture, from its folders or its Parquet files."""

from vlm_lens.data.mme.read import read_mme
from vlm_lens.data.mme.tasks import COGNITION, PERCEPTION

__all__ = ["COGNITION", "PERCEPTION", "read_mme"]
