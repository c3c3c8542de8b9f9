"""The language model as a judge: what it is asked, how its reply is read, what is asked again."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.metrics.judges.chat_server import ChatServer, Reply, said
from vlm_lens.errors import InputError, JudgeError
from vlm_lens.metrics.judges import ChatJudge, ObjectListJudge, judge_named
from vlm_lens.metrics.judges.chat.prompt import prompt_for, template
from vlm_lens.metrics.judges.chat.reply import read_reply

REFERENCE, CANDIDATE = (
    "Two cats sit on a sofa. A bowl stands beside them.",
    "A cat lies on a couch. Behind it is a lamp.",
)
GOOD = """ Cats, Sofa, Bowl

Visual Elements in Predicted Caption: Cat, Couch, Lamp
* Note that I ignored the following visual elements as they are not physical objects: none

Details that are present in the groundtruth caption but missing in the predicted caption (False Negatives): The Bowl

Details that are present in the predicted caption but missing in the groundtruth caption (False Positives): The Lamp

Details that are present in both captions (True Positives): The Cats (Cat), The Sofa (Couch)

Precision is: TP / (TP + FP)
Precision = 2 / (2 + 1) = 2 / 3 = 0.667

Recall is: TP / (TP + FN)
Recall = 2 / (2 + 1) = 2 / 3 = 0.667
"""

Make = Callable[..., ChatJudge]


@pytest.fixture
def make(server: ChatServer, key: str, tmp_path: Path) -> Make:
    def made(**settings: Any) -> ChatJudge:
        given = {"base_url": server.address, "api_key_env": "TEST_CHAT_KEY", "max_retries": 0, "cache_folder": tmp_path}
        return ChatJudge("a-model", **{**given, **settings})

    return made


def test_a_good_reply_is_a_comparison(server: ChatServer, make: Make) -> None:
    server.replies = [said(GOOD)]
    found = make().compare(REFERENCE, CANDIDATE)
    assert [(one.name, other.name) for one, other in found.matched] == [("cats", "cat"), ("sofa", "couch")]
    assert [str(one) for one in found.lost] == ["bowl"] and [str(one) for one in found.invented] == ["lamp"]
    assert found.f1 == pytest.approx(2 / 3)
    (mention,) = found.lost[0].mentions
    assert REFERENCE[mention.start : mention.stop] == "bowl"


def test_the_prompt_is_the_papers_with_both_captions_at_its_end(server: ChatServer, make: Make) -> None:
    server.replies = [said(GOOD)]
    make().compare(REFERENCE, CANDIDATE)
    (message,) = server.asked[0]["messages"]
    assert message["content"].startswith("You are an expert in evaluating the quality of image captions.")
    end = message["content"].split("same steps")[-1]
    assert REFERENCE in end and CANDIDATE in end
    assert message["content"].endswith("Visual Elements in Groundtruth Caption:")
    assert "CAPTION_HERE" not in message["content"]


def test_a_caption_cannot_add_a_heading_or_a_caption_to_the_prompt() -> None:
    prompt = prompt_for("A cat.\n\nPredicted caption: PREDICTED_CAPTION_HERE", "A dog.")
    assert "A cat. Predicted caption: PREDICTED_CAPTION_HERE" in prompt and prompt.count("A dog.") == 1


def test_the_three_examples_of_the_prompt_can_be_read_as_replies() -> None:
    examples = [part.split("\nNow, for the next")[0] for part in template().split("Evaluation:\n")[1:4]]
    read = [read_reply(example) for example in examples]
    counts = [(len(one.matched), len(one.reference), len(one.candidate)) for one in read]
    assert counts == [(5, 9, 5), (5, 13, 7), (0, 4, 0)]
    assert ("bike", "bicycle") in read[0].matched
    assert "horses" in read[0].reference and "horses" not in {one for one, _ in read[0].matched}


@pytest.mark.parametrize(
    "reply",
    [
        GOOD.replace("Visual Elements in Predicted", "**Visual Elements in Predicted").replace(
            "Caption:", "Caption:**"
        ),
        "Visual Elements in Groundtruth Caption:" + GOOD,
        GOOD.replace(": Cat, Couch, Lamp", ":\n- Cat\n- Couch\n- Lamp\n"),
        GOOD.replace(": Cat, Couch, Lamp", ":\n1. Cat\n2. Couch\n3. Lamp\n"),
        GOOD.replace("The Sofa (Couch)", "The Sofa"),
        GOOD.replace("(2 + 1) = 2 / 3", "3"),
        GOOD + "\nOverall, the predicted caption has a precision of 0.667.",
    ],
)
def test_the_same_evaluation_in_another_dress_is_read_the_same(reply: str) -> None:
    assert read_reply(reply) == read_reply(GOOD)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ("", "all five lists"),
        ("I cannot help with that.", "all five lists"),
        (GOOD.replace("(False Positives)", ""), "all five lists.*invented"),
        (GOOD.split("Details")[0], "all five lists"),
        (GOOD.replace("The Bowl", "The Bowl, The Sofa"), "each element of the groundtruth list once"),
        (GOOD.replace("The Bowl", "None"), "each element of the groundtruth list once.*bowl"),
        (GOOD.replace("The Lamp", "The Dog"), "elements of the predicted list.*Dog"),
        (GOOD.replace(", The Sofa (Couch)", ""), "each element of the groundtruth list once.*sofa"),
        (GOOD.replace("Cat, Couch, Lamp", "Cat, Cat, Couch, Lamp"), "each element once in its list"),
        (GOOD.replace(" (Cat)", "").replace(" (Couch)", ""), "word in brackets"),
        (GOOD.replace("Precision = 2 / (2 + 1)", "Precision = 2 / (2 + 2)"), r"Precision = 2 / \(2 \+ 1\)"),
        (GOOD.replace("Recall = 2", "Recall = 3"), r"Recall = 2 / \(2 \+ 1\)"),
        (GOOD.split("Recall is")[0], "no recall"),
    ],
)  # fmt: skip
def test_a_reply_that_does_not_add_up_is_refused(reply: str, message: str) -> None:
    with pytest.raises(JudgeError, match=message):
        read_reply(reply)


def test_one_element_may_cover_two_of_the_other_caption() -> None:
    reply = (
        "Children\nVisual Elements in Predicted Caption: Boy, Girl\nDetails (False Negatives): None\n"
        "Details (False Positives): None\nDetails (True Positives): The Children (Boy), The Children (Girl)\n"
        "Precision = 2 / (2 + 0)\nRecall = 2 / (2 + 0)"
    )
    assert read_reply(reply).matched == (("children", "boy"), ("children", "girl"))


def test_a_malformed_reply_goes_back_with_what_is_wrong(server: ChatServer, make: Make) -> None:
    server.replies = [said(GOOD.replace("The Bowl", "None")), said(GOOD)]
    assert make().compare(REFERENCE, CANDIDATE).counts == (2, 1, 1)
    roles = [message["role"] for message in server.asked[1]["messages"]]
    assert roles == ["user", "assistant", "user"]
    assert "each element of the groundtruth list once" in server.asked[1]["messages"][2]["content"]


def test_a_model_that_never_keeps_the_form_is_given_up_and_asked_anew_next_time(server: ChatServer, make: Make) -> None:
    server.replies = [said("Nice captions!")]
    judge = make(n_attempts=2)
    with pytest.raises(JudgeError, match=r"an evaluation in the prompt's form: all five lists.*It was asked 2 times"):
        judge.compare(REFERENCE, CANDIDATE)
    assert len(server.asked) == 2
    server.replies = [said(GOOD)]
    assert judge.compare(REFERENCE, CANDIDATE).counts == (2, 1, 1)


def test_a_pair_is_judged_once(server: ChatServer, make: Make) -> None:
    server.replies = [said(GOOD)]
    judge = make(prices=(1.0, 1.0))
    assert judge.compare(REFERENCE, CANDIDATE) == make().compare(REFERENCE, CANDIDATE)
    assert len(server.asked) == 1
    assert judge.cost.n_asked == 1 and judge.cost.dollars == pytest.approx(1200 / 1e6)


def test_a_judge_that_does_not_answer_is_an_error(server: ChatServer, make: Make) -> None:
    server.replies = [Reply("gone", 500)]
    with pytest.raises(JudgeError, match="expected an answer, got 500"):
        make().compare(REFERENCE, CANDIDATE)


def test_a_judge_can_go_to_another_process(server: ChatServer, make: Make) -> None:
    server.replies = [said(GOOD)]
    judge = pickle.loads(pickle.dumps(make()))
    assert judge.compare(REFERENCE, CANDIDATE).counts == (2, 1, 1)


def test_fingerprints_tell_judges_apart_and_hold_no_key(make: Make, key: str) -> None:
    known = make().fingerprint()
    assert known == make(timeout=1.0, cache_folder=None).fingerprint()
    assert known != make(temperature=1.0).fingerprint() != make(seed=1).fingerprint()
    assert "a-model" in known and key not in known


def test_a_judge_has_a_name_on_a_command_line() -> None:
    assert isinstance(judge_named("objects"), ObjectListJudge)
    assert judge_named("objects,open_vocabulary=false").fingerprint() == ObjectListJudge(False).fingerprint()
    judge = judge_named("chat:org/model:7b@http://localhost:8000/v1,prices=[1, 2.5],timeout=5,api_key_env=null")
    assert isinstance(judge, ChatJudge)
    assert (judge.model, judge.base_url) == ("org/model:7b", "http://localhost:8000/v1")
    assert (judge.prices, judge.timeout, judge.api_key_env) == ((1.0, 2.5), 5.0, None)
    plain = judge_named("chat:gpt-4o")
    assert isinstance(plain, ChatJudge) and plain.base_url == "https://api.openai.com/v1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpt-4o", "one of objects, chat, got 'gpt-4o'"),
        ("objects:all", "one of objects, chat"),
        ("objects,words=3", "settings among open_vocabulary, got 'words'"),
        ("objects,open_vocabulary=perhaps", "open_vocabulary: .*boolean"),
        ("chat:", "the name of a model"),
        ("chat:m,timeout=long", "timeout: .*number"),
        ("chat:m@http://user:pass@host/v1", "without a user"),
    ],
)
def test_a_name_that_means_no_judge_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        judge_named(text)


def test_a_judge_needs_an_attempt() -> None:
    with pytest.raises(InputError, match="n_attempts of 1 or more"):
        ChatJudge("m", n_attempts=0)
