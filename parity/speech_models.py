"""wav2vec 2.0 beside Hugging Face's, the edges of Transformer TTS beside SpeechT5's, and their losses."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import SpeechT5Config, Wav2Vec2ForCTC, Wav2Vec2ForPreTraining
from transformers import Wav2Vec2Config as TheirConfig
from transformers.models.speecht5 import modeling_speecht5 as speecht5

from lectures_lib.losses.contrastive import info_nce_loss, wav2vec2_loss
from lectures_lib.losses.speech import ctc_loss, guided_attention_loss, spectrogram_loss
from lectures_lib.models import transformer_tts as tts
from lectures_lib.models import wav2vec2
from lectures_lib.pretrained.wav2vec2 import ctc_tensors, pretraining_tensors, wav2vec2_config
from parity.compare import Parity, compared, named_gradients, paired, shaken, weighed_sum

LETTERS, BANDS = 9, 6


def their_config(codes: int) -> TheirConfig:
    """Small, with the Base model's structure and no dropout of any kind."""
    off = ("hidden", "attention", "activation", "feat_proj", "feat_quantizer", "final")
    return TheirConfig(
        vocab_size=LETTERS, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        conv_dim=(12, 16, 20), conv_kernel=(10, 3, 2), conv_stride=(5, 2, 2), num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2, num_codevector_groups=2, num_codevectors_per_group=codes, codevector_dim=24,
        proj_codevector_dim=14, layerdrop=0.0, pad_token_id=0, ctc_loss_reduction="sum",
        **{f"{name}_dropout": 0.0 for name in off},
    )  # fmt: skip


def audio(samples: int = 700) -> Tensor:
    """Two waveforms of one length, since padding changes what the first layer's GroupNorm sees."""
    return torch.randn(2, samples, generator=torch.Generator().manual_seed(1))


def pretraining_pair(codes: int) -> tuple[wav2vec2.Wav2Vec2ForPretraining, Wav2Vec2ForPreTraining]:
    """Both with equal random weights."""
    torch.manual_seed(0)
    theirs = shaken(Wav2Vec2ForPreTraining(their_config(codes)))
    ours = wav2vec2.Wav2Vec2ForPretraining(wav2vec2_config(theirs.config.to_dict()))
    ours.load_state_dict(pretraining_tensors(theirs.state_dict(), ours))
    return ours, theirs


def gaps(frames: int) -> tuple[Tensor, Tensor, Tensor]:
    """Masked frames, our distractors for them, and the same distractors as `transformers` numbers them."""
    generator = torch.Generator().manual_seed(3)
    masked = wav2vec2.span_mask(2, frames, start_share=0.15, span=3, generator=generator)
    ours = wav2vec2.draw_distractors(masked, 6, generator=generator)
    theirs = torch.zeros(2, frames, 6, dtype=torch.long)
    theirs[masked] = masked.flatten().nonzero().squeeze(1)[ours]
    return masked, ours, theirs


def pretraining(*, training: bool) -> Parity:
    """Context, targets and loss of a pretraining step beside `Wav2Vec2ForPreTraining`.

    While training, both draw the same Gumbel noise, from one seed. Otherwise the codes are so few that many distractors
    are the truth itself, and must not count; then nothing is differentiated through the choice.
    """
    ours, theirs = pretraining_pair(40 if training else 2)
    temperature = 0.8
    theirs.set_gumbel_temperature(temperature)
    frames = ours.config.frames(audio().shape[1])
    masked, distractors, their_distractors = gaps(frames)
    for model in (ours, theirs):
        model.train(training)
    torch.manual_seed(5)
    expected = theirs(audio(), mask_time_indices=masked, sampled_negative_indices=their_distractors)
    torch.manual_seed(5)
    output = ours(audio(), masked, temperature)
    diversity = 0.1 if training else 0  # outside training, theirs counts choices where the paper has probabilities
    loss, _ = wav2vec2_loss(*output, masked, distractors, penalty=0, diversity=diversity)
    their_loss = expected.loss if training else expected.contrastive_loss
    for total in (loss, their_loss):
        total.backward()
    forward = [
        (output.context, expected.projected_states),
        (output.targets, expected.projected_quantized_states),
        (loss, their_loss),
    ]
    gradients = paired(_all_gradients(ours), pretraining_tensors(_all_gradients(theirs), ours))
    what = (
        "context, targets, loss; drawn codes" if training else "context, targets, loss; distractors that are the truth"
    )
    return compared("Wav2Vec2ForPretraining", "transformers.Wav2Vec2ForPreTraining", what, forward, gradients)


