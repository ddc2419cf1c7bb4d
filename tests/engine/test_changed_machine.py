"""Tests meet a machine that is not what it was: other memory, other runtimes, other probes."""

from dataclasses import replace

import pytest

from engine.benches import Bench, Stop
from engine.test_resuming import contexts, stop_at_probe, tight, updated
from lmstrix.engine.questions import OwnQuestion
from lmstrix.ports import LoadRequest, MachineMemory, OnTick
from lmstrix.testing import FakeBackend, FakeLoaded, FakeModel
from lmstrix.values import Model, Outcome, Proof, Status

MIB, GIB = 1 << 20, 1 << 30


class Swapping(FakeBackend):
    """Loads above 30 000 tokens push 400 MiB of idle pages out once; they stay out."""

    swapped = 0

    def load(
        self, model: Model, request: LoadRequest, *, on_tick: OnTick | None = None
    ) -> FakeLoaded:
        """Load, and swap."""
        if (request.context or 0) > 30_000:
            self.swapped = 400 * MIB
        return super().load(model, request, on_tick=on_tick)

    def memory(self) -> MachineMemory | None:
        """Return the memory with what was swapped out so far."""
        memory = super().memory()
        return memory and replace(memory, swap_total=8 * GIB, swap_used=self.swapped)


def test_what_an_earlier_probe_swapped_out_does_not_stop_the_next() -> None:
    """Pages stay out; only what goes out during a probe speaks against it."""
    bench = Bench(FakeModel(declared=65_536))
    bench.backend = Swapping(bench.fake, budget_bytes=100 * GIB)

    report = bench.test(strategy="bisect", proof=Proof.ANSWER)

    assert Outcome.OUT_OF_MEMORY in {probe.outcome for probe in report.probes}
    assert report.limits.answered
    assert report.limits.answered >= 25_000


def test_one_probe_with_an_older_runtime_is_not_taken_for_a_search() -> None:
    """That 4 096 tokens hold still says nothing of how many would."""
    bench = tight()
    bench.test(context=4_096)

    assert (updated(bench).test(strategy="certify").limits.usable or 0) > 15_000


def test_search_stopped_with_an_older_runtime_is_not_taken_for_one_that_ended() -> None:
    """It knew only what it had come to."""
    bench = tight()
    with pytest.raises(Stop):
        bench.test(strategy="certify", on_event=stop_at_probe(2))

    assert (updated(bench).test(strategy="certify").limits.usable or 0) > 15_000


def test_threshold_caps_what_an_older_runtime_held_too() -> None:
    """It was given for this test."""
    bench = Bench(FakeModel(declared=131_072))
    bench.test(proof=Proof.ANSWER)

    report = updated(bench).test(threshold=32_768, proof=Proof.ANSWER)

    assert report.probes[0].requested <= 32_768


def test_limit_that_the_machine_has_no_memory_for_now_is_not_tried() -> None:
    """It was found when nothing else was running."""
    fake = FakeModel(declared=65_536, bytes_per_token=MIB)
    bench = Bench(fake, budget_bytes=100 * GIB)
    bench.test(strategy="certify", proof=Proof.ANSWER)
    newer = updated(bench)
    newer.budget_bytes = 8 * GIB
    newer.backend._budget_bytes = 8 * GIB

    report = newer.test(strategy="certify", proof=Proof.ANSWER)

    assert max(probe.requested for probe in report.probes) < 8_192


def test_own_question_that_is_missed_takes_nothing_from_the_limits() -> None:
    """It says what the model knows, not what it holds."""
    bench = Bench(FakeModel(declared=16_384))
    bench.test(strategy="certify")

    missed = bench.test(question=OwnQuestion(text="Capital of France?", expect="Paris"))

    assert missed.status is Status.FAILED
    assert bench.model.limits
    assert bench.model.limits.usable == 16_384


def test_probe_of_one_context_does_not_steer_a_search_that_goes_on() -> None:
    """It was another question, with another answer."""
    bench = tight()
    with pytest.raises(Stop):
        bench.test(strategy="certify", on_event=stop_at_probe(3))
    bench.test(context=120_000, proof=Proof.LOAD)

    report = bench.test(strategy="certify")

    assert contexts(report) == contexts(tight().test(strategy="certify"))


def test_search_that_goes_on_with_more_memory_tries_again_what_was_too_much() -> None:
    """Out of memory is a matter of how much there was."""
    fake = FakeModel(declared=65_536, fixed_bytes=GIB, bytes_per_token=100_000)
    bench = Bench(fake, budget_bytes=3 * GIB)
    with pytest.raises(Stop):
        bench.test(strategy="bisect", proof=Proof.ANSWER, on_event=stop_at_probe(4))
    bench.backend._budget_bytes = 64 * GIB

    assert bench.test(strategy="bisect", proof=Proof.ANSWER).limits.answered == 65_536


def test_search_that_a_refusal_ended_is_not_done() -> None:
    """A guardrail can be changed; the next batch should try again."""
    guarded = FakeModel(declared=65_536, refused_above=4_096)
    bench = Bench(guarded)
    bench.test(strategy="certify", proof=Proof.ANSWER)
    notes = [text for name, text in bench.registry._notes.items() if name.startswith("search ")]

    assert len(notes) == 1
    assert '"done":false' in notes[0]


def test_window_is_not_filled_where_its_size_ran_out_of_memory_later() -> None:
    """The latest evidence wins, also between searching and filling."""

    class Shrinking(FakeBackend):
        def load(
            self, model: Model, request: LoadRequest, *, on_tick: OnTick | None = None
        ) -> FakeLoaded:
            if (request.context or 0) > 30_000:
                self._budget_bytes = 5 * GIB
            return super().load(model, request, on_tick=on_tick)

    fake = FakeModel(declared=65_536, fixed_bytes=GIB, bytes_per_token=256 << 10)
    bench = Bench(fake)
    bench.backend = Shrinking(fake, budget_bytes=12 * GIB)

    report = bench.test(strategy="bisect")

    fills = [probe for probe in report.probes if probe.proof is Proof.FILL]
    assert report.limits.usable
    assert all(probe.requested <= 16_384 for probe in fills)
