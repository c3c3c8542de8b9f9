"""From the vision tower's features to vectors that the decoder reads."""

from jaxtyping import Float
from torch import Tensor, nn

from vlm_lens.model.hook_point import HookPoint
from vlm_lens.model.linear import device_of
from vlm_lens.model.parts import ProjectorParts


class Projector(nn.Module):
    """LLaVA's projector.

    `hook_in [image patch d_vision]` (features of several layers side by side where the config selects several),
    `hook_pre` and `hook_post [image patch d_model]` around the non-linearity, `hook_out [image patch d_model]`.
    """

    def __init__(self, parts: ProjectorParts) -> None:
        super().__init__()
        self.linear_in, self.linear_out, self.activation = parts.linear_in, parts.linear_out, parts.activation
        self.hook_in, self.hook_pre, self.hook_post, self.hook_out = (HookPoint() for _ in range(4))

    def forward(self, features: Float[Tensor, "image patch d_features"]) -> Float[Tensor, "image patch d_model"]:
        """One decoder vector for each patch."""
        features = features.to(device_of(self.linear_in))
        pre = self.hook_pre(self.linear_in(self.hook_in(features)))
        return self.hook_out(self.linear_out(self.hook_post(self.activation(pre))))
