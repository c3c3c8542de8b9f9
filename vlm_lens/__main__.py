"""`python -m vlm_lens`."""

from vlm_lens.cli import main

main()
