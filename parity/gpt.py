"""GPT beside Hugging Face's GPT-2: scores, gradients, what both say, and how they cut a text."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel

from lectures_lib.inference import sample
from lectures_lib.models.gpt import GPT
from lectures_lib.pretrained.gpt2 import gpt_config, gpt_tensors
from parity.compare import Parity, compared, named_gradients, paired, shaken, weighed_sum

VOCABULARY, TIME, ROWS, NEW = 40, 24, 4, 50
SIZES = dict(n_positions=80, n_embd=32, n_layer=3, n_head=4)
TRAINING_STEPS = 60


def tokens(rows: int, time: int, seed: int = 1) -> Tensor:
    """Random texts; the same at every call."""
    return torch.randint(VOCABULARY, (rows, time), generator=torch.Generator().manual_seed(seed))


def pair() -> tuple[GPT, GPT2LMHeadModel]:
    """Both with equal random weights."""
    torch.manual_seed(0)
    dropout = dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    theirs = GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, bos_token_id=0, eos_token_id=0, **SIZES, **dropout))
    shaken(theirs.eval())
    return _with_weights_of(theirs), theirs


@cache
def talking_pair() -> tuple[GPT, GPT2LMHeadModel]:
    """As `pair`, after some steps of training: a random model says one token for ever, which compares little."""
    _, theirs = pair()
    batch = tokens(ROWS * 4, 40, seed=2)
    optimizer = torch.optim.Adam(theirs.parameters(), lr=3e-3)
    for _ in range(TRAINING_STEPS):
        loss = F.cross_entropy(theirs(batch[:, :-1]).logits.flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return _with_weights_of(theirs), theirs


def _with_weights_of(theirs: GPT2LMHeadModel) -> GPT:
    config = theirs.config.to_dict()
    ours = GPT(gpt_config(config)).eval()
    ours.load_state_dict(gpt_tensors(theirs.state_dict(), config))
    return ours


def logits() -> Parity:
    """Scores of every next token and the gradients of all weights."""
    ours, theirs = pair()
    output, expected = ours(tokens(ROWS, TIME)), theirs(tokens(ROWS, TIME)).logits
    for out in (output, expected):
        weighed_sum(out).backward()
    pairs = paired(named_gradients(ours), gpt_tensors(named_gradients(theirs), theirs.config.to_dict()))
    return compared("GPT", "transformers.GPT2LMHeadModel", "logits", [(output, expected)], pairs)


def greedy_tokens() -> Parity:
    """What both say after prompts of different beginnings, through their caches."""
    ours, theirs = talking_pair()
    prompts = tokens(ROWS * 4, 5, seed=2)
    said = torch.tensor(sample(ours, prompts.tolist(), max_new_tokens=NEW, top_k=1))
    generated = theirs.generate(
        prompts, max_new_tokens=NEW, do_sample=False, eos_token_id=None, pad_token_id=0,
        attention_mask=torch.ones_like(prompts),
    )[:, 5:]  # fmt: skip
    what = f"{NEW} tokens after each of {len(prompts)} prompts"
    return compared("GPT, greedy", "transformers generate", what, [(said.float(), generated.float())])
