"""TextBank: the embedding itself, and that nothing is encoded twice or wrongly remembered."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from torch.nn import functional as F

from ovseg_d2.clip import CLIPTower
from ovseg_d2.text import TextBank
from ovseg_d2.text import bank as bank_module
from ovseg_d2.vocab import Vocabulary

_TEMPLATES = ["a photo of a {}.", "{} in the scene", "one {}"]


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the list of all prompts that any tower tokenizes for encoding, in order."""
    prompts: list[str] = []
    original = TextBank._tokenize

    def record(self: TextBank, texts: list[str]) -> torch.Tensor:
        prompts.extend(texts)
        return original(self, texts)

    monkeypatch.setattr(TextBank, "_tokenize", record)
    return prompts


def _plain(tower: CLIPTower, word: str, templates: list[str] = _TEMPLATES) -> torch.Tensor:
    """One word by the book: every prompt alone, through open_clip's own encode_text."""
    tokenizer = open_clip.SimpleTokenizer()
    vectors = []
    for template in templates:
        prompt = template.replace("{}", word)
        with torch.no_grad():
            vector = tower.model.encode_text(tokenizer([prompt], context_length=77))[0]
        vectors.append(vector / vector.norm())
    mean = torch.stack(vectors).sum(dim=0) / len(vectors)
    return mean / mean.norm()


def test_embed_is_the_normalised_mean_over_templates(tower: CLIPTower) -> None:
    embeds = TextBank(tower, _TEMPLATES).embed(["red star", "grass"])
    expected = torch.stack([_plain(tower, "red star"), _plain(tower, "grass")])
    assert embeds.shape == (2, 32)
    assert embeds.dtype == torch.float32
    assert not embeds.requires_grad
    torch.testing.assert_close(embeds, expected, rtol=0, atol=1e-6)
    # The words must be told apart, or the comparison above says nothing.
    assert (embeds[0] - embeds[1]).abs().max() > 1e-2


def test_embed_mean_of_synonyms(tower: CLIPTower) -> None:
    vocabulary = Vocabulary.parse("grass | lawn | red star, sky")
    embeds = TextBank(tower, _TEMPLATES).embed(vocabulary)
    words = torch.stack([_plain(tower, word) for word in ("grass", "lawn", "red star")])
    torch.testing.assert_close(embeds[0], F.normalize(words.mean(0), dim=0), rtol=0, atol=1e-6)
    torch.testing.assert_close(embeds[1], _plain(tower, "sky"), rtol=0, atol=1e-6)


def test_embed_joined_synonyms(tower: CLIPTower) -> None:
    embeds = TextBank(tower, _TEMPLATES, synonyms="joined").embed(
        Vocabulary.parse("grass | lawn, sky")
    )
    expected = torch.stack([_plain(tower, "grass, lawn"), _plain(tower, "sky")])
    torch.testing.assert_close(embeds, expected, rtol=0, atol=1e-6)


def test_class_texts_max_has_a_row_a_word(tower: CLIPTower) -> None:
    vocabulary = Vocabulary.parse("grass | lawn | red star, sky, lawn | sky")
    texts = TextBank(tower, _TEMPLATES, synonyms="max").class_texts(vocabulary)
    words = ["grass", "lawn", "red star", "sky", "lawn", "sky"]
    expected = torch.stack([_plain(tower, word) for word in words])
    torch.testing.assert_close(texts.embeds, expected, rtol=0, atol=1e-6)
    assert texts.embeds.dtype == torch.float32
    assert not texts.embeds.requires_grad
    assert texts.class_ids.dtype == torch.int64
    assert texts.class_ids.tolist() == [0, 0, 0, 1, 2, 2]
    assert texts.num_classes == 3


@pytest.mark.parametrize("policy", ["mean", "joined"])
def test_class_texts_has_a_row_a_class(tower: CLIPTower, policy: Any) -> None:
    vocabulary = Vocabulary.parse("grass | lawn | red star, sky, lawn | sky")
    bank = TextBank(tower, _TEMPLATES, synonyms=policy)
    texts = bank.class_texts(vocabulary)
    assert torch.equal(texts.embeds, bank.embed(vocabulary))
    assert texts.class_ids is None and texts.num_classes == 3


