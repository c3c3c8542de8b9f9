"""What can be chosen about the ablation of objects, and each choice of the paper's that is odd."""

from dataclasses import dataclass

from vlm_lens.experiments.answers import AnsweredOptions
from vlm_lens.experiments.object_patches import ObjectPatchesOptions
from vlm_lens.experiments.options import option

COUNTS = (5, 10, 20, 40, 60, 100, 250)
"""Of Table 1, for 576 patches."""


@dataclass(frozen=True)
class ObjectAblationOptions(AnsweredOptions, ObjectPatchesOptions):
    """What can be chosen."""

    most_annotations: int = option(3, "annotated objects in a picture, at most")
    least_area: float = option(1000.0, "pixels of the object, more than this")
    most_area: float = option(2000.0, "pixels of the object, fewer than this")
    mean_pictures: str = option(
        "",
        "data whose pictures give the mean, as 'pictures:/data/imagenet/val' (the paper: 50,000 of ImageNet); '' takes "
        "64 other scenes for scenes, and else the run's own pictures",
    )
    counts: tuple[int, ...] = option(COUNTS, "how many tokens are ablated by gradients and at random", least=1)
    large_counts: str = option(
        "left out", "counts that the picture has too few patches for: 'left out', or 'scaled', which takes the same "
        "share of the patches as each count is of 576", among=("left out", "scaled"),
    )  # fmt: skip
    n_std: float = option(2.0, "standard deviations above the mean norm that make a register token")
    n_steps: int = option(50, "steps of integrated gradients", least=1)
    description_tokens: int = option(200, "tokens of a description, at most", least=1)
    polling_tokens: int = option(10, "tokens of the answer to 'Is there a ...?', at most", least=1)
    filters_hallucinations: bool = option(
        True,
        "whether generative and polling are over the pictures whose description names the object, and no longer does "
        "when noise covers it",
    )
    filters_vqa: bool = option(
        False, "whether that holds for VQA too; its N of 90 beside 39 says that the paper did not"
    )
    noise: str = option(
        "patches",
        "what hides the object in the hallucination filter: noise of its own on each pixel of its 'patches' or of its "
        "'pixels', or one patch of noise that is 'tiled' over its patches",
        among=("patches", "pixels", "tiled"),
        paper="tiled",
        quirk="One random patch is repeated over the object, which is a texture that a model may name. By default "
        "every pixel of the object's patches is drawn by itself.",
    )
    random_excludes_object: bool = option(
        True,
        "whether random tokens are drawn from the patches beside the object's",
        paper=False,
        quirk="Random tokens are drawn from all patches, the object's among them: at 250 of 576 nearly half of the "
        "object goes too. By default the object stays whole.",
    )
    gradient_target: str = option(
        "answer",
        "whose logit the gradients explain: the token that 'Yes' is as an 'answer', or the 'first id' of encode('Yes')",
        among=("answer", "first id"),
        paper="first id",
        quirk="The first id of encode('Yes') is BOS for a tokenizer that puts one before every text, so the gradients "
        "explain BOS. By default they explain the token that the answer Yes begins with.",
    )
    gradient_slice_takes_text: bool = option(
        False,
        "whether the text token behind the picture is ranked with the patches, and ablated with them",
        paper=True,
        quirk="The slice of embeddings is one too long and takes a text token: it starts at the mean too, can be among "
        "the top tokens, and takes a patch's place there. That it is the one behind the picture is inferred. By "
        "default patches alone are ranked.",
    )
    mention_rule: str = option(
        "words",
        "how a description names the object: by 'words' of the answer, plural and other words for it too, or 'as "
        "written' anywhere in the text",
        among=("words", "as written"),
        paper="as written",
        quirk="The class name counts where it occurs letter for letter, with its case, in the decoded prompt and "
        "answer: 'car' in 'carpet' counts, 'Dogs' for 'dog' or 'mice' for 'mouse' do not. By default whole words of "
        "the answer count, in any case and number, and synonyms and narrower kinds too.",
    )
    yes_rule: str = option(
        "words",
        "how polling says yes: by the answer's first yes or no in whole 'words', or 'anywhere' in the text",
        among=("words", "anywhere"),
        paper="anywhere",
        quirk="'yes' counts anywhere in the decoded prompt and answer, as in 'eyes'. By default the answer alone is "
        "read, in whole words.",
    )
    adds_equal_counts: bool = option(
        True, "whether gradients and random also ablate as many tokens as the object has in each picture"
    )
