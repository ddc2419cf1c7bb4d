"""How the values of LMStrix look in a table. Unknown is `-`, never 0."""

from collections.abc import Iterable, Sequence
from typing import Final

from lmstrix.cli.output import UNKNOWN, show_table
from lmstrix.sizes import show_bytes
from lmstrix.values import Limits, Model, Probe, RecallScore, Status

LIMIT_TITLES: Final = ("tested", "declared", "efficiency", "speed, tok/s")


def show_models(models: Iterable[Model]) -> None:
    """Print a row for each model: what is known of its limits, its size, where it is loaded."""
    show_table(
        ("model", "status", *LIMIT_TITLES, "size", "loaded"),
        [
            (
                model.key,
                model.status.value,
                *limit_cells(model.limits, model.declared_context),
                memory(model.size_bytes),
                ", ".join(tokens(copy.context) for copy in model.loaded) or UNKNOWN,
            )
            for model in models
        ],
        text_columns=("status",),
    )


def show_probes(probes: Iterable[Probe]) -> None:
    """Print a row for each probe, with the runtime's own words where it failed."""
    probes = list(probes)
    with_recall = any(probe.recall for probe in probes)
    show_table(
        (
            *("model", "began", "context", "proof", "outcome"),
            *["recall"] * with_recall,
            *("load", "memory", "speed, tok/s", "why"),
        ),
        [
            (
                probe.model,
                f"{probe.started_at:%Y-%m-%d %H:%M}Z",
                tokens(probe.effective or probe.requested),
                probe.proof.value,
                probe.outcome.value if probe.outcome else Status.TESTING.value,
                *[recalled(probe.recall)] * with_recall,
                seconds(probe.load_s),
                memory(probe.memory_bytes),
                speed(probe.prefill_tps, probe.decode_tps),
                one_line(probe.detail),
            )
            for probe in probes
        ],
        text_columns=("began", "proof", "outcome", "why"),
    )


def limit_facts(limits: Limits) -> Sequence[tuple[str, str]]:
    """Return each number of `limits` with its name."""
    return (
        ("declared", tokens(limits.declared)),
        ("loadable", tokens(limits.loadable)),
        ("usable", tokens(limits.usable)),
        *([] if limits.recall is None else [("recall", tokens(limits.recall))]),
        ("refuted", tokens(limits.refuted)),
        ("efficiency", share(limits.efficiency)),
        ("speed, tok/s", speed(limits.prefill_tps, limits.decode_tps)),
        ("memory per token", memory(limits.bytes_per_token)),
    )


def tokens(count: float | None) -> str:
    """Return a number of tokens, e.g. `12,288`."""
    return UNKNOWN if count is None else f"{count:,.0f}"


def memory(size: float | None) -> str:
    """Return a size of memory, e.g. `1.4 GiB`."""
    return UNKNOWN if size is None else show_bytes(size)


def seconds(duration: float | None) -> str:
    """Return a duration, e.g. `1.5 s`, `4 min` or `1 h 20 min`."""
    if duration is None:
        return UNKNOWN
    if duration < 90:
        return f"{duration:.1f} s" if duration < 10 else f"{duration:.0f} s"
    hours, minutes = divmod(round(duration / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def speed(prefill: float | None, decode: float | None) -> str:
    """Return tokens a second, read and written, e.g. `1,203 in, 48.1 out`."""
    parts = [f"{rate(prefill, 0)} in"] if prefill is not None else []
    parts += [f"{rate(decode, 1)} out"] if decode is not None else []
    return ", ".join(parts) or UNKNOWN


def rate(per_second: float | None, places: int) -> str:
    """Return tokens a second, with so many decimal places."""
    return UNKNOWN if per_second is None else f"{per_second:,.{places}f}"


def recalled(score: RecallScore | None) -> str:
    """Return how many facts were found of how many, e.g. `5/6`."""
    return UNKNOWN if score is None else f"{score.found}/{score.asked}"


def share(part: float | None) -> str:
    """Return a share of 1 in per cent."""
    return UNKNOWN if part is None else f"{part:.0%}"


def one_line(text: str | None) -> str:
    """Return `text` without its line breaks."""
    return " ".join(text.split()) if text else UNKNOWN


def limit_cells(limits: Limits | None, declared: int | None) -> Sequence[str]:
    """Return the cells below `LIMIT_TITLES`; `declared` is shown where nothing was measured."""
    if limits is None:
        return (UNKNOWN, tokens(declared), UNKNOWN, UNKNOWN)
    return (
        _tested(limits),
        tokens(limits.declared),
        share(limits.efficiency),
        speed(limits.prefill_tps, limits.decode_tps),
    )


def _tested(limits: Limits) -> str:
    """Return the best context that was proved, and by what, unless it was filled."""
    proof = "" if limits.usable else " (answers)" if limits.answered else " (loads)"
    return UNKNOWN if limits.best is None else tokens(limits.best) + proof
