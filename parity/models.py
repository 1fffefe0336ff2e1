"""The whole Transformer beside Hugging Face's Marian and PyTorch's own, what decoders say, and the loss."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import MarianConfig, MarianMTModel

from lectures_lib.data.batching import PairBatch, pair_batch
from lectures_lib.data.vocabulary import BOS_ID, EOS_ID, PAD_ID
from lectures_lib.inference import greedy
from lectures_lib.inference.beam import beam_search
from lectures_lib.losses import next_token_loss
from lectures_lib.models.transformer import Transformer, TransformerConfig
from lectures_lib.pretrained.marian import transformer_tensors
from parity.compare import Parity, compared, named_gradients, paired, shaken, weighed_sum
from parity.layers import of_layer

VOCABULARY, D_MODEL, HEADS, INNER, LAYERS, LENGTH = 30, 32, 4, 48, 2, 40
SENTENCES, LONGEST, TRAINING_STEPS = 60, 14, 60


def token_batch(sentences: int) -> PairBatch:
    """Random sentence pairs of 2 to 9 tokens, without special tokens inside; the same at every call."""
    generator = torch.Generator().manual_seed(2)

    def sentence() -> list[int]:
        length = int(torch.randint(2, 10, (1,), generator=generator))
        return torch.randint(4, VOCABULARY, (length,), generator=generator).tolist()

    return pair_batch([(sentence(), sentence()) for _ in range(sentences)])


def ours_of(*, norm: str = "post", bias: bool = False) -> Transformer:
    """Our Transformer in the size of these checks."""
    sizes = (D_MODEL, HEADS, INNER, LAYERS, LAYERS)
    options = dict(shared_vocabulary=True, max_length=LENGTH, norm=norm, logits_bias=bias)
    return Transformer(TransformerConfig(VOCABULARY, VOCABULARY, *sizes, **options))


def marian_pair() -> tuple[Transformer, MarianMTModel]:
    """Both with equal random weights; special tokens are numbered as ours."""
    sizes = {f"{side}_{name}": size for side in ("encoder", "decoder") for name, size in _MARIAN_SIZES.items()}
    torch.manual_seed(0)
    theirs = MarianMTModel(
        MarianConfig(
            vocab_size=VOCABULARY,
            d_model=D_MODEL,
            max_position_embeddings=LENGTH,
            activation_function="relu",
            scale_embedding=True,
            dropout=0.0,
            pad_token_id=PAD_ID,
            eos_token_id=EOS_ID,
            decoder_start_token_id=BOS_ID,
            forced_eos_token_id=None,
            **sizes,
        )  # fmt: skip
    ).eval()
    shaken(theirs)
    with torch.no_grad():
        theirs.final_logits_bias.normal_()
    return _with_weights_of(theirs), theirs


@cache
def talking_pair() -> tuple[Transformer, MarianMTModel]:
    """As `marian_pair`, after some steps of training: a random model says one token for ever, which compares little."""
    _, theirs = marian_pair()
    batch = token_batch(SENTENCES)
    optimizer = torch.optim.Adam(theirs.parameters(), lr=3e-3)
    for _ in range(TRAINING_STEPS):
        logits = theirs(**_source(batch), decoder_input_ids=batch.decoder_input).logits
        loss = F.cross_entropy(logits.flatten(0, 1), batch.decoder_target.flatten(), ignore_index=PAD_ID)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return _with_weights_of(theirs), theirs


def _with_weights_of(theirs: MarianMTModel) -> Transformer:
    ours = ours_of(bias=True).eval()
    ours.load_state_dict(transformer_tensors(theirs.state_dict(), theirs.config.to_dict()))
    return ours


_MARIAN_SIZES = {"layers": LAYERS, "attention_heads": HEADS, "ffn_dim": INNER}


def marian() -> Parity:
    """Logits of teacher forcing beside `MarianMTModel`, with padding in the source."""
    ours, theirs = marian_pair()
    batch = token_batch(6)
    output = ours(batch.source, batch.source_lengths, batch.decoder_input)
    expected = theirs(**_source(batch), decoder_input_ids=batch.decoder_input).logits
    real = batch.decoder_input != PAD_ID  # there, Marian's table gets no gradient
    output, expected = output[real], expected[real]
    for out in (output, expected):
        weighed_sum(out).backward()
    mine = {name: gradient for name, gradient in named_gradients(ours).items() if name != "logits_bias"}
    gradients = {n: p.grad for n, p in theirs.named_parameters() if p.grad is not None}
    mapped = transformer_tensors(gradients, theirs.config.to_dict())
    pairs = paired(mine, {name: mapped[name] for name in mine})
    return compared("Transformer", "transformers.MarianMTModel", "logits", [(output, expected)], pairs)


def torch_transformer(norm: str) -> Parity:
    """Encoder and decoder beside `nn.Transformer`; after post-LN its two extra norms at the ends are removed."""
    torch.manual_seed(0)
    options = dict(dim_feedforward=INNER, dropout=0.0, batch_first=True, norm_first=norm == "pre")
    theirs = shaken(nn.Transformer(D_MODEL, HEADS, LAYERS, LAYERS, **options))
    if norm == "post":
        theirs.encoder.norm = theirs.decoder.norm = None
    ours = ours_of(norm=norm)
    ours.load_state_dict(of_stack(theirs.state_dict()), strict=False)
    batch, scale = token_batch(6), D_MODEL**0.5
    source, target = (
        ours.positions.table[: ids.shape[1]] + scale * ours.embed_target.weight.detach()[ids]
        for ids in (batch.source, batch.decoder_input)
    )
    future = torch.ones(2 * [target.shape[1]], dtype=torch.bool).triu(1)
    empty = batch.source == PAD_ID
    states = theirs(source, target, tgt_mask=future, src_key_padding_mask=empty, memory_key_padding_mask=empty)
    expected = states @ ours.embed_target.weight.detach().T
    output = ours(batch.source, batch.source_lengths, batch.decoder_input)
    for out in (output, expected):
        weighed_sum(out).backward()
    mine = {name: gradient for name, gradient in named_gradients(ours).items() if not name.startswith("embed")}
    pairs = paired(mine, of_stack(named_gradients(theirs)))
    extra = ", without its two extra norms" if norm == "post" else ""
    return compared("Transformer", f"torch.nn.Transformer{extra}", f"logits, {norm}-LN", [(output, expected)], pairs)


def of_stack(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our names for the tensors of a `nn.Transformer`."""
    ours = {}
    for side in ("encoder", "decoder"):
        for n in range(LAYERS):
            prefix = f"{side}.layers.{n}."
            part = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
            ours |= {f"{side}_layers.{n}.{name}": tensor for name, tensor in of_layer(part, side).items()}
        ours |= {
            f"{side}_norm.{kind}": tensors[name]
            for kind in ("weight", "bias")
            if (name := f"{side}.norm.{kind}") in tensors
        }
    return ours


