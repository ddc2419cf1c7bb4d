"""A runtime that exists in memory only, and fails when it is told to."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, takewhile

from lmstrix.engine.memory import reserve_bytes, spare_bytes
from lmstrix.errors import (
    BackendUnavailableError,
    GenerationError,
    ModelLoadError,
    PromptTooLongError,
)
from lmstrix.ports import (
    Generation,
    LoadRequest,
    MachineMemory,
    OnTick,
    Prior,
    Prompt,
    Sampling,
    Tick,
)
from lmstrix.testing.clock import FakeClock
from lmstrix.testing.model import FakeModel, count_pieces, pieces
from lmstrix.values import Fingerprint, LoadConfig, LoadedModel, Model, Outcome

LOAD_S = 2.0
PREFILL_TPS = 1_000.0
DECODE_TPS = 50.0


@dataclass(frozen=True, kw_only=True)
class Call:
    """One thing the fake was asked to do."""

    name: str
    """`load`, `complete` or `unload`."""
    identifier: str
    request: LoadRequest | None = None
    prompt: Prompt | None = None
    sampling: Sampling | None = None


class FakeLoaded:
    """One loaded copy of a fake model."""

    def __init__(
        self, backend: "FakeBackend", model: FakeModel, identifier: str, context: int
    ) -> None:
        self.model = model
        self.identifier = identifier
        self.context = context
        self.load_s: float | None = LOAD_S
        self._backend = backend
        self._read: Prompt | None = None
        self._most_read = 0

    @property
    def has_chat_template(self) -> bool:
        """Whether the model brings a chat template."""
        return self.model.chat_template

    def memory_bytes(self) -> int | None:
        """Return what the memory law says, unless the model keeps it to itself."""
        return self.taken if self.model.counts_memory else None

    @property
    def taken(self) -> int:
        """What the memory law says for the context and the longest prompt so far, in bytes."""
        return self.model.memory_bytes(self.context, self._most_read)

    def count_tokens(self, prompt: Prompt) -> int:
        """Return the tokens of `prompt`, its template included."""
        return count_pieces(prompt)

    def complete(
        self, prompt: Prompt, sampling: Sampling, *, stall_s: float, on_tick: OnTick | None = None
    ) -> Generation:
        """Answer from what is left of the prompt once it was cut to what the model sees."""
        self._backend.record(
            Call(name="complete", identifier=self.identifier, prompt=prompt, sampling=sampling)
        )
        asked = count_pieces(prompt)
        room = min(self.context, self.model.admits or self.context)
        if asked >= room:
            raise PromptTooLongError(prompt_tokens=asked, context=room)
        seen = min(asked, self.model.sees or asked)
        cached = self._cached(prompt) if seen == asked else 0
        self._prefill(cached, seen, on_tick)
        self._most_read = max(self._most_read, seen)
        fate = self.model.fate(self.context, seen)
        if self._backend.is_short:
            fate = Outcome.OUT_OF_MEMORY
        self._fail(fate, stall_s)
        self._read = prompt if seen == asked else None
        known = pieces(prompt.text)[asked - seen :][-(self.model.remembers or seen) :]
        return self._say(self._words("".join(known), fate), seen, cached, sampling, on_tick)

    def unload(self) -> None:
        """Release the copy."""
        self._backend.release(self.identifier)

    def _cached(self, prompt: Prompt) -> int:
        """Return how many tokens `prompt` begins with that the last one began with too."""
        last = self._read
        if last is None or (last.chat, last.system) != (prompt.chat, prompt.system):
            return 0
        alike = zip(pieces(last.text), pieces(prompt.text), strict=False)
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], alike))
        # The last token is read again in any case: something must come of it.
        return min(len(pieces(prompt.system)) + 1 + common, count_pieces(prompt) - 1)

    def _prefill(self, cached: int, tokens: int, on_tick: OnTick | None) -> None:
        for done in (cached, (cached + tokens) // 2, tokens):
            self._backend.clock.advance((tokens - cached) / 3 / PREFILL_TPS)
            if on_tick is not None:
                on_tick(Tick(phase="prefill", done=done, total=tokens))

    def _fail(self, fate: Outcome, stall_s: float) -> None:
        if fate is Outcome.UNAVAILABLE:
            raise BackendUnavailableError("the fake runtime went away")
        if fate is Outcome.TIMED_OUT:
            self._backend.clock.advance(stall_s)
        if fate not in {Outcome.PASSED, Outcome.WRONG_ANSWER, Outcome.NO_ANSWER}:
            raise GenerationError("the fake failed", outcome=fate, detail=f"{fate} as told")

    def _words(self, text: str, fate: Outcome) -> str:
        if fate is Outcome.NO_ANSWER:
            return ""
        return " It is 1000001." if fate is Outcome.WRONG_ANSWER else self.model.reply(text)

    def _say(
        self, answer: str, seen: int, cached: int, sampling: Sampling, on_tick: OnTick | None
    ) -> Generation:
        for stop in sampling.stop:
            answer = answer.split(stop, maxsplit=1)[0]
        room = min(sampling.max_tokens, self.context - seen)
        said = pieces(answer)[:room]
        for number, piece in enumerate(said, start=1):
            self._backend.clock.advance(1 / DECODE_TPS)
            if on_tick is not None:
                on_tick(Tick(phase="decode", done=number, total=room, text=piece))
        whole = len(said) == len(pieces(answer))
        return Generation(
            text="".join(said),
            prompt_tokens=seen if self.model.counts_prompt else None,
            completion_tokens=len(said),
            stop_reason="stop" if whole else "length" if room == sampling.max_tokens else "context",
            cached_tokens=cached,
            ttft_s=(seen - cached) / PREFILL_TPS,
            prefill_tps=PREFILL_TPS,
            decode_tps=DECODE_TPS,
        )


class FakeBackend:
    """A runtime of fake models, in a machine with `budget_bytes` of memory to spare.

    Attributes:
        calls: Every load, generation and unload, in order.
        reachable: Set it to False and the runtime is gone.
        clock: Advances by what loads and tokens would take.
    """

    def __init__(
        self,
        *models: FakeModel,
        budget_bytes: int | None = None,
        name: str = "fake",
        clock: FakeClock | None = None,
    ) -> None:
        self.name = name
        self.calls: list[Call] = []
        self.reachable = True
        self.clock = clock or FakeClock()
        self._models = {model.key: model for model in models or (FakeModel(),)}
        self._budget_bytes = budget_bytes
        self._copies: dict[str, FakeLoaded] = {}
        self._numbers = count(1)

    def list_models(self) -> Sequence[Model]:
        """Return the fake models, by key."""
        self._reach()
        return [self._models[key].described(self.name) for key in sorted(self._models)]

    def problems(self) -> Sequence[str]:
        """Return nothing: no fake is passed over."""
        return ()

    def fingerprint(self, model: Model, config: LoadConfig) -> Fingerprint:
        """Return one that differs by model and configuration only."""
        return Fingerprint(
            model=f"{model.key}:{model.size_bytes}",
            runtime=f"{self.name} 1",
            config=config,
            machine="a machine of the mind",
        )

    def prior(self, model: Model, config: LoadConfig) -> Prior | None:  # noqa: ARG002 - the law knows one KV type
        """Return the memory law's slope, if the model tells it beforehand."""
        fake = self._models[model.key]
        if not fake.tells_prior:
            return None
        return Prior(bytes_per_token=fake.bytes_per_token, filling=fake.filling)

    def memory(self) -> MachineMemory | None:
        """Return a machine whose spare memory is the budget less what is loaded now."""
        if self._budget_bytes is None:
            return None
        total = self._budget_bytes
        while total - reserve_bytes(total) < self._budget_bytes:
            total = self._budget_bytes + reserve_bytes(total)
        available = self._budget_bytes + reserve_bytes(total) - self._taken()
        return MachineMemory(total=total, available=available)

    def load(
        self, model: Model, request: LoadRequest, *, on_tick: OnTick | None = None
    ) -> FakeLoaded:
        """Load a copy, if guardrail, script and memory allow it."""
        fake = self._models[model.key]
        identifier = f"{fake.key}:{next(self._numbers)}"
        self.record(Call(name="load", identifier=identifier, request=request))
        self._reach()
        for done in (0.0, 0.5, 1.0):
            self.clock.advance(LOAD_S / 3)
            if on_tick is not None:
                on_tick(Tick(phase="load", done=done, total=1.0))
        context = self._admit(fake, request)
        copy = self._copies[identifier] = FakeLoaded(self, fake, identifier, context)
        return copy

    def loaded(self) -> Sequence[tuple[str, LoadedModel]]:
        """Return the copies loaded now."""
        return [
            (copy.model.key, LoadedModel(identifier=copy.identifier, context=copy.context))
            for copy in self._copies.values()
        ]

    def attach(self, identifier: str) -> FakeLoaded | None:
        """Return the loaded copy of that name, or None."""
        return self._copies.get(identifier)

    def close(self) -> None:
        """Release every copy."""
        for identifier in list(self._copies):
            self.release(identifier)

    def preload(self, key: str, context: int) -> FakeLoaded:
        """Load a copy as somebody else: it has no `load_s`, and is not ours to unload."""
        copy = FakeLoaded(self, self._models[key], f"{key}:theirs{next(self._numbers)}", context)
        copy.load_s = None
        self._copies[copy.identifier] = copy
        return copy

    @property
    def is_short(self) -> bool:
        """Whether more is taken than there is."""
        return self._budget_bytes is not None and self._taken() > self._budget_bytes

    def record(self, call: Call) -> None:
        """Remember `call`."""
        self.calls.append(call)

    def release(self, identifier: str) -> None:
        """Forget a loaded copy; one that is gone already is no error."""
        if self._copies.pop(identifier, None) is not None:
            self.record(Call(name="unload", identifier=identifier))

    def _reach(self) -> None:
        if not self.reachable:
            raise BackendUnavailableError("the fake runtime is not there", hint="start it")

    def _taken(self) -> int:
        return sum(copy.taken for copy in self._copies.values())

    def _admit(self, fake: FakeModel, request: LoadRequest) -> int:
        asked = request.context or fake.default_context
        context = fake.effective(asked)
        outcome = fake.fails_load.get(asked, Outcome.PASSED)
        if outcome is Outcome.PASSED:
            outcome = self._fate(fake, asked, fake.memory_bytes(context), request.budget_bytes)
        if outcome is Outcome.UNAVAILABLE:
            raise BackendUnavailableError("the fake runtime went away")
        if outcome is Outcome.TIMED_OUT:
            self.clock.advance(request.timeout_s)
        if outcome is not Outcome.PASSED:
            raise ModelLoadError(
                f"`{fake.key}` did not load at {asked} tokens",
                outcome=outcome,
                detail=f"{outcome} as told",
            )
        return context

    def _fate(self, fake: FakeModel, asked: int, bytes_taken: int, budget: int | None) -> Outcome:
        """Return what guardrail and memory make of a load that nothing else speaks against."""
        if fake.refused_above is not None and asked > fake.refused_above:
            return Outcome.REFUSED
        memory = self.memory()
        spare = None if memory is None else spare_bytes(memory)
        caps = [cap for cap in (spare, budget) if cap is not None]
        return Outcome.OUT_OF_MEMORY if caps and bytes_taken > min(caps) else Outcome.PASSED
