"""Stored limits are exact, stale or nothing, and never those of another file."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmstrix.engine.catalogue import with_evidence
from lmstrix.engine.evidence import fitting, to_verify, told
from lmstrix.values import Evidence, Fingerprint, Limits, LoadConfig, Model, Status

NOW = Fingerprint(model="file", runtime="r 2", machine="x")
OLDER = NOW.model_copy(update={"runtime": "r 1"})
ELSEWHERE = NOW.model_copy(update={"machine": "y"})
SMALLER = NOW.model_copy(update={"config": LoadConfig(kv_type="q8_0")})
CAPPED = NOW.model_copy(update={"budget_bytes": 1 << 30})
OTHER_FILE = NOW.model_copy(update={"model": "another file"})
FINGERPRINTS = [NOW, OLDER, ELSEWHERE, SMALLER, CAPPED, OTHER_FILE]


def held(of: Fingerprint | None, loadable: int | None = 8_192, **fields: object) -> Limits:
    """Return limits as a registry stores them."""
    known = {"declared": 32_768, "evidence": Evidence.EXACT, "fingerprint": of}
    return Limits.model_validate({**known, "loadable": loadable, **fields})


def shown(limits: Limits | None) -> tuple[Fingerprint | None, Evidence] | None:
    """Return whose limits these are, and as what evidence."""
    return None if limits is None else (limits.fingerprint, limits.evidence)


STORED = st.lists(
    st.builds(held, st.sampled_from(FINGERPRINTS), st.none() | st.just(8_192)),
    unique_by=lambda limits: limits.fingerprint,
)


def test_limits_of_the_same_fingerprint_are_exact_however_old() -> None:
    """Going back to an old runtime brings back what was measured with it."""
    assert shown(fitting([held(NOW), held(OLDER)], NOW)) == (NOW, Evidence.EXACT)


@pytest.mark.parametrize("then", [OLDER, ELSEWHERE, SMALLER, CAPPED])
def test_limits_of_the_same_file_are_stale_whatever_else_changed(then: Fingerprint) -> None:
    """They are a good guess, and must not be taken for more."""
    assert shown(fitting([held(then)], NOW)) == (then, Evidence.STALE)


def test_limits_of_another_file_under_the_same_key_are_no_evidence() -> None:
    """A new quantization may be twice the size."""
    assert fitting([held(OTHER_FILE), held(None)], NOW) is None


def test_stale_limits_of_the_same_configuration_go_before_newer_ones() -> None:
    """A smaller KV cache holds more: as a guess for this one, it is worse than an old runtime."""
    stored = [held(OLDER), held(SMALLER), held(CAPPED)]

    assert shown(fitting(stored, NOW)) == (OLDER, Evidence.STALE)
    assert shown(fitting(stored[1:], NOW)) == (CAPPED, Evidence.STALE)


def test_test_that_found_nothing_does_not_hide_what_is_known() -> None:
    """But where nothing else is known, that it found nothing is worth telling."""
    nothing = held(NOW, None, refuted=4_096)

    assert shown(fitting([held(OLDER), nothing], NOW)) == (OLDER, Evidence.STALE)
    assert shown(fitting([held(OTHER_FILE), nothing], NOW)) == (NOW, Evidence.EXACT)
    assert fitting([held(OLDER, None)], NOW) is None


@given(STORED)
def test_limits_that_fit_are_stored_ones_of_this_file(stored: Sequence[Limits]) -> None:
    """Evidence is exact for this fingerprint alone, and nothing in it is made up."""
    limits = fitting(stored, NOW)

    if limits is None:
        assert all(one.loadable is None or one.fingerprint == OTHER_FILE for one in stored)
    else:
        assert limits.model_copy(update={"evidence": Evidence.EXACT}) in stored
        assert limits.fingerprint is not None
        assert limits.fingerprint.model == NOW.model
        assert (limits.evidence is Evidence.EXACT) == (limits.fingerprint == NOW)


@given(STORED)
def test_what_is_verified_differs_in_runtime_or_machine_alone(stored: Sequence[Limits]) -> None:
    """One probe can only settle whether the same load still works."""
    limits = to_verify(stored, NOW)

    if limits is not None:
        assert limits.fingerprint in {OLDER, ELSEWHERE}
        assert limits.loadable is not None
        assert limits.evidence is Evidence.STALE
        assert limits == fitting(stored, NOW)


def test_newest_stale_limits_are_verified() -> None:
    """A driver update last week tells more than the runtime of last year."""
    assert shown(to_verify([held(OLDER), held(ELSEWHERE), held(SMALLER)], NOW)) == (
        ELSEWHERE,
        Evidence.STALE,
    )


def test_nothing_is_verified_once_something_was_measured() -> None:
    """A pass leaves nothing to verify, and a failure says where to search instead."""
    assert to_verify([held(OLDER), held(NOW)], NOW) is None
    assert to_verify([held(OLDER), held(NOW, None, refuted=8_192)], NOW) is None
    assert to_verify([held(OLDER), held(NOW, None)], NOW) is not None, "it was stopped: go on"


def known(limits: Limits | None = None, status: Status = Status.TESTED) -> Model:
    """Return a model as the registry shows it."""
    return Model(key="m", backend="fake", limits=limits, status=status)


@pytest.mark.parametrize(
    ("stored", "before", "status"),
    [
        ([held(NOW)], known(), Status.TESTED),
        ([held(OLDER)], known(), Status.STALE),
        ([held(OTHER_FILE)], known(held(OTHER_FILE)), Status.UNTESTED),
        ([], known(status=Status.UNTESTED), Status.UNTESTED),
        ([held(OLDER)], known(status=Status.TESTING), Status.TESTING),
        ([held(NOW, None)], known(held(NOW, None), Status.INTERRUPTED), Status.INTERRUPTED),
        ([held(NOW, None)], known(held(NOW, None), Status.UNTESTED), Status.UNTESTED),
        ([held(NOW, None), held(OTHER_FILE)], known(held(OTHER_FILE)), Status.FAILED),
    ],
)
def test_status_says_how_far_the_limits_can_be_relied_on(
    stored: Sequence[Limits], before: Model, status: Status
) -> None:
    """Agents choose models by it."""
    model = told(before, stored, NOW)

    assert model.status is status
    assert model.limits == fitting(stored, NOW)


def test_list_tells_of_each_model_what_its_limits_are_worth() -> None:
    """Where the runtime cannot say what it would load, the registry's word stands."""
    tested = [known(held(OLDER)).model_copy(update={"key": key}) for key in "ab"]
    untested = known(status=Status.UNTESTED)
    asked: list[str] = []

    def fingerprint_of(model: Model) -> Fingerprint | None:
        asked.append(model.key)
        return NOW if model.key == "a" else None

    models = with_evidence([*tested, untested], lambda _: [held(OLDER)], fingerprint_of)

    assert [model.status for model in models] == [Status.STALE, Status.TESTED, Status.UNTESTED]
    assert asked == ["a", "b"], "a fingerprint reads a file, and nothing is known of the third"
