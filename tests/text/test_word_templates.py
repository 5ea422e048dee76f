"""Templates of single words: the bank, the file, and files that hold something else."""

import pytest
import torch

from ovseg_d2.clip import CLIPTower
from ovseg_d2.text import TextBank, read_word_templates, write_word_templates


def test_words_have_their_own_templates(tower: CLIPTower, tmp_path) -> None:
    own = {"grass": ("the {}.", "a {} here"), "sea": ["{}"], "sky": ("the {}.", "a {} here")}
    words = ["sky", "star", "grass", "sea", "sand"]
    bank = TextBank(tower, "single", word_templates=own, cache_dir=tmp_path)
    expected = torch.cat([TextBank(tower, own.get(word, "single")).embed([word]) for word in words])
    torch.testing.assert_close(bank.embed(words), expected, rtol=0, atol=1e-6)
    # Embeddings on disk are of the templates too.
    plain = TextBank(tower, "single", cache_dir=tmp_path).embed(words)
    torch.testing.assert_close(plain, TextBank(tower, "single").embed(words), rtol=0, atol=1e-6)
    assert (plain - expected).abs().max() > 1e-3
    again = TextBank(tower, "single", word_templates=own, cache_dir=tmp_path).embed(words)
    torch.testing.assert_close(again, expected, rtol=0, atol=1e-6)


def test_a_file_of_word_templates_comes_back(tmp_path) -> None:
    templates = {"Straße": ("a {}", "the {}."), "a": ("{}",)}
    write_word_templates(tmp_path / "t.json", templates, "a note")
    assert read_word_templates(tmp_path / "t.json") == templates


@pytest.mark.parametrize(
    "content",
    ["", "[", "[]", "{}", '{"word_templates": {"a": []}}', '{"word_templates": {"a": 1}}'],
)
def test_a_file_of_other_content_is_refused(content: str, tmp_path) -> None:
    path = tmp_path / "t.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"t.json holds no templates of words") as caught:
        read_word_templates(path)
    assert "\n" not in str(caught.value)
    path.write_text('{"word_templates": {"a": ["b"]}}')
    with pytest.raises(ValueError, match="template 'b' holds 0 times '{}'"):
        read_word_templates(path)
    with pytest.raises(FileNotFoundError, match="templates of words .*none.json do not exist"):
        read_word_templates(tmp_path / "none.json")