@pytest.mark.parametrize("policy", ["mean", "joined", "max"])
def test_negative_words_are_rows_of_background(tower: CLIPTower, policy: Any) -> None:
    vocabulary = Vocabulary.from_names(
        ["cat", "sky", "Wall"],
        synonyms=[["cat", "kitten"], ["sky"], ["a wall"]],
        background=["sky"],
    )
    bank = TextBank(tower, _TEMPLATES, synonyms=policy)
    plain = bank.class_texts(vocabulary)
    texts = bank.class_texts(vocabulary, ["grass", "wall", "KITTEN", "sea"])
    expected = torch.stack([_plain(tower, "grass"), _plain(tower, "sea")])
    torch.testing.assert_close(texts.embeds[-2:], expected, rtol=0, atol=1e-6)
    assert torch.equal(texts.embeds[:-2], plain.embeds)
    rows = [0, 0, 1, 2] if policy == "max" else [0, 1, 2]
    assert texts.class_ids.tolist() == [*rows, 1, 1]
    assert texts.num_classes == 3 and texts.background_ids == (1,)
    assert bank.class_texts(vocabulary, ["cat", "sky"]).num_classes == 3
    with pytest.raises(ValueError, match=r"none of the 2 classes \(cat, sky\) is background; list"):
        bank.class_texts(["cat", "sky"], ["grass"])


def test_underscores_are_spaces_in_prompts_alone(tower: CLIPTower) -> None:
    vocabulary = Vocabulary.parse("red_star | _grass__field_, _")
    bank = TextBank(tower, _TEMPLATES, synonyms="max", underscores_are_spaces=True)
    expected = torch.stack([_plain(tower, word) for word in ("red star", "grass field", "_")])
    torch.testing.assert_close(bank.class_texts(vocabulary).embeds, expected, rtol=0, atol=1e-6)
    assert vocabulary.names == ("red_star", "_")
    kept = TextBank(tower, _TEMPLATES).embed(["red_star"])
    torch.testing.assert_close(kept[0], _plain(tower, "red_star"), rtol=0, atol=1e-6)
    assert (kept[0] - expected[0]).abs().max() > 1e-3


def test_best_of_words_of_class_texts(tower: CLIPTower) -> None:
    vocabulary = Vocabulary.parse("grass | lawn | red star, sky, lawn | sky")
    texts = TextBank(tower, "bare", synonyms="max").class_texts(vocabulary)
    pixel_embeds = F.normalize(torch.randn(2, 32, 3, 4), dim=1)
    row_scores = torch.einsum("bdhw,rd->brhw", pixel_embeds, texts.embeds)
    scores = texts.best_of_words(row_scores)
    for k, words in enumerate(vocabulary.synonyms):
        word_scores = [
            torch.einsum("bdhw,d->bhw", pixel_embeds, _plain(tower, w, ["{}"])) for w in words
        ]
        expected = torch.stack(word_scores).max(dim=0).values
        torch.testing.assert_close(scores[:, k], expected, rtol=0, atol=1e-5)


def test_embed_max_needs_one_word_a_class(tower: CLIPTower) -> None:
    bank = TextBank(tower, _TEMPLATES, synonyms="max")
    words = ["sky", "grass"]
    assert torch.equal(bank.embed(words), TextBank(tower, _TEMPLATES).embed(words))
    with pytest.raises(ValueError, match="call class_texts"):
        bank.embed(Vocabulary.parse("sky | heaven, grass"))


def test_embed_10000_words_in_batches(
    tower: CLIPTower, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes: list[int] = []

    def encode_text(token_ids: torch.Tensor) -> torch.Tensor:
        # Far cheaper than the tower, and still another vector for every prompt.
        sizes.append(len(token_ids))
        phases = token_ids.double() @ torch.linspace(0.1, 1.7, token_ids.shape[1]).double()
        return torch.cos(phases[:, None] * torch.arange(1, 33)).float()

    monkeypatch.setattr(tower, "encode_text", encode_text)
    words = [f"word {number}" for number in range(10_000)]
    bank = TextBank(tower, "bare", batch_size=512)
    embeds = bank.embed(words)
    assert embeds.shape == (10_000, 32)
    assert sizes == [512] * 19 + [10_000 - 19 * 512]
    assert "10000/10000" in capsys.readouterr().err
    expected = encode_text(tower.tokenize(["word 0", "word 6000", "word 9999"]))
    torch.testing.assert_close(
        embeds[[0, 6000, 9999]], F.normalize(expected, dim=-1), rtol=0, atol=1e-6
    )
    # All of them are remembered: nothing is encoded again, and no bar is drawn.
    sizes.clear()
    assert torch.equal(bank.embed(words[::-1]), embeds.flip(0))
    assert sizes == []
    assert capsys.readouterr().err == ""


def test_embed_a_word_with_braces(tower: CLIPTower) -> None:
    embeds = TextBank(tower, ["a {} here"]).embed(["{x}", "{0}"])
    expected = torch.stack([_plain(tower, word, ["a {} here"]) for word in ("{x}", "{0}")])
    torch.testing.assert_close(embeds, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 2, 4, 7, 1000])
