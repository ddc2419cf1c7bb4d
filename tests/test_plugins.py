"""Strategies of other packages: found when asked for, and held to their bounds."""

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from engine.searching import ended, play
from lmstrix.engine.strategy import OpenStrategy, SearchSpace, open_strategy
from lmstrix.errors import RequestError
from lmstrix.plugins import STRATEGY_GROUP, InstalledStrategies
from lmstrix.values import Outcome, Probe

DOCUMENT = Path(__file__).parents[1] / "docs" / "strategies.md"
SPACE = SearchSpace(ceiling=131_072, granularity=1_024, threshold=20_000)

FOREIGN = '''
class Fixed:
    """Asks for one context, whatever it is told."""

    context = {context}
    stopped_because = ""

    def __init__(self, space):
        {begin}

    def next_context(self):
        return self.context

    def tell(self, probe):
        raise ZeroDivisionError("told")
'''


@pytest.fixture(name="site")
def _site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that packages are installed in."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    yield folder
    sys.modules.pop("foreign", None)


def install(site: Path, source: str, **names: str) -> None:
    """Install a package `foreign` that brings strategies."""
    (site / "foreign.py").write_text(source, encoding="utf-8")
    info = site / "foreign-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: foreign\nVersion: 1.0\n", encoding="utf-8")
    lines = [f"{name} = foreign:{attribute}" for name, attribute in names.items()]
    text = "\n".join([f"[{STRATEGY_GROUP}]", *lines])
    (info / "entry_points.txt").write_text(text, encoding="utf-8")


def fixed(context: object, begin: str = "pass") -> str:
    """Return the source of a strategy that asks for `context`."""
    return FOREIGN.format(context=repr(context), begin=begin)


def documented(language: str) -> str:
    """Return the example of the documentation in that language."""
    [block] = re.findall(
        rf"```{language}\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL
    )
    return str(block)


def answer(context: int) -> Probe:
    """Load at `context`, where 100 000 tokens are the most that works."""
    return ended(context, Outcome.PASSED if context <= 100_000 else Outcome.OUT_OF_MEMORY)


def test_documented_strategy_is_found_and_searches(site: Path) -> None:
    """What the documentation says is all that it takes."""
    assert 'ladder = "my_package:Ladder"' in documented("toml")
    assert f'entry-points."{STRATEGY_GROUP}"' in documented("toml")
    install(site, documented("python"), ladder="Ladder")

    strategy = open_strategy("ladder", SPACE, InstalledStrategies())
    probes = play(strategy, answer)

    assert [probe.requested for probe in probes] == [8_192, 16_384, 20_000, 40_000, 80_000, 131_072]
    assert strategy.stopped_because == "80,000 tokens passed"


class Forbidden(Mapping[str, OpenStrategy]):
    """Names that must not be looked at."""

    def __getitem__(self, name: str) -> OpenStrategy:
        raise AssertionError(f"looked for {name}")

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("listed")

    def __len__(self) -> int:
        raise AssertionError("counted")


@pytest.mark.parametrize("name", ["bisect", "certify", "climb", "exact"])
def test_our_own_names_are_never_looked_for_elsewhere(name: str) -> None:
    """That would cost every start-up, and let a package replace what users rely on."""
    assert open_strategy(name, SPACE, Forbidden()).next_context() is not None


def test_package_is_not_imported_by_listing_its_names(site: Path) -> None:
    """To say what there is, nobody's code has to run."""
    install(site, fixed(8_192), fixed="Fixed")

    installed = InstalledStrategies()

    assert "fixed" in installed
    assert "fixed" in list(installed)
    assert len(installed) >= 1
    assert "foreign" not in sys.modules


def test_unknown_name_is_refused_with_foreign_names_among_those_there_are(site: Path) -> None:
    """A misspelt name is as likely one of theirs."""
    install(site, fixed(8_192), fixed="Fixed")

    with pytest.raises(RequestError, match="unknown strategy: `fixd`") as refusal:
        open_strategy("fixd", SPACE, InstalledStrategies())

    assert "`certify`" in (refusal.value.hint or "")
    assert "`fixed`" in (refusal.value.hint or "")


def test_package_that_cannot_be_imported_is_named(site: Path) -> None:
    """Its error is not ours, and without its name nobody would know whose it is."""
    install(site, "import nowhere_to_be_found", broken="Fixed")

    with pytest.raises(RequestError, match="strategy `broken` failed: ModuleNotFoundError"):
        open_strategy("broken", SPACE, InstalledStrategies())


def test_strategy_that_raises_is_named(site: Path) -> None:
    """At its beginning, or when it is told."""
    install(site, fixed(8_192), fixed="Fixed")
    strategy = open_strategy("fixed", SPACE, InstalledStrategies())
    assert strategy.stopped_because == ""

    with pytest.raises(RequestError, match="strategy `fixed` failed: ZeroDivisionError: told"):
        strategy.tell(ended(8_192))


def test_strategy_that_cannot_begin_is_named(site: Path) -> None:
    """Before anything is loaded."""
    install(site, fixed(8_192, begin="raise OSError"), fixed="Fixed")

    with pytest.raises(RequestError, match="strategy `fixed` failed: OSError"):
        open_strategy("fixed", SPACE, InstalledStrategies())


@pytest.mark.parametrize("context", [0, -1, 20_001, 131_073, "8192", 8_192.0])
def test_context_out_of_bounds_is_refused(site: Path, context: object) -> None:
    """The threshold is what keeps a first probe from taking the machine down."""
    install(site, fixed(context), fixed="Fixed")

    with pytest.raises(RequestError, match="strategy `fixed` asked for"):
        open_strategy("fixed", SPACE, InstalledStrategies()).next_context()


@pytest.mark.parametrize("known", [[ended(20_000)], [ended(1, taken=1), ended(2, taken=2)]])
def test_threshold_is_lifted_by_a_pass_there_or_two_loads_that_were_measured(
    site: Path, known: list[Probe]
) -> None:
    """As it is for the strategies that come with LMStrix."""
    source = fixed(131_072).replace('raise ZeroDivisionError("told")', "pass")
    install(site, source, fixed="Fixed")
    strategy = open_strategy("fixed", SPACE, InstalledStrategies())

    for probe in known:
        strategy.tell(probe)

    assert strategy.next_context() == 131_072
