import json

import numpy as np
import pytest

from fcit_app.errors import ModelError
from fcit_app.export.text_encoder import text_encoder
from fcit_app.identity.encoders import ClipTextEncoder, SentenceTransformerEncoder, load_encoder

WORDS = ["what", "is", "the", "object", "in", "image", "how", "many", "are", "left"]
TEXTS = ["what is the object in the image", "how many are left", "what", "the the the"]


@pytest.fixture(scope="module", autouse=True)
def offline():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("TRANSFORMERS_OFFLINE", "1")
        yield


def word_tokenizer(special):
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: i for i, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=special[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    import torch
    from tokenizers import processors
    from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("clip")
    # The end token has the highest id, as in OpenAI's, and not 2 (Transformers' legacy pooling).
    tokenizer = word_tokenizer(["<unk>", "<pad>"])
    tokenizer.add_special_tokens(["<start>", "<end>"])
    start, end = tokenizer.token_to_id("<start>"), tokenizer.token_to_id("<end>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", start), ("<end>", end)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<start>",
        eos_token="<end>",
        unk_token="<unk>",
        pad_token="<pad>",
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        projection_dim=16,
        pad_token_id=1,
        bos_token_id=start,
        eos_token_id=end,
    )
    CLIPTextModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def sentence_folder(tmp_path_factory):
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    folder = tmp_path_factory.mktemp("sentence")
    torch.manual_seed(0)
    module = StaticEmbedding(word_tokenizer(["<unk>"]), embedding_dim=24)
    SentenceTransformer(modules=[module], device="cpu").save(str(folder))
    return folder


@pytest.fixture(scope="module")
def clip(clip_folder):
    return ClipTextEncoder(str(clip_folder))


def test_clip_features_are_the_pooled_output_before_projection(clip, clip_folder):
    import torch
    from transformers import AutoTokenizer, CLIPTextModel

    tokenizer = AutoTokenizer.from_pretrained(clip_folder)
    model = CLIPTextModel.from_pretrained(clip_folder).eval()
    features = clip.encode(TEXTS)
    assert features.shape == (4, 32) == (4, clip.dimension)
    assert features.dtype == np.float32
    for text, feature in zip(TEXTS, features, strict=True):
        with torch.no_grad():
            pooled = model(**tokenizer(text, return_tensors="pt")).pooler_output[0].numpy()
        np.testing.assert_allclose(feature, pooled, atol=1e-5)
    assert not np.allclose(np.linalg.norm(features, axis=1), 1.0, atol=0.1)


def test_clip_cuts_at_77_tokens(clip):
    # Start and end take two places: 75 words are seen.
    seen = "the " * 74
    same = clip.encode([seen + "what", seen + "what is left", seen + "what the"])
    np.testing.assert_allclose(same[1:], same[:1].repeat(2, axis=0), atol=1e-6)
    other = clip.encode([seen + "left"])
    assert np.abs(other - same[0]).max() > 1e-3


def test_clip_features_do_not_depend_on_the_batch(clip):
    many = TEXTS * 40
    np.testing.assert_allclose(clip.encode(many), np.tile(clip.encode(TEXTS), (40, 1)), atol=1e-5)
    assert clip.encode([]).shape == (0, 32)
    assert (clip.encode(TEXTS) == clip.encode(TEXTS)).all()


def test_clip_is_loaded_once_by_its_spec(clip_folder):
    spec = f"clip:{clip_folder}"
    assert load_encoder(spec) is load_encoder(spec)
    assert load_encoder(spec).name == spec


def test_sentence_transformer_features_are_normalised(sentence_folder):
    spec = f"sentence-transformers:{sentence_folder}"
    encoder = load_encoder(spec)
    features = encoder.encode(TEXTS)
    assert (encoder.name, encoder.dimension) == (spec, 24)
    assert features.shape == (4, 24)
    assert features.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1.0, atol=1e-6)
    assert encoder.encode([]).shape == (0, 24)
    from sentence_transformers import SentenceTransformer

    raw = SentenceTransformer(str(sentence_folder), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(
        features, raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-6
    )


@pytest.mark.parametrize("kind", ["hashed-ngrams", "sentence-transformers", "clip"])
def test_an_export_brings_the_same_encoder(clip_folder, sentence_folder, tmp_path, kind):
    """Under its folder's name, and from where else it may lie."""
    place = {"clip": clip_folder, "sentence-transformers": sentence_folder}.get(kind)
    ours = load_encoder(f"{kind}:{place}" if place else kind).encode(TEXTS)
    for written, given in [(str(place or ""), ""), ("elsewhere", str(place or ""))]:
        (tmp_path / "router.json").write_text(json.dumps({"encoder": kind, "checkpoint": written}))
        theirs = text_encoder(tmp_path, given)(TEXTS).numpy()
        assert theirs.dtype == np.float32
        np.testing.assert_allclose(theirs, ours, atol=1e-6)


@pytest.mark.parametrize("encoder", [ClipTextEncoder, SentenceTransformerEncoder])
def test_a_missing_checkpoint_is_named(encoder, tmp_path):
    with pytest.raises(ModelError, match="nowhere"):
        encoder(str(tmp_path / "nowhere"))


def test_a_checkpoint_without_the_text_tower_is_refused(clip_folder, tmp_path):
    import shutil

    from safetensors.numpy import load_file, save_file

    folder = tmp_path / "half"
    shutil.copytree(clip_folder, folder)
    weights = load_file(folder / "model.safetensors")
    dropped = next(name for name in weights if "fc1.weight" in name)
    save_file({k: v for k, v in weights.items() if k != dropped}, folder / "model.safetensors")
    assert json.loads((folder / "config.json").read_text())
    with pytest.raises(ModelError, match="lacks weights"):
        ClipTextEncoder(str(folder))
