"""The parity checks of speech would notice a mistake."""

import pytest
import torch
from torch import nn

from lectures_lib.losses import contrastive
from lectures_lib.models import transformer_tts as tts
from lectures_lib.models import wav2vec2
from parity import speech_models
from parity.__main__ import CHECKS, TOLERANCE


def no_norm_after_the_first_convolution(monkeypatch):
    def wrong(self, audio):
        x = audio.unsqueeze(1)
        for convolution in self.convolutions:
            x = torch.nn.functional.gelu(convolution(x))
        return x.transpose(1, 2)

    monkeypatch.setattr(wav2vec2.FeatureEncoder, "forward", wrong)


def codes_from_features_that_are_not_normalised(monkeypatch):
    def wrong(self, features, temperature=1.0):
        return self.quantizer(features, temperature)

    monkeypatch.setattr(wav2vec2.Wav2Vec2ForPretraining, "codes", wrong)


def positions_one_frame_late(monkeypatch):
    def wrong(self, x):
        return x + torch.nn.functional.gelu(self.convolution(x.transpose(1, 2))[:, :, 1:]).transpose(1, 2)

    monkeypatch.setattr(wav2vec2.ConvolutionalPositions, "forward", wrong)


def gaps_after_the_positions(monkeypatch):
    right = wav2vec2.Wav2Vec2.contextualise
    monkeypatch.setattr(
        wav2vec2.Wav2Vec2, "contextualise", lambda self, f, lengths=None, masked=None: right(self, f, lengths)
    )


def punished_for_the_truth(monkeypatch):
    never = lambda targets, distractors: torch.zeros(distractors.shape, dtype=torch.bool)  # noqa: E731
    monkeypatch.setattr(contrastive, "_same_as_own", never)


def diversity_over_all_frames(monkeypatch):
    right = contrastive.diversity_loss
    monkeypatch.setattr(contrastive, "diversity_loss", lambda probabilities, masked=None: right(probabilities))


def another_temperature(monkeypatch):
    right = wav2vec2.GumbelQuantizer.forward
    monkeypatch.setattr(wav2vec2.GumbelQuantizer, "forward", lambda self, features, t=1.0: right(self, features, 1.0))


def another_letter_for_the_blank(monkeypatch):
    right = speech_models.ctc_loss
    monkeypatch.setattr(speech_models, "ctc_loss", lambda *a: right(*a, blank=4))


def positions_that_cannot_be_scaled(monkeypatch):
    def wrong(self, x, start=0):
        return super(tts.ScaledPositions, self).forward(x, start) + 0 * self.scale

    monkeypatch.setattr(tts.ScaledPositions, "forward", wrong)


def a_bend_in_the_last_convolution(monkeypatch):
    right = tts.PostNet.__init__

    def wrong(self, config):
        right(self, config)
        self.convolutions[-1].activation = nn.Tanh()

    monkeypatch.setattr(tts.PostNet, "__init__", wrong)


def padding_in_the_batch_statistics(monkeypatch):
    def wrong(self, x, present=None):
        return nn.BatchNorm1d.forward(self, x)

    monkeypatch.setattr(tts.MaskedBatchNorm, "forward", wrong)


def stop_signs_that_weigh_as_little_as_the_rest(monkeypatch):
    right = speech_models.spectrogram_loss
    monkeypatch.setattr(speech_models, "spectrogram_loss", lambda *a: right(*a, stop_weight=1))


def a_narrower_diagonal(monkeypatch):
    right = speech_models.guided_attention_loss
    monkeypatch.setattr(speech_models, "guided_attention_loss", lambda *a: right(*a, width=0.3))


@pytest.mark.parametrize(
    ("mistake", "check"),
    [
        (no_norm_after_the_first_convolution, "wav2vec2-ctc"),
        (codes_from_features_that_are_not_normalised, "wav2vec2-pretraining"),
        (positions_one_frame_late, "wav2vec2-ctc"),
        (gaps_after_the_positions, "wav2vec2-pretraining"),
        (diversity_over_all_frames, "wav2vec2-pretraining"),
        (another_temperature, "wav2vec2-pretraining"),
        (punished_for_the_truth, "wav2vec2-duplicates"),
        (punished_for_the_truth, "info-nce"),
        (another_letter_for_the_blank, "wav2vec2-ctc"),
        (positions_that_cannot_be_scaled, "tts-prenet"),
        (a_bend_in_the_last_convolution, "tts-post-net"),
        (padding_in_the_batch_statistics, "tts-post-net"),
        (stop_signs_that_weigh_as_little_as_the_rest, "tts-losses"),
        (a_narrower_diagonal, "tts-losses"),
    ],
)
def test_a_planted_mistake_is_noticed(mistake, check, monkeypatch):
    mistake(monkeypatch)
    assert CHECKS[check]().worst > 10 * TOLERANCE


def test_half_of_the_distractors_are_the_truth_where_codes_are_few():
    """Or that check would compare less than it says."""
    ours, _ = speech_models.pretraining_pair(2)
    masked, distractors, _ = speech_models.gaps(ours.config.frames(speech_models.audio().shape[1]))
    targets = ours.eval()(speech_models.audio(), masked).targets[masked]
    share = contrastive._same_as_own(targets, distractors).float().mean()
    assert 0.2 < share < 0.8
