"""Which copy is used, and what a new one is given, follows from what was asked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmstrix.engine.loading import LEAST, STEP, LoadPlan, Room, plan_load
from lmstrix.errors import ContextTooLongError, RequestError
from lmstrix.values import Limits, LoadedModel, Model

DECLARED = 32_768


def model(usable: int | None = None, declared: int | None = DECLARED) -> Model:
    """Return a model with these limits."""
    limits = None if usable is None else Limits(declared=declared, usable=usable)
    return Model(key="m", backend="fake", declared_context=declared, limits=limits)


def copy(context: int | None, name: str = "m:1") -> LoadedModel:
    """Return a loaded copy of that context."""
    return LoadedModel(identifier=name, context=context)


def planned(
    *loaded: LoadedModel,
    in_ctx: int | None = None,
    window: int = 1_500,
    of: Model | None = None,
    force_reload: bool = False,
) -> LoadPlan:
    """Return the plan for such a wish."""
    return plan_load(of or model(), loaded, in_ctx=in_ctx, window=window, force_reload=force_reload)


@given(
    window=st.integers(1, 1 << 18),
    usable=st.none() | st.integers(1, 1 << 17),
    declared=st.none() | st.integers(1, 1 << 17),
)
def test_chosen_context_holds_the_window_or_is_all_that_there_is(
    window: int, usable: int | None, declared: int | None
) -> None:
    """Neither too small for the prompt, nor larger than what is known to work."""
    limit = usable or declared
    plan = planned(window=window, of=model(usable, declared))

    assert plan.context
    assert limit is None or plan.context <= limit
    if plan.context != limit:
        assert plan.context % STEP == 0
        assert max(LEAST, window) <= plan.context < max(LEAST, window) + STEP


def test_measured_limit_goes_before_the_declared_one() -> None:
    """What the model claims is what LMStrix was written not to believe."""
    assert planned(window=20_000, of=model(usable=10_000)).context == 10_000


def test_explicit_context_is_asked_for_exactly() -> None:
    """Who says 5000 gets 5000, rounding by the runtime aside."""
    plan = planned(in_ctx=5_000)

    assert (plan.context, plan.reason) == (5_000, "explicit --in_ctx")


def test_context_above_the_declared_one_is_refused_with_both_numbers() -> None:
    """The model was not made for it, whatever the runtime would load."""
    with pytest.raises(ContextTooLongError) as refusal:
        planned(in_ctx=DECLARED + 1, of=model(usable=8_192))

    assert (refusal.value.needed, refusal.value.available) == (DECLARED + 1, DECLARED)
    assert "8192" in (refusal.value.hint or "")


def test_context_above_the_measured_one_is_granted_with_a_warning() -> None:
    """It may well work; but nobody has seen it work."""
    risky, safe = (planned(in_ctx=size, of=model(usable=8_192)) for size in (8_193, 8_192))

    assert risky.context == 8_193
    assert "8,192" in risky.warnings[0]
    assert safe.warnings == ()


def test_warning_stays_when_the_copy_is_reused() -> None:
    """That it is loaded already makes it no safer."""
    plan = planned(copy(9_000), in_ctx=9_000, of=model(usable=8_192))

    assert plan.reuse == copy(9_000)
    assert plan.warnings


@pytest.mark.parametrize(
    ("context", "in_ctx", "reused"),
    [
        (4_096, None, True),
        (1_500, None, True),
        (1_499, None, False),
        (4_096, 0, True),
        (None, 0, True),
        (None, None, False),
        (5_000, 5_000, True),
        (5_120, 5_000, True),
        (5_256, 5_000, False),
        (4_999, 5_000, False),
        (8_192, 5_000, False),
    ],
)
def test_loaded_copy_is_reused_where_its_context_will_do(
    context: int | None, in_ctx: int | None, *, reused: bool
) -> None:
    """A load takes seconds that a reused copy saves; a wrong context would be a broken promise."""
    assert (planned(copy(context), in_ctx=in_ctx).reuse is not None) == reused


def test_copy_as_large_as_the_limit_is_reused_for_any_prompt() -> None:
    """Nothing larger could be loaded in its place; whether it fits is counted later."""
    assert planned(copy(8_192), window=9_000, of=model(usable=8_192)).reuse


def test_largest_of_several_copies_is_reused() -> None:
    """It leaves the most room for the answer."""
    plan = planned(copy(4_096, "a"), copy(8_192, "b"), copy(2_048, "c"))

    assert plan.reuse == copy(8_192, "b")


@pytest.mark.parametrize("in_ctx", [None, 0, 4_096])
def test_forced_reload_reuses_nothing(in_ctx: int | None) -> None:
    """The user may know that the copy is in a bad way."""
    assert planned(copy(4_096), in_ctx=in_ctx, force_reload=True).reuse is None


def test_zero_leaves_the_context_to_the_runtime() -> None:
    """LM Studio has a setting for each model; 0 respects it."""
    assert planned(in_ctx=0).context is None


def test_negative_context_is_refused() -> None:
    """It would reach the runtime, which may take it for something else."""
    with pytest.raises(RequestError, match="not a context"):
        planned(in_ctx=-1)


@pytest.mark.parametrize(
    ("out_ctx", "tokens"),
    [(None, 1_024), (256, 256), ("256", 256), ("25%", 1_024), ("12.5 %", 512), ("0.001%", 1)],
)
def test_room_for_the_answer_is_a_number_or_a_share_of_the_window(
    out_ctx: int | str | None, tokens: int
) -> None:
    """Both forms are in the contract."""
    assert Room.parse(out_ctx).within(4_096) == tokens


@pytest.mark.parametrize("out_ctx", [0, -5, "", "0%", "100%", "ten", "1.5", "25%%", True])
def test_room_that_is_no_length_is_refused(out_ctx: int | str) -> None:
    """A slip would otherwise give an empty answer, or an endless one."""
    with pytest.raises(RequestError, match="not a length"):
        Room.parse(out_ctx)


@given(
    prompt=st.integers(1, 1 << 17),
    out_ctx=st.integers(1, 1 << 14) | st.integers(1, 99).map("{}%".format),
)
def test_window_has_room_for_prompt_and_answer(prompt: int, out_ctx: int | str) -> None:
    """Else a reload would be as short as the copy before it."""
    room = Room.parse(out_ctx)

    assert prompt + room.within(room.window(prompt)) <= room.window(prompt)
