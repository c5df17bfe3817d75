"""The text: encoding, the two halves of the standard library, and windows of it."""

import pytest
import torch

from server.workloads.text import ALPHABET, Windows, encode, standard_library


def decode(codes):
    return "".join(ALPHABET[code] for code in codes)


def test_printable_ascii_and_newlines_survive_encoding():
    """Every character of the alphabet is itself again."""
    assert decode(encode(ALPHABET)) == ALPHABET
    assert len(ALPHABET) == len(set(ALPHABET)) == 96


def test_other_characters_become_question_marks_and_tabs_spaces():
    """One code each, so that nothing outside the alphabet reaches the model."""
    assert decode(encode("é→\r\x00")) == "????"
    assert decode(encode("\tx\n\ty")) == "    x\n    y"


def test_the_standard_library_is_millions_of_characters_of_python():
    """Both texts are source code, and a tenth or so is held out."""
    corpus = standard_library()
    assert len(corpus.train) > 3_000_000
    assert 0.05 < len(corpus.held_out) / len(corpus.train) < 0.25
    assert "\ndef " in decode(corpus.train[:100_000])
    assert "\ndef " in decode(corpus.held_out[:100_000])


def test_the_text_is_the_same_every_time():
    """Files are read in the order of their names."""
    assert all(torch.equal(one, other) for one, other in zip(standard_library(), standard_library(), strict=True))


def test_no_file_is_in_both_texts(tmp_path):
    """Every tenth file is held out whole; files that are not of the standard library are left out."""
    names = ["abc", "ast", "bdb", "bisect", "calendar", "cgi", "chunk", "cmd", "code", "codecs", "copy"]
    for index, name in enumerate(names):
        (tmp_path / f"{name}.py").write_text(str(index))
    (tmp_path / "sitecustomize.py").write_text("machine's own")
    corpus = standard_library(tmp_path)
    assert decode(corpus.held_out) == "0\n10"
    assert decode(corpus.train) == "\n".join("123456789")


def test_a_python_without_sources_is_named(tmp_path):
    """The error says where it looked."""
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        standard_library(tmp_path)


def test_targets_are_the_inputs_one_character_later():
    """Every window is a stretch of the text, and its targets the stretch that starts one later."""
    text = torch.arange(50, dtype=torch.uint8)
    inputs, targets = Windows(text, batch=200, context=7, seed=0).sample()
    assert inputs.shape == targets.shape == (200, 7)
    assert inputs.dtype == torch.int64
    assert torch.equal(inputs + 1, targets)
    assert torch.equal(inputs[:, :1] + torch.arange(7), inputs)
    assert (inputs.min(), targets.max()) == (0, 49)


def test_a_seed_fixes_the_windows():
    """The same seed gives the same windows, another seed others."""
    text = torch.arange(200, dtype=torch.uint8)
    first, again, other = (Windows(text, batch=4, context=5, seed=seed).sample()[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