def spelling() -> Parity:
    """Logits and CTC loss beside `Wav2Vec2ForCTC`."""
    torch.manual_seed(0)
    theirs = shaken(Wav2Vec2ForCTC(their_config(4))).eval()
    ours = wav2vec2.Wav2Vec2ForCTC(wav2vec2.Wav2Vec2(wav2vec2_config(theirs.config.to_dict())), LETTERS).eval()
    ours.load_state_dict(ctc_tensors(theirs.state_dict(), ours))
    labels, lengths = torch.tensor([[3, 3, 5, 1], [8, 2, 0, 0]]), torch.tensor([4, 2])
    real = torch.arange(4) < lengths.unsqueeze(1)
    expected = theirs(audio(), labels=labels.masked_fill(~real, -100))
    logits = ours(audio())
    loss, _ = ctc_loss(logits, torch.full((2,), logits.shape[1]), labels, lengths)
    for total in (loss, expected.loss):
        total.backward()
    forward = [(logits, expected.logits), (loss, expected.loss)]
    gradients = paired(_all_gradients(ours), ctc_tensors(_all_gradients(theirs), ours))
    return compared("Wav2Vec2ForCTC", "transformers.Wav2Vec2ForCTC", "logits and CTC loss", forward, gradients)


def _all_gradients(model: nn.Module) -> dict[str, Tensor]:
    """The gradients, zeros where a parameter had no part in the result."""
    return {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in model.named_parameters()}


def info_nce() -> Parity:
    """`info_nce_loss` beside the formula, one distractor at a time, some of which are the truth."""
    generator = torch.Generator().manual_seed(2)
    context, targets = torch.randn(2, 7, 8, generator=generator)
    targets[3] = targets[0]
    distractors = torch.randint(1, 7, (7, 4), generator=generator)
    distractors = (torch.arange(7).unsqueeze(1) + distractors) % 7
    distractors[0, 0] = 3
    ours = [x.clone().requires_grad_() for x in (context, targets)]
    theirs = [x.clone().requires_grad_() for x in (context, targets)]
    total, _ = info_nce_loss(*ours, distractors, temperature=0.2)
    expected = torch.zeros(())
    for row, chosen in enumerate(distractors.tolist()):

        def score(i: int, row: int = row) -> Tensor:
            return torch.cosine_similarity(theirs[0][row], theirs[1][i], dim=0) / 0.2

        strangers = [score(i).exp() for i in chosen if not torch.equal(theirs[1][i], theirs[1][row])]
        expected = expected + (score(row).exp() + sum(strangers)).log() - score(row)
    total.backward()
    expected.backward()
    gradients = {name: (a.grad, b.grad) for name, a, b in zip(("context", "targets"), ours, theirs, strict=True)}
    source = "the formula in loops (Baevski et al. 2020, equation 3)"
    return compared("info_nce_loss", source, "sum over masked steps", [(total, expected)], gradients)


# Transformer TTS


def their_tts() -> SpeechT5Config:
    """Small, without dropout."""
    return SpeechT5Config(
        hidden_size=16, num_mel_bins=BANDS, reduction_factor=2, speech_decoder_prenet_units=12,
        speech_decoder_prenet_layers=2, speech_decoder_postnet_units=10, speech_decoder_postnet_layers=5,
        speech_decoder_postnet_kernel=5, speech_decoder_postnet_dropout=0.0, positional_dropout=0.0,
        max_speech_positions=30, guided_attention_loss_sigma=0.4, use_guided_attention_loss=False,
    )  # fmt: skip


def our_tts() -> tts.TTSConfig:
    """The same sizes."""
    return tts.TTSConfig(
        8, BANDS, 16, 2, 24, 1, 1, d_prenet=12, d_post=10, n_post_convolutions=5, frames_per_step=2,
        prenet_dropout=0.0, convolution_dropout=0.0, max_length=30,
    )  # fmt: skip


