"""The arguments that several tools take, as a model reads of them."""

from typing import Annotated, Literal

from pydantic import Field

ModelName = Annotated[
    str, Field(min_length=1, description="The model's key, or any part of it that no other has.")
]
Words = Annotated[
    str, Field(description="Words to find in key, architecture, size or quantization.")
]
ProofWord = Annotated[
    Literal["load", "answer", "fill", "recall"],
    Field(
        description="What a probe must show: that the model loads; answers a short question; "
        "answers with its whole window filled; finds facts that are spread over the full window."
    ),
]
Threshold = Annotated[
    int,
    Field(
        ge=1,
        description="No probe is larger than this, in tokens, until measurements say that more "
        "is safe.",
    ),
]
UnloadOthers = Annotated[
    bool,
    Field(
        description="Also unload models that the user or another program has loaded, to make "
        "room; they are loaded again afterwards. Ask the user first."
    ),
]
DryRun = Annotated[
    bool,
    Field(
        description="Load nothing: only forecast, at most how many probes, tokens, seconds and "
        "bytes it would take."
    ),
]
Wait = Annotated[
    float,
    Field(
        ge=0,
        le=3_600,
        description="Seconds to wait for the end before answering with a job to follow. Keep it "
        "under the time your host allows a call, often 60.",
    ),
]
