"""The measurements of `docs/what_you_can_see.md`: one file for each section, its numbers, figure and words."""