def tts_prenet() -> Parity:
    """`DecoderPrenet` and `ScaledPositions` beside SpeechT5's, without dropout (theirs keeps what it should drop)."""
    torch.manual_seed(0)
    theirs = shaken(speecht5.SpeechT5SpeechDecoderPrenet(their_tts()))
    theirs._consistent_dropout = lambda x, p: x
    ours = nn.ModuleDict({"prenet": tts.DecoderPrenet(our_tts()), "positions": tts.ScaledPositions(30, 16)})
    names = {"prenet.first": "layers.0", "prenet.second": "layers.1", "prenet.project": "final_layer"}
    names = {f"{mine}.{kind}": f"{other}.{kind}" for mine, other in names.items() for kind in ("weight", "bias")}
    names["positions.scale"] = "encode_positions.alpha"
    state = theirs.state_dict()
    ours.load_state_dict({mine: state[other] for mine, other in names.items()})
    frames = torch.randn(2, 9, BANDS, generator=torch.Generator().manual_seed(1))
    output, expected = ours["positions"](ours["prenet"](frames)), theirs(frames)
    for out in (output, expected):
        weighed_sum(out).backward()
    their_gradients = named_gradients(theirs)
    gradients = paired(named_gradients(ours), {mine: their_gradients[other] for mine, other in names.items()})
    reference = "transformers SpeechT5SpeechDecoderPrenet, without dropout"
    return compared("DecoderPrenet, ScaledPositions", reference, "output", [(output, expected)], gradients)


def post_net() -> Parity:
    """`PostNet` beside SpeechT5's, while training: output, and the batch statistics that are kept."""
    torch.manual_seed(0)
    theirs = shaken(speecht5.SpeechT5SpeechDecoderPostnet(their_tts())).train()
    ours = tts.PostNet(our_tts()).train()

    def renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        layers = {name.removeprefix("layers."): t for name, t in tensors.items() if name.startswith("layers.")}
        mine = {"conv.": "convolution.", "batch_norm.": "norm."}
        for old, new in mine.items():
            layers = {name.replace(old, new): tensor for name, tensor in layers.items()}
        return {f"convolutions.{name}": tensor for name, tensor in layers.items()}

    ours.load_state_dict(renamed(theirs.state_dict()))
    frames = torch.randn(3, 11, BANDS, generator=torch.Generator().manual_seed(1))
    # Once as they come, and once as the real frames of a longer, padded batch.
    padded = F.pad(frames, (0, 0, 0, 4), value=7.0)
    present = (torch.arange(15) < 11).expand(3, 1, 15)
    output, expected = ours(padded, present)[:, :11], theirs.postnet(frames)
    for out in (output, expected):
        weighed_sum(out).backward()
    kept = [(ours.state_dict()[name], tensor) for name, tensor in renamed(dict(theirs.named_buffers())).items()]
    forward = [(output, expected), *((mine.float(), other.float()) for mine, other in kept)]
    gradients = paired(named_gradients(ours), renamed(named_gradients(theirs)))
    what = "output and kept statistics, with padding on our side"
    return compared("PostNet", "transformers SpeechT5SpeechDecoderPostnet", what, forward, gradients)


def tts_losses() -> Parity:
    """`spectrogram_loss` and `guided_attention_loss` beside SpeechT5's; theirs lacks the square errors, added here."""
    generator = torch.Generator().manual_seed(4)
    before, after, target = torch.randn(3, 2, 8, BANDS, generator=generator)
    stop, scores = torch.randn(2, 8, generator=generator), torch.randn(2, 3, 8, 5, generator=generator)
    lengths, letters = torch.tensor([8, 5]), torch.tensor([5, 3])
    real, letter = torch.arange(8) < lengths[:, None], torch.arange(5) < letters[:, None]
    config = their_tts()
    ours, theirs = ([x.clone().requires_grad_() for x in (before, after, stop, scores)] for _ in range(2))

    total, frames = spectrogram_loss(*ours[:3], target, lengths)
    off, looked = guided_attention_loss(ours[3].softmax(-1), lengths, letters)
    mine = (total / frames, off / looked)

    labels = target.masked_fill(~real[..., None], -100.0)
    drawn = speecht5.SpeechT5SpectrogramLoss(config)(letter.long(), *theirs[:3], labels)
    squares = sum(F.mse_loss(guess[real], target[real]) for guess in theirs[:2])
    guide = speecht5.SpeechT5GuidedMultiheadAttentionLoss(config)
    other = (drawn + squares, guide(theirs[3].softmax(-1), letter, real) / config.guided_attention_loss_scale)
    for losses in (mine, other):
        (losses[0] + 100 * losses[1]).backward()
    names = ("before", "after", "stop", "attention scores")
    gradients = {name: (a.grad, b.grad) for name, a, b in zip(names, ours, theirs, strict=True)}
    reference = "transformers SpeechT5SpectrogramLoss plus square errors, its guided attention loss"
    return compared(
        "spectrogram_loss, guided_attention_loss", reference, "means over a padded batch",
        list(zip(mine, other, strict=True)), gradients,
    )  # fmt: skip
