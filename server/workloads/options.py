"""What can be asked of a workload: options with defaults and bounds, and the clipper's first configuration."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator
from pydantic.json_schema import SkipJsonSchema

from clipcore.knobs import Knob, knobs_by_name
from clipcore.rules import RULES
from clipcore.settings import Settings
from clipcore.wire import decode_number
from server.protocol import MAX_COUNT
from server.wording import first_error_line


class Change(BaseModel):
    """A patch of the clipper's configuration, and the first step that obeys it."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")

    step: int = Field(ge=1, le=MAX_COUNT)
    patch: dict[str, JsonValue]

    @field_validator("patch")
    @classmethod
    def _decoded(cls, patch: dict[str, JsonValue]) -> dict[str, JsonValue]:
        return {name: decode_number(value) for name, value in patch.items()}


class Options(BaseModel):
    """The options of every workload; any further one belongs to the clipper, such as `max_norm`.

    Attributes:
        first_max_norm: the bound that mode norm starts with in this workload, unless another is asked for.
    """

    model_config = ConfigDict(
        extra="allow", frozen=True, ser_json_inf_nan="strings", field_title_generator=lambda name, _: name
    )
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)

    first_max_norm: ClassVar[float] = 1.0

    steps: int = Field(20_000, ge=1, le=MAX_COUNT, description="training steps, after which the run is finished")
    lr: float = Field(1e-3, gt=0, allow_inf_nan=False, description="learning rate after the warm-up")
    warmup: int = Field(0, ge=0, description="steps over which the learning rate rises linearly from 0")
    batch: int = Field(16, ge=1, le=4096, description="windows of text a step")
    context: int = Field(64, ge=2, le=4096, description="characters a window")
    seed: int = Field(0, ge=0, le=MAX_COUNT, description="of the first weights and of the text's order")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto takes CUDA when there is one")
    threads: int = Field(1, ge=1, le=256, description="CPU threads; with the same number a run repeats exactly")
    verify_steps: int = Field(
        0,
        ge=0,
        description="for so many first steps, compute the clipped gradients' norm anew and log it as verify_norm",
    )
    schedule: SkipJsonSchema[tuple[Change, ...]] = Field(
        (), description="changes of the clipping, in their steps' order"
    )
    mode: str = Field("norm", description="clipping to start with", json_schema_extra={"enum": list(RULES)})

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> Self:
        """Options as asked for; NaN and infinities may come as the wire's strings.

        Raises:
            ValueError: one of them is not allowed; the sentence names it, the rule and the value.
        """
        given = {name: decode_number(value) for name, value in config.items()}
        if given.get("mode", "norm") == "norm":
            given = {"max_norm": cls.first_max_norm, **given}
        try:
            options = cls.model_validate(given)
        except ValidationError as error:
            raise ValueError(first_error_line(error.errors())) from error
        options._check_device()
        options._check_clipping()
        return options

    @classmethod
    def full_schema(cls) -> dict[str, Any]:
        """JSON Schema of these options and of mode norm's bound."""
        schema = cls.model_json_schema()
        bound = next(parameter for parameter in RULES["norm"].parameters if parameter.name == "max_norm")
        schema["properties"]["max_norm"] = bound.schema() | {"default": cls.first_max_norm}
        return schema

    @property
    def clipping(self) -> dict[str, Any]:
        """The clipper's first configuration."""
        return {"mode": self.mode, **self.__pydantic_extra__}

    def _check_device(self) -> None:
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device must be auto or cpu on a machine without a CUDA device, got 'cuda'")

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """What of the training may be changed beside the clipping."""
        return (Knob("lr", self.lr, "learning rate after the warm-up", above_minimum=True),)

    def _check_clipping(self) -> None:
        settings = Settings(knobs=knobs_by_name(self.knobs)).patched({"mode": self.mode})
        allowed = dict.fromkeys([*type(self).model_fields, *settings.config])
        for name in self.__pydantic_extra__.keys() - allowed:
            raise ValueError(f"there is no option {name!r} in mode {self.mode!r}; there are {', '.join(allowed)}")
        try:
            settings = settings.patched(self.__pydantic_extra__)
        except TypeError as error:
            raise ValueError(str(error)) from error
        self._check_schedule(settings)

    def _check_schedule(self, settings: Settings) -> None:
        last = 0
        for change in self.schedule:
            if change.step < last:
                raise ValueError(f"schedule: steps must not fall, got {change.step} after {last}")
            last = change.step
            try:
                settings = settings.patched(change.patch)
            except (TypeError, ValueError) as error:
                raise ValueError(f"schedule, step {change.step}: {error}") from error
