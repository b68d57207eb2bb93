"""The network: any BERT or DistilBERT as a start, and letter case in its ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from transformers import AutoModel, BertConfig, BertModel, GPT2Config, GPT2Model

from model.recipe.errors import RecipeError
from model.recipe.network import CasedDistilBertForTokenClassification, packaged_folder, start_from

if TYPE_CHECKING:
    from pathlib import Path

LABELS = ["O", "location-GPE", "person-politician"]


def tokens(vocabulary: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return random ids and a ragged mask, [3, 20]."""
    torch.manual_seed(3)
    ids = torch.randint(0, vocabulary, (3, 20))
    mask = (torch.arange(20)[None] < torch.tensor([20, 7, 1])[:, None]).long()
    return ids, mask


def largest_difference(source: str, bert: torch.nn.Module, *, cased: bool) -> float:
    """Return how far the converted start's last hidden states are from the BERT's, padding left out.

    In double precision: what is compared is the weights, not two ways to round a product.
    """
    network = start_from(source, LABELS, cased=cased).double().eval()
    ids, mask = tokens(network.config.vocab_size)
    with torch.no_grad():
        expected = bert.double().eval()(ids, mask).last_hidden_state
        found = network.distilbert(ids, mask).last_hidden_state
    return float((expected - found)[mask == 1].abs().max())


@pytest.mark.parametrize("cased", [False, True])
def test_a_bert_becomes_the_same_distilbert(tmp_path: Path, *, cased: bool) -> None:
    """A BERT without segments, converted, gives the same hidden states, with untrained case rows too."""
    torch.manual_seed(1)
    bert = BertModel(
        BertConfig(
            vocab_size=99,
            hidden_size=32,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=48,
            max_position_embeddings=40,
        )
    )
    bert.save_pretrained(tmp_path)
    assert largest_difference(str(tmp_path), bert, cased=cased) < 2e-6


def test_the_packaged_minilm_becomes_the_same_distilbert() -> None:
    """The packaged MiniLM's six layers, converted, give the same hidden states to 2e-6."""
    assert largest_difference("minilm", AutoModel.from_pretrained(packaged_folder()), cased=True) < 2e-6


def test_a_distilbert_starts_as_it_is(checkpoint: Path) -> None:
    """A DistilBERT checkpoint needs no conversion."""
    assert largest_difference(str(checkpoint), AutoModel.from_pretrained(checkpoint), cased=False) < 1e-12


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    """What is neither BERT nor DistilBERT is refused by name."""
    GPT2Model(GPT2Config(vocab_size=50, n_positions=16, n_embd=8, n_layer=1, n_head=2)).save_pretrained(
        tmp_path
    )
    with pytest.raises(RecipeError, match="gpt2"):
        start_from(str(tmp_path), LABELS, cased=True)


def test_case_is_read_out_of_the_ids(checkpoint: Path) -> None:
    """Each case class adds its own row; class 0 is a plain id."""
    network = start_from(str(checkpoint), LABELS, cased=True).eval()
    ids, mask = tokens(network.config.vocab_size)
    with torch.no_grad():
        before = network(ids, mask).logits
        network.distilbert.embeddings.case_embeddings.weight[1:] += torch.randn(3, 32)
        plain = network(ids, mask).logits
        cased = [network(ids + case * network.config.vocab_size, mask).logits for case in (1, 2, 3)]
    torch.testing.assert_close(plain, before, rtol=0, atol=0)
    assert all(not torch.allclose(plain, other) for other in cased)
    assert not torch.allclose(cased[0], cased[1])


def test_a_network_survives_saving(checkpoint: Path, tmp_path: Path) -> None:
    """A saved network, opened again, gives the same logits."""
    network = start_from(str(checkpoint), LABELS, cased=True).eval()
    network.save_pretrained(tmp_path)
    opened = CasedDistilBertForTokenClassification.from_pretrained(tmp_path).eval()
    ids, mask = tokens(network.config.vocab_size * 4)
    with torch.no_grad():
        torch.testing.assert_close(opened(ids, mask).logits, network(ids, mask).logits)


def test_a_finished_run_is_gone_on_from_whole(checkpoint: Path, tmp_path: Path) -> None:
    """Encoder, case rows and classifier are those of the run; other labels or another case are refused."""
    labels = ["O", "a-b"]
    network = start_from(str(checkpoint), labels, cased=True)
    torch.nn.init.normal_(network.distilbert.embeddings.case_embeddings.weight)
    network.save_pretrained(tmp_path)
    again = start_from(str(tmp_path), labels, cased=True, dropout=0.25)
    assert again.config.dropout == 0.25
    kept = again.state_dict()
    assert all(torch.equal(kept[name], value) for name, value in network.state_dict().items())
    with pytest.raises(RecipeError, match="other labels"):
        start_from(str(tmp_path), ["O", "b-a"], cased=True)
    with pytest.raises(RecipeError, match="letter case"):
        start_from(str(tmp_path), labels, cased=False)