def greedy_tokens() -> Parity:
    """Greedy decoding through our cache beside `generate`."""
    ours, theirs = talking_pair()
    batch = token_batch(SENTENCES)
    said = greedy(ours, batch.source, batch.source_lengths, max_new_tokens=LONGEST)
    generated = theirs.generate(**_asked(batch), num_beams=1)[:, 1:]
    return compared("greedy", "transformers generate", f"tokens of {SENTENCES} sentences", [_as_wide(said, generated)])


def beam_tokens(size: int, alpha: int | float, early_stopping: str | bool = "never") -> Parity:
    """All hypotheses of a beam and their scores beside `generate`, whose penalty is lengthᵅ.

    With its default, `early_stopping=False`, it estimates what a running hypothesis can still reach from its present
    length, and so stops sooner: it may miss a longer sentence that has a better score. "never" is exact, as ours is.
    """
    ours, theirs = talking_pair()
    batch = token_batch(SENTENCES)
    found = beam_search(
        ours, batch.source, batch.source_lengths, beam_size=size, max_new_tokens=LONGEST,
        penalty=lambda length: float(length**alpha),
    )  # fmt: skip
    generated = theirs.generate(
        **_asked(batch), num_beams=size, num_return_sequences=size, length_penalty=float(alpha),
        early_stopping=early_stopping, return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    tokens, expected = _as_wide(found.tokens.flatten(0, 1), generated.sequences[:, 1:])
    clear = ~_nearly_tied(found.scores).flatten()
    pairs = [(tokens[clear], expected[clear]), (found.scores.flatten(), generated.sequences_scores)]
    what = f"tokens and scores of {SENTENCES * size} hypotheses, α = {alpha:g}"
    return compared(f"beam search, beam {size}", "transformers generate", what, pairs)


def _nearly_tied(scores: Tensor) -> Tensor:
    """Which hypotheses have a neighbour as good to rounding: those may change places."""
    close = scores.diff(dim=1).abs() < 1e-5
    return F.pad(close, (1, 0)) | F.pad(close, (0, 1))


def _source(batch: PairBatch) -> dict[str, Tensor]:
    return dict(input_ids=batch.source, attention_mask=(batch.source != PAD_ID).long())


def _asked(batch: PairBatch) -> dict:
    return dict(**_source(batch), max_new_tokens=LONGEST, do_sample=False)


def _as_wide(ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    """Both tables of tokens as floats, with padding after `<eos>` and up to the same width."""
    ended = (theirs == EOS_ID).cumsum(1) - (theirs == EOS_ID).long()  # how many <eos> stand before
    theirs = theirs.masked_fill(ended > 0, PAD_ID)  # `generate` fills a beam's sentences up with <eos>
    width = max(ours.shape[1], theirs.shape[1])
    wide = [F.pad(tokens, (0, width - tokens.shape[1]), value=PAD_ID).float() for tokens in (ours, theirs)]
    return wide[0], wide[1]


def label_smoothing(epsilon: float) -> Parity:
    """`next_token_loss` with its own gradient beside `nn.CrossEntropyLoss`."""
    target = token_batch(6).decoder_target
    generator = torch.Generator().manual_seed(3)
    logits = 3 * torch.randn(*target.shape, VOCABULARY, generator=generator)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    total, _ = next_token_loss(ours, target, padding=PAD_ID, label_smoothing=epsilon)
    judge = nn.CrossEntropyLoss(ignore_index=PAD_ID, reduction="sum", label_smoothing=epsilon)
    expected = judge(theirs.flatten(0, 1), target.flatten())
    for loss in (total, expected):
        loss.backward()
    reference = f"torch.nn.CrossEntropyLoss(label_smoothing={epsilon:g})"
    gradients = {"logits": (ours.grad, theirs.grad)}
    return compared("next_token_loss", reference, "sum over a batch", [(total, expected)], gradients)
