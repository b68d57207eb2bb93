"""The two losses: what a partly annotated sentence is asked for, with and without a teacher."""

from __future__ import annotations

import pytest
import torch

from model.recipe.train import set_loss, soft_loss

LOGITS = torch.tensor([[2.0, 0.5, -1.0, 0.3], [0.1, 0.2, 0.3, 0.4], [-1.0, 3.0, 0.0, 1.0]])
NOTHING = torch.zeros(3, 4, dtype=torch.bool)


def unknown(*labels: int) -> torch.Tensor:
    """Return the same unknown labels for each of the three words."""
    out = NOTHING.clone()
    out[:, list(labels)] = True
    return out


def test_set_loss_is_cross_entropy_where_everything_is_annotated() -> None:
    """With no unknown type, each word's loss is the cross-entropy of its tag."""
    target = torch.tensor([0, 3, 1])
    expected = torch.nn.functional.cross_entropy(LOGITS, target, reduction="none")
    torch.testing.assert_close(set_loss(LOGITS, target, NOTHING), expected)


def test_set_loss_of_an_outside_word_is_that_of_a_set() -> None:
    """A word tagged O may be O or any unknown type; a word tagged otherwise is what it says."""
    target = torch.tensor([0, 0, 1])
    p = torch.softmax(LOGITS, 1)
    expected = -torch.log(torch.stack([p[0, 0] + p[0, 2] + p[0, 3], p[1, 0] + p[1, 2] + p[1, 3], p[2, 1]]))
    torch.testing.assert_close(set_loss(LOGITS, target, unknown(2, 3)), expected)


def test_set_loss_pulls_no_probability_from_the_unknown_types() -> None:
    """The gradient lowers only what the word cannot be."""
    logits = LOGITS[:1].clone().requires_grad_()
    set_loss(logits, torch.tensor([0]), unknown(2)[:1]).sum().backward()
    assert logits.grad is not None
    assert logits.grad[0, 1] > 0
    assert logits.grad[0, 3] > 0
    assert logits.grad[0, 2] < 0


@pytest.mark.parametrize("distil", [0.0, 0.5, 1.0])
def test_soft_loss_mixes_tag_and_teacher(distil: float) -> None:
    """Where one tag stands, the target is the tag and the teacher's whole distribution, in shares."""
    target = torch.tensor([0, 3, 1])
    teacher = torch.softmax(LOGITS.flip(0), 1)
    log_p = torch.log_softmax(LOGITS, 1)
    gold = torch.nn.functional.cross_entropy(LOGITS, target, reduction="none")
    expected = (1 - distil) * gold - distil * (teacher * log_p).sum(1)
    torch.testing.assert_close(soft_loss(LOGITS, target, NOTHING, teacher, distil), expected)


def test_soft_loss_of_a_set_is_the_teachers_opinion_within_it() -> None:
    """Where the tag is a set, the target is the teacher's distribution over the set alone."""
    teacher = torch.softmax(LOGITS.flip(0), 1)
    log_p = torch.log_softmax(LOGITS, 1)
    within = teacher[0] * torch.tensor([1.0, 0.0, 1.0, 0.0])
    expected = -(within / within.sum() * log_p[0]).sum()
    found = soft_loss(LOGITS, torch.tensor([0, 1, 1]), unknown(2), teacher, 0.5)
    torch.testing.assert_close(found[0], expected)


def test_soft_loss_survives_a_teacher_that_rules_the_set_out() -> None:
    """A teacher sure of what the annotation excludes gives a finite loss."""
    teacher = torch.tensor([[0.0, 1.0, 0.0, 0.0]]).repeat(3, 1)
    found = soft_loss(LOGITS, torch.tensor([0, 0, 1]), unknown(2), teacher, 0.5)
    assert torch.isfinite(found).all()
