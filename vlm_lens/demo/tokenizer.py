"""The demo model's tokenizer: LLaMA's scheme with a vocabulary of one small grammar.

Pieces start with "▁" where a space stood before, a word of the grammar is one piece ("▁cat", "▁Yes"), and anything
else still encodes: through a few learned merges, single characters and, in the end, bytes.
"""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

PAD, UNKNOWN, BEGIN, END, IMAGE = "<pad>", "<unk>", "<s>", "</s>", "<image>"
SPECIAL_TOKENS = (PAD, UNKNOWN, BEGIN, END, IMAGE)
"""In the order of their ids. `</s>` is not 2: CLIP pools a text with that end at its largest id (an old convention)."""

SPACE = "▁"
N_LEARNED = 64
"""Pieces learned by byte-pair merges, for text outside the grammar."""

PRINTABLE = tuple(chr(code) for code in range(33, 127))


def word_splitter() -> pre_tokenizers.PreTokenizer:
    """Splits text at line breaks, spaces and punctuation; a space becomes a leading "▁"."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\n"), behavior="isolated"),
            pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="first", split=True),
            pre_tokenizers.Split(Regex(r"[^\w▁]"), behavior="isolated"),
        ]
    )


def words_of(corpus: Iterable[str]) -> Counter[str]:
    """Every word of the corpus with its count, in the form that a prompt gives it.

    A word that opens a line is counted both with "▁" and without: it opens an answer in one place and follows a line
    break in another.
    """
    splitter, words = word_splitter(), Counter[str]()
    for text in corpus:
        pieces = [piece for piece, _ in splitter.pre_tokenize_str(text)]
        words.update(pieces)
        words.update({pieces[0].removeprefix(SPACE): 1} if pieces else {})
    words.pop("", None)
    return words


def _learned_model(words: Counter[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges of a plain byte-pair model with byte fallback over the words."""
    alphabet = sorted({character for word in words for character in word} | set(PRINTABLE) | {SPACE})
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=len(SPECIAL_TOKENS) + len(alphabet) + N_LEARNED,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator((word for word in words if word != "\n"), trainer)
    merges = [tuple(merge) for merge in _model_state(tokenizer)["merges"]]  # "▁" is a character of the words here
    pieces = list(SPECIAL_TOKENS) + [f"<0x{byte:02X}>" for byte in range(256)]
    pieces += [character for character in alphabet if character != "\n"]
    pieces += [left + right for left, right in merges]
    return {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}, merges


def _model_state(tokenizer: Tokenizer) -> dict[str, Any]:
    return json.loads(tokenizer.to_str())["model"]


def build_tokenizer(corpus: Iterable[str], *, appends_end: bool = False) -> PreTrainedTokenizerFast:
    """A fast tokenizer that prepends `<s>` and, for CLIP's text tower, appends `</s>`.

    Args:
        corpus: Every sentence form with every word; each of its words becomes one piece.
        appends_end: Whether `</s>` follows a text, where CLIP pools.
    """
    words = words_of(corpus)
    vocabulary, merges = _learned_model(words)
    for word in sorted(words):
        if word != "\n":
            vocabulary.setdefault(word, len(vocabulary))
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=merges,
            unk_token=UNKNOWN,
            fuse_unk=True,
            byte_fallback=True,
            ignore_merges=True,
        )
    )
    tokenizer.pre_tokenizer = word_splitter()
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace(SPACE, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A {END}" if appends_end else f"{BEGIN} $A",
        special_tokens=[(token, vocabulary[token]) for token in (BEGIN, END)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        unk_token=UNKNOWN,
        additional_special_tokens=[IMAGE],
        extra_special_tokens={"image_token": IMAGE},
        padding_side="right" if appends_end else "left",
        clean_up_tokenization_spaces=False,
        model_max_length=77 if appends_end else 1024,
    )
