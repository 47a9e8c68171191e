"""Rows of prefixes and suffixes become windows of token ids, or are refused with file and line."""

import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from kfaclib.lm import rows
from kfaclib.lm.models import positions

if TYPE_CHECKING:
    import transformers


def load_sequences(
    path: str | Path,
    tokenizer: "transformers.PreTrainedTokenizerBase",
    model: "transformers.PreTrainedModel | None" = None,
) -> list[tuple[list[int], list[int]]]:
    """Windows from a file of rows (see `rows`): [(prefix ids, suffix ids)].

    Rows are {"prefix_ids": [...], "suffix_ids": [...]}, or text {"prefix": ..., "target_suffix": ...}, which is
    tokenized as one text and cut where the suffix begins; or, as public lists have them, {"tokens": [...]} or a text
    {"paragraph": ...}, whose first half of tokens is the prefix. model: the one that shall recite them; windows longer
    than its positions and ids beyond its vocabulary are refused. ValueError names file and line of a row that will not
    do.
    """
    windows, size = [], max(tokenizer.get_vocab().values()) + 1
    longest = model and positions(model)
    vocabulary = model.get_input_embeddings().num_embeddings if model else size
    for number, record in rows.rows(path):
        where = f"{path}, line {number}"
        if {"prefix_ids", "suffix_ids"} <= record.keys():
            window = record["prefix_ids"], record["suffix_ids"]
            if not all(isinstance(part, list) and all(type(token) is int for token in part) for part in window):
                raise ValueError(f"{where}: prefix_ids and suffix_ids are lists of whole numbers")
        elif {"prefix", "target_suffix"} <= record.keys():
            if not (isinstance(record["prefix"], str) and isinstance(record["target_suffix"], str)):
                raise ValueError(f"{where}: prefix and target_suffix are texts")
            window = _tokenized(where, tokenizer, record["prefix"], record["target_suffix"])
        elif "tokens" in record or isinstance(record.get("paragraph"), str):
            ids = record["tokens"] if "tokens" in record else tokenizer(record["paragraph"])["input_ids"]
            if not (isinstance(ids, list) and all(type(token) is int for token in ids)):
                raise ValueError(f"{where}: tokens are a list of whole numbers")
            window = ids[: len(ids) // 2], ids[len(ids) // 2 :]
        else:
            raise ValueError(
                f"{where}: neither prefix_ids and suffix_ids nor prefix and target_suffix; it has "
                f"{str(sorted(map(str, record)))[:200]}"
            )
        if not all(window):
            raise ValueError(f"{where}: an empty prefix or suffix")
        strange = [token for part in window for token in part if not 0 <= token < min(size, vocabulary)]
        if strange:
            whose = (
                f"this tokenizer of {size} tokens"
                if not 0 <= strange[0] < size
                else f"this model of {vocabulary} tokens"
            )
            raise ValueError(
                f"{where}: token id {str(strange[0])[:20]} does not exist in {whose}: the file was made for another "
                "model"
            )
        if longest and len(window[0]) + len(window[1]) > longest:
            raise ValueError(
                f"{where}: {len(window[0])} + {len(window[1])} tokens are more than the {longest} positions of the "
                "model: shorten the row"
            )
        windows.append(window)
    if not windows:
        raise ValueError(f"{path} has no rows")
    return windows


# Two words that meet without a space: was one lost there (Llama 2's tokenizer loses it when a suffix is decoded alone),
# or does the cut lie inside a word? Scripts that write no spaces raise no such question.
_SPACELESS = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO ", "KHMER", "MYANMAR", "TIBETAN")


def _is_word(character):
    return character.isalnum() and not unicodedata.name(character, "").startswith(_SPACELESS)


def _tokenized(where, tokenizer, prefix, suffix):
    """(prefix ids, suffix ids) of two pieces of one text, tokenized as one and cut between them: what stands at the
    end of the text alone, such as an end-of-text token, is left away, and a space before the cut goes with the word
    after it, as tokenizers have it."""
    if not prefix or not suffix:
        return tokenizer(prefix)["input_ids"], tokenizer(suffix, add_special_tokens=False)["input_ids"]
    unknown = lambda ids: ids.count(tokenizer.unk_token_id)
    text = prefix + suffix
    if not (prefix[-1].isspace() or suffix[0].isspace()):
        spaced = prefix + " " + suffix
        as_it_is, apart = (unknown(tokenizer(x)["input_ids"]) for x in (text, spaced))
        if apart < as_it_is:  # a tokenizer of whole words, which knows these two and not the one that they would make
            text = spaced
        elif (_is_word(prefix[-1]) or prefix[-1] in ".,;:!?") and _is_word(suffix[0]):
            raise ValueError(
                f"{where}: the prefix ends in {prefix[-12:]!r} and the suffix begins with {suffix[:12]!r}, without a "
                "space: put the space that belongs there into one of them, or give prefix_ids and suffix_ids if the "
                "cut lies inside a word"
            )
    if not tokenizer.is_fast:
        raise ValueError(
            f"{where}: this tokenizer does not say which characters a token stands for, so a text cannot be cut into "
            "prefix and suffix: give prefix_ids and suffix_ids"
        )
    found = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True)
    ids, places, special = (list(found[key]) for key in ("input_ids", "offset_mapping", "special_tokens_mask"))
    while special and special[-1]:
        ids.pop(), places.pop(), special.pop()
    cut = next((i for i, (_, end) in enumerate(places) if end > len(prefix)), len(ids))
    if cut < len(ids) and text[places[cut][0] : len(prefix)].strip():
        raise ValueError(
            f"{where}: the cut between prefix and suffix lies inside the token {text[slice(*places[cut])]!r}: cut "
            "between two tokens, or give prefix_ids and suffix_ids"
        )
    return ids[:cut], ids[cut:]
