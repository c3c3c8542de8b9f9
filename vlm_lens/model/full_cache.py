"""What a cache holds when no names are given: TransformerLens's `use_*` flags."""

from typing import Any

from vlm_lens.model.config import TransformerConfig
from vlm_lens.model.hooked_root import HookedRoot


class FullCache(HookedRoot):
    """The flags say which of the activations that are computed only when asked for a full cache holds."""

    cfg: TransformerConfig

    def selected_names(self, names_filter: Any) -> list[str]:
        """As `HookedRoot.selected_names`; TransformerLens's `use_*` flags add what they compute."""
        names = super().selected_names(names_filter)
        if names_filter is not None:
            return names
        flags = {
            "hook_result": self.cfg.use_attn_result,
            "hook_attn_in": self.cfg.use_attn_in,
            "hook_mlp_in": self.cfg.use_hook_mlp_in,
            **dict.fromkeys(("hook_q_input", "hook_k_input", "hook_v_input"), self.cfg.use_split_qkv_input),
        }
        added = tuple(name for name, is_on in flags.items() if is_on)
        return [name for name in self.hook_dict if name in set(names) or (added and name.endswith(added))]

    def set_use_attn_result(self, use_attn_result: bool) -> None:
        """Whether a full cache holds `hook_result` (it is live in any case)."""
        self.cfg.use_attn_result = use_attn_result

    def set_use_split_qkv_input(self, use_split_qkv_input: bool) -> None:
        """Whether a full cache holds `hook_q_input`, `hook_k_input`, `hook_v_input` (they are live in any case)."""
        self.cfg.use_split_qkv_input = use_split_qkv_input

    def set_use_attn_in(self, use_attn_in: bool) -> None:
        """Whether a full cache holds `hook_attn_in` (it is live in any case)."""
        self.cfg.use_attn_in = use_attn_in

    def set_use_hook_mlp_in(self, use_hook_mlp_in: bool) -> None:
        """Whether a full cache holds `hook_mlp_in` (it is live in any case)."""
        self.cfg.use_hook_mlp_in = use_hook_mlp_in
