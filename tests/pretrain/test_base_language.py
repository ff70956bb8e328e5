"""The mini base's own language: lossless, complete, and never a task's format."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from fcit_app.data.catalogue import TASK_NAMES
from fcit_app.data.mini.benchmark import MiniBenchmark
from fcit_app.data.mini.lexicon import build_lexicon
from fcit_app.data.mini.questions import Lexicon, make_dialogue
from fcit_app.data.mini.vocabulary import PATCHES
from fcit_app.pretrain.architecture import build_model, build_processor
from fcit_app.pretrain.forward_pass import forward, pixels
from fcit_app.pretrain.packing import IGNORED, pack
from fcit_app.pretrain.tokenizer import build_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


@pytest.fixture(scope="module")
def lexicon(tokenizer: PreTrainedTokenizerFast) -> Lexicon:
    return build_lexicon(tokenizer)


def test_the_shipped_tokenizer_is_the_one_the_script_builds(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    from fcit_app.model.weights import mini_path

    shipped = PreTrainedTokenizerFast.from_pretrained(mini_path(), local_files_only=True)
    assert shipped.get_vocab() == tokenizer.get_vocab()
    assert shipped.chat_template == tokenizer.chat_template


@pytest.mark.parametrize("task", TASK_NAMES)
def test_tasks_are_in_the_vocabulary_and_answers_round_trip(
    task: str, tokenizer: PreTrainedTokenizerFast
) -> None:
    for sample in MiniBenchmark(7, 1, 60).test_samples(task):
        assert tokenizer.unk_token_id not in tokenizer(f"\n{sample.question}").input_ids
        ids = tokenizer(f" {sample.answer}").input_ids
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids) == f" {sample.answer}"


def test_every_answer_token_of_the_tasks_is_a_pretraining_answer(
    tokenizer: PreTrainedTokenizerFast, lexicon: Lexicon
) -> None:
    wanted = {
        index
        for task in TASK_NAMES
        for sample in MiniBenchmark(0, 200, 1).training_samples(task)
        for index in tokenizer(f" {sample.answer}").input_ids
    }
    random, found = Random(0), set()
    for _ in range(2500):
        for _, _, answer in make_dialogue(random, lexicon).turns:
            found.update(tokenizer(f" {answer}").input_ids)
    assert wanted <= found


def test_no_pretraining_prompt_is_a_tasks_prompt(lexicon: Lexicon) -> None:
    random = Random(1)
    prompts = {q for _ in range(500) for _, q, _ in make_dialogue(random, lexicon).turns}
    questions = {
        s.question for t in TASK_NAMES for s in MiniBenchmark(0, 50, 1).training_samples(t)
    }
    assert not prompts & questions
    assert not any("single word" in prompt and "phrase" in prompt for prompt in prompts)


def test_a_packed_question_is_the_single_turn_prompt_of_the_processor(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    question, reply = "What is the object in the image?\nAnswer the question.", "Face"
    batch = pack(tokenizer, [[(question, reply)]], multiple=1)
    chat = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]},
        {"role": "assistant", "content": [{"type": "text", "text": reply}]},
    ]
    text = build_processor(tokenizer).apply_chat_template(chat, tokenize=False)
    expected = tokenizer(text.replace("<image>", "<image>" * PATCHES), add_special_tokens=False)
    assert batch.input_ids[0].tolist() == expected.input_ids
    labels = batch.labels[0]
    assert tokenizer.decode(labels[labels != IGNORED]) == f" {reply}</s>"


def test_packing_changes_nothing_for_a_question(
    tokenizer: PreTrainedTokenizerFast, lexicon: Lexicon
) -> None:
    """Alone or with eight others in its row, a question's hidden states are the same."""
    model = build_model(tokenizer, seed=0).eval()
    dialogue = make_dialogue(Random(5), lexicon)
    turns = [(q, a) for _, q, a in dialogue.turns]
    images = pixels([dialogue.drawing])
    with torch.no_grad():
        packed = pack(tokenizer, [turns])
        together = forward(model, images, packed)[2][0]
        for turn, answer in zip(turns, packed.answers[0], strict=True):
            alone = pack(tokenizer, [[turn]])
            states = forward(model, images, alone)[2][0]
            (only,) = alone.answers[0]
            torch.testing.assert_close(together[answer], states[only], rtol=1e-4, atol=1e-4)


def test_pixels_are_what_the_processor_makes(tokenizer: PreTrainedTokenizerFast) -> None:
    sample = MiniBenchmark(0, 1, 1).training_samples("arxivqa")[0]
    from fcit_app.data.mini.drawing import Drawing

    ours = pixels([Drawing(sample.picture())])
    processor = build_processor(tokenizer).image_processor
    theirs = processor([sample.picture()], return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_the_model_is_small_and_drawn_from_its_seed(tokenizer: PreTrainedTokenizerFast) -> None:
    first, again, other = (build_model(tokenizer, seed) for seed in (0, 0, 1))
    assert 1e6 < sum(p.numel() for p in first.parameters()) < 4e6
    pairs = list(zip(first.parameters(), again.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert any(not torch.equal(a, c) for a, _, c in pairs)


def test_two_steps_of_pretraining_run_and_leave_a_loadable_folder(tmp_path: Path) -> None:
    from fcit_app.model.base import load_base
    from fcit_app.pretrain.train import pretrain

    pretrain(tmp_path / "base", seed=0, steps=2, pictures=2, skill_pictures=4)
    base = load_base(str(tmp_path / "base"))
    assert base.image_tokens == PATCHES
    assert (tmp_path / "base" / "skills.json").is_file()