def test_embed_does_not_depend_on_batch_size(tower: CLIPTower, batch_size: int) -> None:
    words = ["sky", "grass", "a rather long name of a class", "red star", "lawn"]
    embeds = TextBank(tower, _TEMPLATES, batch_size=batch_size).embed(words)
    expected = torch.stack([_plain(tower, word) for word in words])
    torch.testing.assert_close(embeds, expected, rtol=0, atol=1e-6)
    alone = TextBank(tower, _TEMPLATES).embed(["red star"])
    torch.testing.assert_close(embeds[3:4], alone, rtol=0, atol=1e-6)


def test_embed_encodes_at_most_batch_size_prompts(
    tower: CLIPTower, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    original = tower.encode_text
    monkeypatch.setattr(
        tower, "encode_text", lambda ids: (sizes.append(len(ids)), original(ids))[1]
    )
    TextBank(tower, _TEMPLATES, batch_size=2).embed(["sky", "grass"])
    assert sizes == [2, 1, 2, 1]
    sizes.clear()
    TextBank(tower, _TEMPLATES, batch_size=7).embed(["sky", "grass", "lawn"])
    assert sizes == [6, 3]


def test_embed_encodes_missing_words_only(tower: CLIPTower, encoded: list[str]) -> None:
    bank = TextBank(tower, "bare")
    first = bank.embed(["sky", "grass"])
    second = bank.embed(Vocabulary.parse("grass, lawn | sky, sky"))
    assert encoded == ["sky", "grass", "lawn"]
    assert torch.equal(first[1], second[0])
    assert torch.equal(first[0], second[2])


def test_embed_encodes_a_shared_word_once(tower: CLIPTower, encoded: list[str]) -> None:
    TextBank(tower, "bare").embed(Vocabulary.parse("door | gate, gate"))
    assert encoded == ["door", "gate"]


def test_embed_returns_a_copy_of_the_cache(tower: CLIPTower) -> None:
    bank = TextBank(tower, "bare")
    first = bank.embed(["sky"])
    kept = first.clone()
    first.zero_()
    assert torch.equal(bank.embed(["sky"]), kept)


def test_cache_drops_the_oldest_words(
    tower: CLIPTower, encoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bank_module, "_MAX_WORDS", 2)
    bank = TextBank(tower, "bare")
    bank.embed(["sky", "grass"])
    bank.embed(["sky"])  # sky is now the younger one
    bank.embed(["lawn"])
    bank.embed(["sky"])
    assert encoded == ["sky", "grass", "lawn"]
    bank.embed(["grass"])
    assert encoded == ["sky", "grass", "lawn", "grass"]
    # More words than the memory holds still come out right.
    assert bank.embed(["a", "b", "c", "d"]).shape == (4, 32)


@pytest.mark.parametrize("through_data", [False, True])
def test_embed_after_changed_weights(tower: CLIPTower, through_data: bool) -> None:
    bank = TextBank(tower, _TEMPLATES)
    before = bank.embed(["sky", "grass"])
    with torch.no_grad():
        projection = tower.model.text_projection
        (projection.data if through_data else projection).mul_(torch.rand(32))
    after = bank.embed(["sky", "grass"])
    torch.testing.assert_close(after, TextBank(tower, _TEMPLATES).embed(["sky", "grass"]))
    assert (before - after).abs().max() > 1e-2


def test_cache_ignores_image_tower_and_scale(tower: CLIPTower, encoded: list[str]) -> None:
    bank = TextBank(tower, "bare")
    bank.embed(["sky"])
    with torch.no_grad():
        tower.model.visual.proj.mul_(2)
        tower.model.logit_scale.add_(1)
    bank.embed(["sky"])
    assert encoded == ["sky"]


def test_disk_cache_serves_another_bank(
    build_tower: Callable[..., CLIPTower], encoded: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "deep" / "cache"
    first = TextBank(build_tower(), _TEMPLATES, cache_dir=folder).embed(["sky", "grass"])
    count = len(encoded)
    second = TextBank(build_tower(), _TEMPLATES, cache_dir=folder).embed(["sky", "grass"])
    assert len(encoded) == count == 6
    assert torch.equal(first, second)


def test_disk_cache_is_by_tower_templates_and_words(
    build_tower: Callable[..., CLIPTower], encoded: list[str], tmp_path: Path
) -> None:
    settings: list[tuple[dict[str, Any], Any, str, list[str]]] = [
        ({}, "bare", "mean", ["sky"]),
        ({"heads": 4}, "bare", "mean", ["sky"]),
        ({}, "single", "mean", ["sky"]),
        ({}, "bare", "mean", ["sky", "grass"]),
    ]
    for number, (text_cfg, templates, policy, words) in enumerate(settings, start=1):
        tower = build_tower(**text_cfg)
        cached = TextBank(tower, templates, synonyms=policy, cache_dir=tmp_path).embed(words)
        fresh = TextBank(tower, templates, synonyms=policy).embed(words)
        torch.testing.assert_close(cached, fresh)
        assert len(list(tmp_path.iterdir())) == number


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "other shape", "not unit"])
def test_damaged_disk_cache_is_recomputed(
    tower: CLIPTower, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    expected = TextBank(tower, "bare", cache_dir=tmp_path).embed(["sky"])
    (path,) = tmp_path.iterdir()
    good = path.read_bytes()
    shape = (2, 32) if damage == "other shape" else (1, 32)
    path.write_bytes(
        {
            "truncated": good[:-5],
            "garbage": b"\xff" * 200,
            "empty": b"",
        }.get(damage)
        if damage in ("truncated", "garbage", "empty")
        else bank_module.save_safetensors({"word_embeds": torch.ones(shape)})
    )
    with caplog.at_level(logging.WARNING):
        embeds = TextBank(tower, "bare", cache_dir=tmp_path).embed(["sky"])
    assert str(path) in caplog.text
    assert torch.equal(embeds, expected)
    assert path.read_bytes() == good


def test_unwritable_disk_cache_is_a_warning(
    tower: CLIPTower, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    with caplog.at_level(logging.WARNING):
        embeds = TextBank(tower, "bare", cache_dir=blocker).embed(["sky"])
    assert "not kept on disk" in caplog.text
    assert torch.equal(embeds, TextBank(tower, "bare").embed(["sky"]))


def test_init_touches_no_disk(tower: CLIPTower, tmp_path: Path) -> None:
    TextBank(tower, cache_dir=tmp_path / "cache")
    assert list(tmp_path.iterdir()) == []


def test_embed_under_autocast(tower: CLIPTower) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = TextBank(tower, _TEMPLATES).embed(["sky"])
    assert torch.equal(inside, TextBank(tower, _TEMPLATES).embed(["sky"]))


def test_embed_after_inference_mode_allows_gradients(tower: CLIPTower) -> None:
    with torch.inference_mode():
        bank = TextBank(tower, "bare")
    text_embeds = bank.embed(["sky"])
    feats = torch.randn(32, requires_grad=True)
    (text_embeds @ feats).sum().backward()
    torch.testing.assert_close(feats.grad, text_embeds[0])


def test_embed_refuses_a_word_that_is_too_long(tower: CLIPTower) -> None:
    with pytest.raises(ValueError, match="long long"):
        TextBank(tower).embed(["sky", "long " * 90])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"templates": "nope"}, "no template set"),
        ({"synonyms": "best"}, r"synonyms is 'best'; choose from \['mean', 'joined', 'max'\]"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_refuses_options(tower: CLIPTower, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TextBank(tower, **arguments)


def test_embed_refuses_a_single_string(tower: CLIPTower) -> None:
    with pytest.raises(ValueError, match="single string 'sky'"):
        TextBank(tower).embed("sky")


def test_progress_bar_for_many_prompts_only(
    tower: CLIPTower, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bank_module, "_PROGRESS_PROMPTS", 3)
    TextBank(tower, "bare").embed(["a", "b", "c"])
    assert capsys.readouterr().err == ""
    TextBank(tower, "bare").embed(["a", "b", "c", "d"])
    assert "4/4" in capsys.readouterr().err


def _official_tower(case: Any, prefix: str = "") -> CLIPTower:
    """Build the parity case's CLIP; its text tower is official, its image tower a filler."""
    construct, heads = case.construct, case.construct["text_width"] // 64
    model = open_clip.CLIP(
        embed_dim=construct["embed_dim"],
        vision_cfg={"image_size": 16, "patch_size": 8, "width": 64, "layers": 1},
        text_cfg={
            "width": construct["text_width"],
            "heads": heads,
            "layers": construct["text_layers"],
        },
        quick_gelu=True,
    ).eval()
    weights = {
        name.removeprefix(prefix): tensor
        for name, tensor in case.weights.items()
        if name.startswith(prefix)
    }
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert unexpected == []
    assert all(name.startswith("visual.") or name == "logit_scale" for name in missing)
    return CLIPTower(model, open_clip.SimpleTokenizer(), mean=(0.5,) * 3, std=(0.5,) * 3)


def test_embed_equals_official_maskclip(parity: Callable[[str], Any]) -> None:
    case = parity("maskclip_text")
    subcase = case.subcases["all_templates"]
    tower = _official_tower(case)
    bank = TextBank(tower, "maskclip")
    nouns = subcase.args["nouns"]
    tokens = [tower.tokenize([t.replace("{}", noun) for t in bank.templates]) for noun in nouns]
    subcase.check("tokens", torch.stack(tokens))
    subcase.check("text_embeddings", bank.embed(nouns))


@pytest.mark.parametrize("subcase_id", ["vild", "imagenet", "predefined"])
def test_embed_equals_official_ovseg(parity: Callable[[str], Any], subcase_id: str) -> None:
    case = parity("ovseg_text")
    subcase = case.subcases[subcase_id]
    tower = _official_tower(case, "clip_model.")
    bank = TextBank(tower, subcase.args.get("template_list", subcase_id))
    nouns = subcase.args["nouns"]
    tokens = [tower.tokenize([t.replace("{}", noun) for noun in nouns]) for t in bank.templates]
    subcase.check("tokens", torch.stack(tokens))
    # Their last row is the learned no-object vector, which is OVSeg's and not the bank's.
    no_object = F.normalize(case.weights["non_object_embedding"], dim=-1)
    subcase.check("text_features", torch.cat([bank.embed(nouns), no_object]))


@pytest.mark.parametrize(
    ("case_name", "templates"),
    [("pixelclip_prompts", "pixelclip_single"), ("pixelclip_prompts_ensemble", "pixelclip")],
)
def test_embed_equals_official_pixelclip(
    parity: Callable[[str], Any], case_name: str, templates: str
) -> None:
    """Class vectors for each template: the mean over a class's words, of unit norm."""
    case = parity(case_name)
    subcase = case.subcases["class_text"]
    tower = _official_tower(case, "clip_model.")
    vocabulary = Vocabulary.parse(
        ",".join(c.replace(", ", "|") for c in case.construct["test_classes"])
    )
    bank = TextBank(tower, templates)
    for k, words in enumerate(vocabulary.synonyms):
        prompts = [t.replace("{}", word) for t in bank.templates for word in words]
        subcase.check(f"tokens.{k}", tower.tokenize(prompts))
    embeds = [TextBank(tower, [template]).embed(vocabulary) for template in bank.templates]
    subcase.check("text_features", torch.stack(embeds, dim=1))
    # Templates are averaged last there, and first here: no difference where a class has one word.
    official = F.normalize(subcase.outputs["text_features"].mean(dim=1), dim=-1)
    ours = bank.embed(vocabulary)
    single = [k for k, words in enumerate(vocabulary.synonyms) if len(words) == 1]
    torch.testing.assert_close(ours[single], official[single], rtol=0, atol=1e-5)
    assert (ours * official).sum(dim=-1).min() > 0.999
