"""What a test is asked to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, TypedDict, cast

from lmstrix.engine.filler import Document
from lmstrix.engine.questions import OwnQuestion
from lmstrix.engine.strategy import (
    OpenStrategy,
    SearchSpace,
    Strategy,
    check_strategy,
    open_strategy,
)
from lmstrix.errors import RequestError
from lmstrix.values import Fingerprint, LoadConfig, Proof

PASSES: Final[Mapping[Proof, Proof]] = {
    Proof.LOAD: Proof.LOAD,
    Proof.ANSWER: Proof.ANSWER,
    Proof.FILL: Proof.ANSWER,
    Proof.RECALL: Proof.ANSWER,
}
"""The proof that a search goes by: a short question is cheap, a full window is not.

Loading alone would not do: answering takes a few MiB more, which are missing at the limit.
"""


class PlanOptions(TypedDict, total=False):
    """What a caller may say of a test; what is left out is as in `TestPlan`.

    `context` 0 searches; `kv_type` is the type of the KV cache, such as `q8_0`; `memory_budget` is
    the most bytes that one loaded model may take; `prompt` and `expect` go together: a question,
    and what its answer must contain. With `dry_run` nothing is loaded: only the forecast is made.
    """

    context: int
    proof: Proof | str
    strategy: str
    threshold: int
    granularity: int
    kv_type: str | None
    memory_budget: int | None
    timeout_s: float
    prompt: str
    expect: str
    document: Document
    min_tps: float | None
    force: bool
    reset: bool
    unload_others: bool
    dry_run: bool


@dataclass(frozen=True, kw_only=True)
class TestPlan:
    """How to test a model. Contexts are in tokens, the budget is in bytes, times in seconds.

    Attributes:
        proof: How much each passing probe proves.
        strategy: The rule that chooses the next context.
        others: Strategies of other packages, by name.
        context: One probe at this context and no search; None searches.
        threshold: No probe is larger, before a measured line or a pass that large clears more.
        granularity: Precision of the search.
        config: How the model is loaded.
        chosen_budget: Most memory that the user allows one loaded model; part of the fingerprint.
        timeout_s: Longest a load may last.
        stall_s: Longest silence while generating; as `timeout_s` if None.
        question: What the user wants asked instead of our own short questions.
        document: What a window is filled with.
        min_tps: Slowest generation, in tokens a second, that counts as usable at speed.
        force: Also probe at and above sizes at which an earlier probe was interrupted.
        reset: Measure afresh: no interrupted search is resumed, no stale limit trusted.
        unload_others: Whether copies that others loaded may be unloaded to make room.
    """

    __test__ = False  # pytest: a plan, not a test class

    proof: Proof = Proof.FILL
    strategy: str = "certify"
    others: Mapping[str, OpenStrategy] = field(default_factory=dict)
    context: int | None = None
    threshold: int = 102_400
    granularity: int = 1_024
    config: LoadConfig = field(default_factory=LoadConfig)
    chosen_budget: int | None = None
    timeout_s: float = 600.0
    stall_s: float | None = None
    question: OwnQuestion | None = None
    document: Document = "prose"
    min_tps: float | None = None
    force: bool = False
    reset: bool = False
    unload_others: bool = False

    def open_strategy(self, space: SearchSpace) -> Strategy:
        """Return the plan's strategy, ready to search `space`.

        Raises:
            RequestError: There is no strategy of that name.
        """
        return open_strategy(self.strategy, space, self.others)

    def conditions(self, fingerprint: Fingerprint) -> Fingerprint:
        """Return `fingerprint` with what the user chose: a budget, a question of their own."""
        asked = None if self.question is None else str((self.question.text, self.question.expect))
        chosen = {"budget_bytes": self.chosen_budget, "question": asked}
        return fingerprint.model_copy(update=chosen)

    @property
    def searching(self) -> Proof:
        """The proof that the search itself goes by."""
        return PASSES[self.proof]


def plan_of(
    options: PlanOptions, *, others: Mapping[str, OpenStrategy], budget: int | None
) -> TestPlan:
    """Return the plan that `options` describe.

    Args:
        options: What was asked for.
        others: Strategies of other packages, by name.
        budget: The memory budget, in bytes, if the options name none.

    Raises:
        RequestError: The options contradict each other, or a value is none that there is.
    """
    prompt, expect = options.get("prompt", ""), options.get("expect", "")
    if bool(prompt.strip()) != bool(expect.strip()):
        raise RequestError(
            "a question of your own needs the answer to expect, and the other way round",
            hint='`--prompt "What is the capital of France?" --expect Paris`',
        )
    for name in ("timeout_s", "min_tps"):
        value = cast("float | None", options.get(name))
        if value is not None and not value > 0:  # which is true of "not a number" too
            raise RequestError(f"`{name}` is a number above 0, not {value}")
    check_strategy(options.get("strategy", TestPlan.strategy), others)
    known = {field.name for field in fields(TestPlan)}
    taken: dict[str, Any] = {name: value for name, value in options.items() if name in known}
    return TestPlan(
        **taken
        | {
            "proof": _proof(options.get("proof", Proof.FILL)),
            "others": others,
            "context": options.get("context") or None,
            "config": LoadConfig(kv_type=options.get("kv_type")),
            "chosen_budget": options.get("memory_budget") or budget,
            "question": OwnQuestion(text=prompt, expect=expect) if prompt else None,
        }
    )


def _proof(word: str) -> Proof:
    if word not in list(Proof):
        listed = ", ".join(f"`{proof}`" for proof in Proof)
        raise RequestError(f"there is no proof `{word}`", hint=f"it is one of {listed}")
    return Proof(word)
