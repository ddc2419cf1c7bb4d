"""What a fake model is like: its memory law, its hidden limits, its failures, its answers."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from lmstrix.ports import Prompt
from lmstrix.values import Model, Outcome

# A word is cut every six letters and a number every three digits: like a real tokenizer, tokens
# do not map to words one to one, and joining two texts may change the count by a token or two.
_PIECE: Final = re.compile(r" ?[^\W\d_]{1,6}|\d{1,3}|\s|.", re.DOTALL)
_SUBJECT: Final = r"access code of the ([a-z]+(?: [a-z]+)?)"
_FACT: Final = re.compile(rf"The {_SUBJECT} is (\d{{7}})")
_ASKED: Final = re.compile(rf"{_SUBJECT}(?:\?| is(?! \d))")
TEMPLATE_TOKENS: Final = 7
"""What the fake chat template adds to a prompt, in tokens; a raw prompt gets one for its start."""


def pieces(text: str) -> Sequence[str]:
    """Return `text` cut into the fake's tokens; joined they are the text again."""
    return _PIECE.findall(text)


def count_pieces(prompt: Prompt) -> int:
    """Return how many tokens the fake sees for `prompt`, its template or start token included."""
    extra = TEMPLATE_TOKENS if prompt.chat else 1
    return len(pieces(prompt.system)) + len(pieces(prompt.text)) + extra


def recite(text: str) -> str:
    """Return the code asked for at the end of `text`, if `text` tells it: a perfect reader."""
    asked = _ASKED.findall(text)
    known = dict(_FACT.findall(text))
    return f" {known[asked[-1]]}." if asked and asked[-1] in known else " I do not know."


@dataclass(frozen=True, kw_only=True)
class FakeModel:
    """A model whose copy takes `fixed_bytes + bytes_per_token * context` of memory once loaded.

    Contexts are in tokens. `fails_load`, `fails_answer` and `fails_fill` say how a load, an answer,
    or an answer to a prompt that fills more than half the window ends at exactly that context;
    `passed` there is no failure.
    """

    key: str = "fake"
    declared: int | None = 131_072
    fixed_bytes: int = 1 << 30
    bytes_per_token: int = 64 << 10
    filling: int = 0
    """What each token takes on top once it is read, in bytes."""
    rounds_to: int = 1
    """Contexts are rounded up to a multiple of this, as llama.cpp does to 256."""
    resizes_to: int | None = None
    """No copy gets a larger context than this, whatever was asked for."""
    refused_above: int | None = None
    """The guardrail: larger contexts are refused, whatever memory there is."""
    admits: int | None = None
    """Longest prompt that is not refused as too long, whatever context the copy claims."""
    holds: int | None = None
    """Longest prompt that a copy survives; a longer one crashes it."""
    understands: int | None = None
    """Longest prompt that is answered rightly."""
    remembers: int | None = None
    """A fact told farther than so many tokens from the end of the prompt is not found."""
    sees: int | None = None
    """Longest prompt that is not cut, silently, at its start."""
    fails_load: Mapping[int, Outcome] = field(default_factory=dict)
    fails_answer: Mapping[int, Outcome] = field(default_factory=dict)
    fails_fill: Mapping[int, Outcome] = field(default_factory=dict)
    chat_template: bool = True
    default_context: int = 4_096
    """What the runtime chooses when no context is asked for."""
    counts_memory: bool = True
    counts_prompt: bool = True
    """Whether it tells the memory it takes, and how many tokens it was given."""
    tells_prior: bool = False
    """Whether its memory law can be read from its file."""
    reply: Callable[[str], str] = recite

    def memory_bytes(self, context: int, read: int = 0) -> int:
        """Return what a copy of that context takes once so many tokens were read, in bytes."""
        return self.fixed_bytes + self.bytes_per_token * context + self.filling * read

    def fate(self, context: int, prompt_tokens: int) -> Outcome:
        """Return how an answer to so long a prompt ends."""
        if self.holds is not None and prompt_tokens > self.holds:
            return Outcome.CRASHED
        if 2 * prompt_tokens > context and context in self.fails_fill:
            return self.fails_fill[context]
        if self.understands is not None and prompt_tokens > self.understands:
            return Outcome.WRONG_ANSWER
        return self.fails_answer.get(context, Outcome.PASSED)

    def effective(self, asked: int) -> int:
        """Return the context that a copy gets when `asked` is asked for."""
        rounded = -(-asked // self.rounds_to) * self.rounds_to
        return min(rounded, self.resizes_to or rounded)

    def described(self, backend: str) -> Model:
        """Return the model as its runtime lists it."""
        return Model(
            key=self.key,
            backend=backend,
            path=f"/models/{self.key}.gguf",
            format="gguf",
            architecture="fake",
            size_bytes=self.fixed_bytes,
            declared_context=self.declared,
        )
