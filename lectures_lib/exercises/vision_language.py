"""Checkers for the exercises of the chapter `vision_language`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lectures_lib.attention import attention
from lectures_lib.evaluation.retrieval import recall_at
from lectures_lib.exercises.checking import WrongAnswer, as_number, as_tensor, close, right, unanswered
from lectures_lib.losses.self_supervised import masked_region_loss


def check_passes(answer: Any, *, captions: int, pictures: int) -> None:
    """Exercise 1: passes through a co-attention model to score every caption with every picture, less the towers' two.

    The answer is a pair: (with co-attention, with two towers), where a tower reads one caption or one picture a pass.

    Raises:
        WrongAnswer: naming what was counted instead.
    """
    if unanswered(answer):
        return
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise WrongAnswer("the answer should be two numbers: with co-attention, with towers.")
    together, apart = as_number("The first number", answer[0]), as_number("The second number", answer[1])
    if (together, apart) == (captions * pictures, captions + pictures):
        right("What is compared at the end can be stored; what looks at the other has to be computed for every pair.")
        return
    if (apart, together) == (captions * pictures, captions + pictures):
        raise WrongAnswer("the other way round: which of the two can store what it has read?")
    if together == captions + pictures:
        raise WrongAnswer("with co-attention a caption's states depend on the picture: it is read anew with each one.")
    if together != captions * pictures:
        raise WrongAnswer(
            f"with co-attention every caption meets every picture; how many pairs are that? Not {together:g}."
        )
    if apart == captions * pictures:
        raise WrongAnswer(
            "a tower reads each caption once, and each picture once; only the comparison is for every pair."
        )
    raise WrongAnswer(f"the towers need one pass a caption and one a picture; that is not {apart:g}.")


def check_bridge(answer: Callable[..., Any]) -> None:
    """Exercise 2: `bridge(text, image, visible)`: what each stream takes from the other, one head, without projections.

    `text` (batch, words, d), `image` (batch, regions, d), `visible` (batch, regions), True at regions that are there.
    Returns (new text, new image), before anything is added.

    Raises:
        WrongAnswer: naming who looked at whom that should not, or what was left out.
    """
    generator = torch.Generator().manual_seed(0)
    text, image = (torch.randn(2, count, 4, generator=generator, dtype=torch.float64) for count in (3, 5))
    visible = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    result = answer(text.clone(), image.clone(), visible.clone())
    if unanswered(result):
        return
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise WrongAnswer("return two tensors: the text's, then the picture's.")
    new_text, new_image = attention(text, image, image, visible[:, None]), attention(image, text, text)
    swapped = isinstance(result[0], Tensor) and tuple(result[0].shape) == tuple(new_image.shape)
    if swapped and close(result[0], new_image):
        raise WrongAnswer(
            "the two are exchanged. Whoever asks keeps the length: what the text has taken has as many rows as words."
        )
    got = [
        as_tensor(f"The {name}'s part", one, tuple(true.shape))
        for name, one, true in zip(("text", "picture"), result, (new_text, new_image), strict=True)
    ]
    if close(got[0], new_text) and close(got[1], new_image):
        right("Queries from one stream, keys and values from the other, in both directions at once.")
        return
    raise WrongAnswer(_bridge_mistake(got, text, image, visible, new_text))


def _bridge_mistake(got: list[Tensor], text: Tensor, image: Tensor, visible: Tensor, new_text: Tensor) -> str:
    scores = text @ image.transpose(1, 2)
    unscaled = scores.masked_fill(~visible[:, None], float("-inf")).softmax(dim=-1) @ image
    for wrong, message in (
        (
            attention(text, image, image),
            "regions that are not there get weight: mask the scores where `visible` is False.",
        ),
        (attention(text, text, text), "the text looks at itself; its keys and values should be the picture's."),
        (unscaled, "divide the scores by the square root of the width."),
        (attention(text, image, image, ~visible[:, None]), "the mask is upside down: True marks what is there."),
    ):
        if close(got[0], wrong):
            return message
    if not close(got[0], new_text):
        return f"the text's first number should be {float(new_text[0, 0, 0]):.4f} and is {float(got[0][0, 0, 0]):.4f}."
    for wrong, message in (
        (attention(image, image, image), "the picture looks at itself; its keys and values should be the text's."),
        (
            attention(image, new_text, new_text),
            "the picture looks at the text after its change: both look at what the other was before.",
        ),
    ):
        if close(got[1], wrong):
            return message
    return "the text's part is right and the picture's is not: who are its queries, and who its keys?"


def check_recall(answer: Callable[[Tensor, int], Any]) -> None:
    """Exercise 3: `recall(scores, k)`: the share of rows whose candidate 0 is among the k best; ties by their chance.

    Raises:
        WrongAnswer: naming how ties or the count went astray.
    """
    generator = torch.Generator().manual_seed(0)
    plain, tied = torch.randn(40, 6, generator=generator), torch.randint(3, (40, 6), generator=generator).float()
    first = answer(plain.clone(), 2)
    if unanswered(first):
        return
    said = as_number("R@2", first)
    for wrong, message in (
        (recall_at(-plain, 2), "you took the lowest scores; the best are the highest."),
        (recall_at(plain, 3), "one rank too many: of k = 2, ranks 1 and 2 count."),
        (recall_at(plain, 1), "one rank too few: of k = 2, ranks 1 and 2 count."),
        (recall_at(plain, 2) * 40, "that is how many; divide by the rows."),
    ):
        if not close(said, recall_at(plain, 2)) and close(said, wrong):
            raise WrongAnswer(message)
    if not close(said, recall_at(plain, 2)):
        raise WrongAnswer(f"without any ties R@2 should be {recall_at(plain, 2):.3f} and is {said:.3f}.")
    own = tied[:, :1]
    generous, strict = ((tied > own).sum(dim=1) < 2), ((tied >= own).sum(dim=1) <= 2)
    value = as_number("R@2", answer(tied.clone(), 2))
    if close(value, recall_at(tied, 2)):
        right("A model that scores everything alike gets k of n, as guessing does.")
        return
    if close(value, generous.double().mean()):
        raise WrongAnswer("every tie counts as won: a model that says 0 to everything would be perfect.")
    if close(value, strict.double().mean()):
        raise WrongAnswer("every tie counts as lost: a model that says 0 to everything would be worse than guessing.")
    raise WrongAnswer(f"without ties it is right; with ties it should be {recall_at(tied, 2):.3f} and is {value:.3f}.")


def check_region_loss(answer: Callable[[Tensor, Tensor, Tensor], Any]) -> None:
    """Exercise 4: the mean KL divergence of hidden regions from `target`, in nats.

    `logits` and `target` are (batch, regions, classes), `masked` (batch, regions) is True where a region was hidden.

    Raises:
        WrongAnswer: naming which other loss it is.
    """
    generator = torch.Generator().manual_seed(0)
    logits, target = torch.randn(2, 2, 5, 4, generator=generator).unbind()
    target = (2 * target).softmax(dim=-1)
    masked = torch.rand(2, 5, generator=generator) < 0.5
    result = answer(logits.clone(), target.clone(), masked.clone())
    if unanswered(result):
        return
    value = as_number("The loss", result)
    total, count = masked_region_loss(logits, target, masked)
    if close(value, total / count):
        right("It is zero where the model says what the detector said, and nowhere else.")
        return
    said = logits.log_softmax(dim=-1)
    each = (target * (target.log() - said)).sum(dim=-1)
    backward = (said.exp() * (said - target.log())).sum(dim=-1)
    cross = -(target * said).sum(dim=-1)
    for wrong, message in (
        (each.mean(), "you averaged over all regions; only hidden ones count."),
        (each[~masked].mean(), "the mask is upside down: True marks hidden regions."),
        (total, "that is the sum; divide by how many regions were hidden."),
        (
            backward[masked].mean(),
            "the divergence runs the other way: weigh by the target, not by what the model says.",
        ),
        (cross[masked].mean(), "that is the cross-entropy: it lacks the target's own entropy, and never reaches zero."),
        (each[masked].mean() / 4, "sum over the classes; divide by the regions only."),
        (F.cross_entropy(logits[masked], target[masked].argmax(dim=-1)), "the target is a distribution, not its peak."),
    ):
        if close(value, wrong):
            raise WrongAnswer(message)
    raise WrongAnswer(f"it should be {float(total / count):.4f} and is {value:.4f}.")
