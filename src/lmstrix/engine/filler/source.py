"""Source code: small functions in the manner of Python, about stock, orders and messages."""

from collections.abc import Mapping, Sequence
from typing import Final

WORDS: Final[Mapping[str, Sequence[str]]] = {
    name: text.split()
    for name, text in {
        "verb": """append build check clear close collect compare convert copy count create decode
            delete describe drop encode expand extract fetch filter find flatten format group insert
            join load lock map merge move normalize open parse prepare print publish push read rank
            refresh register remove rename render replace reset resolve reverse round save scale
            search select send serialize sort split store strip trim update validate walk wrap write
            """,
        "thing": """account address archive batch bucket buffer cache channel client column command
            config cursor customer document edge element endpoint entry event field file folder
            frame graph group header image index invoice item job key label layer line link list
            message metric module node object option order package packet page parcel path payload
            pixel policy product profile queue range record region report request response result
            row rule schedule schema section segment sensor server session shape signal source state
            stream string table tag task template ticket token tree user value vector vertex
            warehouse widget window worker""",
        "quality": """active cached current default dirty empty final first hidden idle inner
            known last local locked merged missing nested next open outer partial pending previous
            primary private public raw ready recent remote safe shared sorted stale strict temporary
            total unique valid visible""",
        "Noun": """Account Archive Batch Buffer Cache Channel Cursor Document Invoice Ledger Message
            Packet Parcel Pipeline Queue Registry Report Schedule Session Stream Ticket""",
        "error": "IndexError KeyError LookupError OSError RuntimeError TypeError ValueError",
        "kind": "bool bytes dict float int list object set str tuple",
    }.items()
}
SHAPES: Final[Sequence[str]] = (
    """
def {verb}_{a=thing}({a}, {b=thing}):
    \"\"\"Return the {quality} {thing} of `{a}`, or the {quality} one of `{b}`.\"\"\"
    {c=quality}_{a} = {verb}_{thing}({a}, {quality}={b}.{thing})
    if {c}_{a} is None:
        return {b}.{verb}()
    return {c}_{a}
""",
    """
def {verb}_{quality}_{thing}({a=thing}s: list[{kind}], *, {b=quality}: bool = False) -> {kind}:
    {c=thing}s = dict()
    for {a} in {a}s:
        {d=thing} = {a}.{verb}_{thing}()
        if {b} and not {d}.{quality}:
            continue
        {c}s[{d}.{thing}] = {verb}_{thing}({d})
    return {c}s
""",
    """
class {Noun}:
    \"\"\"A {quality} {thing} that can {verb} its {thing}s.\"\"\"

    def __init__(self, {a=thing}: {kind}, {b=thing}: {kind}) -> None:
        self.{a} = {a}
        self._{b} = {b}

    def {verb}(self, {c=thing}: {kind}) -> {kind}:
        with self._{b}.{verb}({c}) as {thing}:
            return self.{a}.{verb}_{thing}({c})
""",
    """
def {verb}_{a=thing}_{b=thing}({a}: {kind}) -> {kind} | None:
    # The {thing} is {quality} here: {verb} it before the {quality} {thing} is {quality}.
    try:
        {c=thing} = {verb}({a}.{b}, key="{quality}-{thing}")
    except {error} as error:
        raise {error}(f"cannot {verb} the {quality} {thing}") from error
    return {c} if {c}.{quality} else None
""",
    """
{a=thing}_{b=thing}s = [
    {c=thing}.{verb}("{quality}", {thing}={c}.{quality}_{thing})
    for {c} in {verb}_{thing}s({quality}=True)
    if {c}.{thing} not in {quality}_{thing}s
]
""",
    """
def test_{verb}_{a=thing}_keeps_the_{b=quality}_{c=thing}({thing}):
    {a} = {verb}_{thing}({b}={thing}s["{quality}"])
    {verb}_{thing}({a})
    assert {a}.{c} == {quality}_{thing}.{verb}()
    assert not {a}.{b}
""",
    """
while {a=thing} := {b=thing}.{verb}_{quality}_{thing}():
    {c=thing} = {a}.{thing}
    if {c} is {quality}_{thing} or {c}.{quality}:
        {b}.{verb}({a})
        break
""",
)
