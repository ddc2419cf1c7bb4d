"""What a test is admitted to is safe; what is refused could not have been."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmstrix.engine.admission import Conditions, admit, smallest_interrupted
from lmstrix.engine.memory import GIB, spare_bytes
from lmstrix.engine.plan import TestPlan
from lmstrix.errors import RequestError, UnsafeError
from lmstrix.ports import Accelerator, MachineMemory, Prior
from lmstrix.values import LoadConfig, Model, Proof

SIZES = st.integers(0, 64).map(lambda quarters: quarters * GIB // 4)
CARD = Accelerator(name="Card", total=20 * GIB, free=11 * GIB)


def model(size: int | None = 4 * GIB, declared: int | None = 65_536) -> Model:
    """Return a model file of that size."""
    return Model(key="m", backend="fake", size_bytes=size, declared_context=declared)


def machine(spare: int, *cards: Accelerator) -> Conditions:
    """Return a machine that can spare so much main memory."""
    return Conditions(
        memory=MachineMemory(total=24 * GIB, available=spare + 2 * GIB, accelerators=cards)
    )


def least(one: Model, prior: Prior | None, context: int) -> float:
    """Return what a load is known or thought to take, in bytes."""
    if prior is None:
        return one.size_bytes or 0
    fixed = prior.fixed_bytes if prior.fixed_bytes is not None else one.size_bytes or 0
    return fixed + prior.bytes_per_token * context


@given(
    size=st.none() | SIZES,
    prior=st.none()
    | st.builds(
        Prior,
        bytes_per_token=st.floats(0, 1 << 20),
        fixed_bytes=st.none() | SIZES,
        filling=st.floats(0, 1 << 12),
    ),
    available=st.none() | SIZES,
    chosen=st.none() | SIZES.filter(bool),
    context=st.none() | st.integers(1, 65_536),
    proof=st.sampled_from(Proof),
)
@settings(max_examples=400)
def test_whatever_is_admitted_is_predicted_to_fit_and_whatever_is_refused_is_not(  # noqa: PLR0917 - what it depends on
    size: int | None,
    prior: Prior | None,
    available: int | None,
    chosen: int | None,
    context: int | None,
    proof: Proof,
) -> None:
    """At the smallest context there is to load; a budget that the user chose is kept anyway."""
    plan = TestPlan(proof=proof, context=context, chosen_budget=chosen)
    memory = None if available is None else MachineMemory(total=24 * GIB, available=available)
    spare = None if memory is None else spare_bytes(memory)
    smallest = context or 4_096
    try:
        admission = admit(
            model(size), plan, earlier=(), prior=prior, conditions=Conditions(memory=memory)
        )
    except UnsafeError:
        assert spare is not None
        assert chosen is None or chosen > spare
        filling = prior.filling * smallest if prior else 0.0
        assert not spare or least(model(size), prior, smallest) + filling > spare - 1
        return

    caps = [cap for cap in (spare, chosen) if cap is not None]
    assert admission.cap_bytes == admission.space.budget_bytes == min(caps, default=None)
    if spare is not None and admission.cap_bytes != chosen:
        assert least(model(size), admission.space.prior, smallest) <= spare


@pytest.mark.parametrize(
    ("size", "prior", "plan", "what"),
    [
        (9 * GIB, None, {}, "`m` takes 9.0 GiB without any context"),
        (
            7 * GIB,
            Prior(bytes_per_token=GIB / 2_048),
            {},
            "`m` takes about 9.0 GiB at 4,096 tokens",
        ),
        (
            7 * GIB,
            Prior(bytes_per_token=GIB / 8_192),
            {"context": 16_384},
            "`m` takes about 9.0 GiB at 16,384 tokens",
        ),
        (
            4 * GIB,
            Prior(bytes_per_token=0, fixed_bytes=9 * GIB),
            {},
            "`m` takes 9.0 GiB without any context",
        ),
    ],
)
def test_refusal_names_what_is_needed_what_there_is_and_what_to_do(
    size: int, prior: Prior | None, plan: dict[str, Any], what: str
) -> None:
    """A person can then close something; an agent can choose a smaller model."""
    with pytest.raises(UnsafeError) as refusal:
        admit(model(size), TestPlan(**plan), earlier=(), prior=prior, conditions=machine(8 * GIB))

    assert str(refusal.value) == f"{what}, and the machine can spare 8.0 GiB"
    assert refusal.value.hint == "close other programs until 1.0 GiB more are free"
    assert refusal.value.exit_code == 3


def test_refusal_names_what_others_have_loaded() -> None:
    """Most often it is a forgotten model that takes the memory."""
    conditions = Conditions(memory=machine(GIB).memory, held=("big at 8,192 tokens",))

    with pytest.raises(UnsafeError) as refusal:
        admit(model(), TestPlan(), earlier=(), conditions=conditions)

    assert refusal.value.hint
    assert refusal.value.hint.startswith("unload big at 8,192 tokens, or close other programs")


def test_runtime_that_knows_better_than_the_size_of_the_file_is_believed() -> None:
    """A part of the weights may be left on disk, or on another machine."""
    prior = Prior(bytes_per_token=1_024, fixed_bytes=4 * GIB)

    assert (
        admit(
            model(90 * GIB), TestPlan(), earlier=(), prior=prior, conditions=machine(8 * GIB)
        ).cap_bytes
        == 8 * GIB
    )


def test_machine_with_nothing_to_spare_is_no_place_to_test_even_an_unknown_model() -> None:
    """A budget of nothing would be no budget."""
    with pytest.raises(UnsafeError, match="the machine can spare 0 B"):
        admit(model(None), TestPlan(), earlier=(), conditions=machine(-GIB))


def test_budget_that_is_too_small_is_no_matter_of_safety() -> None:
    """The runtime keeps to it; that nothing works in it is then a finding."""
    admission = admit(model(), TestPlan(chosen_budget=GIB), earlier=(), conditions=machine(2 * GIB))

    assert admission.cap_bytes == GIB


@pytest.mark.parametrize(("layers", "cap"), [(None, 18 * GIB), (20, 18 * GIB), (0, 8 * GIB)])
def test_cards_count_unless_nothing_is_to_be_put_on_them(layers: int | None, cap: int) -> None:
    """What is free on a card that is not used is no help to main memory."""
    plan = TestPlan(config=LoadConfig(gpu_layers=layers))

    assert admit(model(), plan, earlier=(), conditions=machine(8 * GIB, CARD)).cap_bytes == cap


@pytest.mark.parametrize(
    ("proof", "slope"),
    [(Proof.LOAD, 100), (Proof.ANSWER, 100), (Proof.FILL, 130), (Proof.RECALL, 130)],
)
def test_prior_counts_what_reading_takes_where_the_window_is_read(
    proof: Proof, slope: float
) -> None:
    """A context that loads with nothing to spare cannot be filled."""
    prior = Prior(bytes_per_token=100, filling=30)

    admission = admit(model(), TestPlan(proof=proof), earlier=(), prior=prior)

    assert admission.space.prior
    assert admission.space.prior.bytes_per_token == slope


def test_unknown_strategy_is_refused_before_anything_is_loaded() -> None:
    """As is a model of which nobody knows how far to search."""
    with pytest.raises(RequestError, match="guess"):
        admit(model(), TestPlan(strategy="guess"), earlier=())
    with pytest.raises(RequestError, match="declares no context"):
        admit(model(declared=None), TestPlan(), earlier=())


def test_nothing_is_barred_where_nothing_was_interrupted() -> None:
    """Most models never crash anything."""
    admission = admit(model(), TestPlan(), earlier=())

    assert smallest_interrupted(()) is None
    assert admission.barred is None
    assert admission.space.ceiling == 65_536


@pytest.mark.parametrize(
    ("conditions", "cap", "told"),
    [
        (Conditions(), None, "memory cannot be read"),
        (Conditions(), GIB, "memory cannot be read, at most 1.0 GiB for the model"),
        (
            Conditions(
                memory=MachineMemory(
                    total=24 * GIB, available=11 * GIB, swap_used=GIB, accelerators=(CARD,)
                ),
                held=("a at 8,192 tokens",),
            ),
            9 * GIB,
            (
                "11.0 GiB of 24.0 GiB free, swap 1.0 GiB used, 2.0 GiB kept in reserve, "
                "Card 11.0 GiB of 20.0 GiB free, at most 9.0 GiB for the model; "
                "1 model loaded by others (a at 8,192 tokens)"
            ),
        ),
        (
            Conditions(held=("a at 8,192 tokens", "b at 4,096 tokens")),
            None,
            (
                "memory cannot be read; "
                "2 models loaded by others (a at 8,192 tokens, b at 4,096 tokens)"
            ),
        ),
    ],
)
def test_conditions_read_as_one_line(conditions: Conditions, cap: int | None, told: str) -> None:
    """It is said before the first probe, while one can still change one's mind."""
    assert conditions.describe(cap) == told
