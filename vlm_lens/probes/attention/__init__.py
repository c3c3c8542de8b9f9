"""Where attention goes: flow, maps, rollout."""
