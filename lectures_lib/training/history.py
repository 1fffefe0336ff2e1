"""What happened during a training run, for plots and for the record."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class History:
    """Numbers by step. `loss[i]` is the mean training loss since the entry before, at step `step[i]`.

    `validation` holds (step, measurements) pairs; `seconds[i]` is the time since training began, without interruptions.
    """

    step: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    gradient_norm: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    validation: list[tuple[int, dict[str, float]]] = field(default_factory=list)

    def as_dict(self) -> dict:
        """Everything as JSON can hold it."""
        return {
            "step": self.step,
            "loss": self.loss,
            "gradient_norm": self.gradient_norm,
            "seconds": self.seconds,
            "validation": [[step, dict(values)] for step, values in self.validation],
        }

    @classmethod
    def from_dict(cls, values: dict) -> History:
        """The history that `as_dict` wrote down."""
        history = cls(**{**values, "validation": [(step, dict(v)) for step, v in values["validation"]]})
        return history
